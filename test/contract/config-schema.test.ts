import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import * as fc from "fast-check";
import { parse as parseJsonc } from "jsonc-parser";
import { parseAllDocuments } from "yaml";
import schema from "../../docs/reference/config.schema.json" with { type: "json" };
import { loadConfig } from "../../src/config/load.ts";
import { entryFields } from "../../src/config/config-schema.ts";
import { type DeviceTypeName, deviceTypeNames, deviceTypes } from "../../src/pools/device-types.ts";
import { type SelectorName, selectorNames, selectors } from "../../src/pools/selectors.ts";
import { configSchemaErrors } from "../support/config-schema.ts";
import { runCommand } from "../support/plugin.ts";

const load = (config: unknown) =>
  loadConfig(JSON.stringify(config), { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 1000 });

const root = `${import.meta.dir}/../..`;
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");
const filesIn = (folder: string, ending: string) =>
  readdirSync(`${root}/${folder}`, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

/** Texts of configs: whole files, blocks in the docs, values of ConfigMaps. */
function* written(): Generator<readonly [where: string, text: string]> {
  for (const path of filesIn("test/contract/config", ".json")) yield [path, read(path)];
  for (const path of [...filesIn("docs", ".md"), "README.md"]) {
    for (const [, block = ""] of read(path).matchAll(/```jsonc?\n(.*?)```/gs)) yield [path, block];
  }
  for (const path of filesIn("deployments", ".yaml")) {
    for (const document of parseAllDocuments(read(path))) {
      const { kind, data = {} } = (document.toJS() ?? {}) as { kind?: string; data?: Record<string, string | null> };
      if (kind === "ConfigMap") for (const text of Object.values(data)) if (text !== null) yield [path, text];
    }
  }
}
const configs = [...written()]
  .filter(([, text]) => text.includes('"resourceList"'))
  .map(([where, text]) => [where, parseJsonc(text, [], { allowTrailingComma: true }) as unknown] as const);

test("configs are found in the fixtures, the docs and the manifests", () => {
  const where = new Set(configs.map(([path]) => path));
  for (const path of [
    "test/contract/config/documented.json",
    "docs/reference/config.md",
    "README.md",
    "deployments/components/sample-config/configmap.yaml",
  ])
    expect(where).toContain(path);
});

test.each(configs)("the schema accepts what the loader accepts: %s", (_, config) => {
  // The upstream plugin's README itself selects by a driver that no PCI function has.
  expect(load(config).problems.filter(({ message }) => !message.startsWith('"mlx5_ib"'))).toEqual([]);
  expect(configSchemaErrors(config)).toEqual([]);
});

const entry = (fields: object = {}) => ({ resourceList: [{ resourceName: "a", selectors: [{}], ...fields }] });
const withSelector = (selector: object, fields: object = {}) => entry({ selectors: [selector], ...fields });

test.each<[string, unknown]>([
  ["a null list", { resourceList: null }],
  ["a schema's place", { $schema: "./config.schema.json", ...entry() }],
  [
    "keys in any case, and those of the operator that mean nothing",
    {
      ResourceList: [
        { RESOURCENAME: "a", Selectors: { IsRdma: true, NeedVhostNet: true }, SelectorObjs: null },
        { resourceName: "b", DeviceType: "auxNetDevice", selectors: [{ AuxTypes: ["sf"] }] },
      ],
    },
  ],
  ["null for a default", entry({ resourcePrefix: null, excludeTopology: null, additionalInfo: { "*": null } })],
  ["an empty text for a default", entry({ resourcePrefix: "", deviceType: "" })],
  ["an ignored selector", withSelector({ auxTypes: ["sf"], acpiIndexes: ["1"] }, { deviceType: "auxNetDevice" })],
])("the schema accepts %s", (_, config) => {
  expect(configSchemaErrors(config)).toEqual([]);
  expect(load(config).specs).not.toBeNull();
});

test.each<[string, unknown]>([
  ["null", null],
  ["an empty object", {}],
  ["a list", []],
  ["a misspelled list", { resourcesList: [] }],
  ["a schema's place alone", { $schema: "x" }],
  ["an entry without a name", { resourceList: [{ selectors: {} }] }],
  ["an entry without selectors", { resourceList: [{ resourceName: "a" }] }],
  ["an empty list of selectors", entry({ selectors: [] })],
  ["a null selector object", entry({ selectors: [null] })],
  ["a name that Kubernetes doesn't take", entry({ resourceName: "a-" })],
  ["a name with a blank", entry({ resourceName: "a b" })],
  ["a prefix in upper case", entry({ resourcePrefix: "Intel.com" })],
  ["a misspelled field", entry({ excludeTopolgy: true })],
  ["a field of a wrong type", entry({ excludeTopology: "true" })],
  ["an unknown device type", entry({ deviceType: "gpu" })],
  ["an unknown preference", entry({ preferredAllocation: "random" })],
  ["a text as additionalInfo", entry({ additionalInfo: { "*": { token: 7 } } })],
  ["a misspelled selector", withSelector({ vendor: ["8086"] })],
  ["a text in place of a list", withSelector({ vendors: "8086" })],
  ["an id that can never match", withSelector({ vendors: ["0x8086"] })],
  ["a range that can't be understood", withSelector({ pfNames: ["ens1f0#a"] })],
  ["another auxiliary type", withSelector({ auxTypes: ["eth"] }, { deviceType: "auxNetDevice" })],
  ["SFs without their type", withSelector({}, { deviceType: "auxNetDevice" })],
  ["a selector of another type", withSelector({ pfNames: ["x"] }, { deviceType: "accelerator" })],
  ["an unknown kind of vDPA", withSelector({ vdpaType: "vfio" })],
])("the schema refuses %s, as the loader refuses it or warns", (_, config) => {
  expect(configSchemaErrors(config)).not.toEqual([]);
  expect(load(config).problems).not.toEqual([]);
});

describe("for every field and selector", () => {
  const inAnyCase = (key: string) =>
    fc
      .array(fc.boolean(), { minLength: key.length, maxLength: key.length })
      .map((upper) =>
        [...key].map((letter, index) => (upper[index] === true ? letter.toUpperCase() : letter)).join(""),
      );
  const plausible = fc.oneof(
    ...Object.values(selectors).map(({ example }) => fc.constant(JSON.parse(example) as unknown)),
    fc.constantFrom<unknown>(
      null,
      true,
      false,
      "",
      "a",
      7,
      [],
      {},
      ["x"],
      ["p0#1-2,7"],
      ["p0#"],
      "accelerator",
      "packed",
    ),
    fc.constant({ "*": { token: "x" } }),
  );
  const objectOf = (known: readonly string[]) =>
    fc.array(fc.tuple(fc.constantFrom(...known).chain(inAnyCase), plausible), { maxLength: 3 }).map(Object.fromEntries);
  const anEntry = fc
    .record({
      resourceName: fc.constantFrom("a", "b_1", "a b"),
      deviceType: fc.constantFrom<DeviceTypeName | null>(null, ...deviceTypeNames),
      selectors: fc.oneof(objectOf(selectorNames), fc.array(objectOf(selectorNames), { maxLength: 2 })),
      more: objectOf(Object.keys(entryFields).filter((name) => name !== "resourceName" && name !== "deviceType")),
    })
    .map(({ more, ...given }) => ({ ...more, ...given }));

  test("what the loader accepts without a warning, the schema accepts", () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.array(anEntry, { maxLength: 2 }), (resourceList) => {
        const { problems } = load({ resourceList });
        if (problems.length > 0) return;
        taken++;
        expect(configSchemaErrors({ resourceList })).toEqual([]);
      }),
      { numRuns: 4000, seed: 8 },
    );
    expect(taken).toBeGreaterThan(200);
  });

  const selectorOf = (name: SelectorName): readonly [DeviceTypeName, object] => {
    const type = deviceTypeNames.find((each) => (deviceTypes[each].selectors as readonly string[]).includes(name));
    return [type ?? "netDevice", { ...(type === "auxNetDevice" ? { auxTypes: ["sf"] } : {}) }];
  };
  test.each(selectorNames)("a key that lacks a letter of %s is refused, the key itself taken", (name) => {
    const [deviceType, others] = selectorOf(name);
    const value: unknown = JSON.parse(selectors[name].example);
    expect(configSchemaErrors(withSelector({ ...others, [name]: value }, { deviceType }))).toEqual([]);
    expect(
      configSchemaErrors(withSelector({ ...others, [name.slice(0, 2) + name.slice(3)]: value }, { deviceType })),
    ).not.toEqual([]);
  });
});

test("the executable prints the schema", () => {
  expect(JSON.parse(runCommand(["schema"]).stdout)).toEqual(schema);
});
