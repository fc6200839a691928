// Is what the commands print as JSON what their schemas say, with every field described, and no other?

import Ajv from "ajv";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { outputSchemas } from "../../src/cli/output-schemas.ts";
import type { Schema } from "../../src/cli/schema-terms.ts";
import { exampleConfig } from "../../scripts/docs/example.ts";
import { host, hostNames, removeTemporaryFolder, runCommand, temporaryFolder } from "../support/plugin.ts";
import { running } from "../contract/live.ts";
import { unpack } from "../support/tree.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(60_000);

const docs = `${import.meta.dir}/../../docs`;

/** The schema with nothing left open: a field that it does not describe is a mistake here, and none for those who use it. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const inside = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return "properties" in schema ? { additionalProperties: false, ...inside } : inside;
}

const ajv = new Ajv({ allErrors: true, strict: false, formats: { "date-time": /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ } });
const validators = Object.fromEntries(
  Object.entries(outputSchemas).map(([name, schema]) => [name, ajv.compile(closed(schema) as Schema)]),
);

function expectValid(name: keyof typeof outputSchemas, printed: string): void {
  const validate = validators[name]!;
  validate(JSON.parse(printed));
  expect(validate.errors ?? []).toEqual([]);
}

const odd = [
  { resourceName: "late", selectors: [{ drivers: ["iavf"] }] },
  { resourceName: "none", selectors: [{ vendors: ["ffff"] }] },
];
const config = { resourceList: [...exampleConfig.resourceList, ...odd] };

describe.each(hostNames())("on the node %s", (name) => {
  test("discover, explain and validate print what their schemas say", () => {
    const root = temporaryFolder();
    try {
      unpack(host(name), root);
      mkdirSync(`${root}/etc/pcidp`, { recursive: true });
      writeFileSync(`${root}/etc/pcidp/config.json`, JSON.stringify(config));
      const json = (...args: string[]) => runCommand([...args, "-o", "json", "--root", root]).stdout;
      const discovered = json("discover");
      expectValid("discover", discovered);
      const ids = (JSON.parse(discovered) as { id: string }[]).map(({ id }) => id);
      expectValid("explain", json("explain", ...ids));
      expectValid("explain", json("explain"));
      expectValid("validate", json("validate"));
    } finally {
      removeTemporaryFolder(root);
    }
  });
});

test("beside a running plugin with pods, status, explain, discover and report print what their schemas say", async () => {
  const first = { resourceList: [{ resourceName: "net", selectors: [{ drivers: ["iavf"] }] }] };
  await using node = await running({ node: "default-routes", config, resources: [] });
  await using other = await running({ node: "iavf-vfs", config: first, resources: ["intel.com/net"] });
  await other.kubelet.allocate("intel.com/net", ["0000:3b:01.1"], { pod: "app" });
  other.configure({ resourceList: [{ resourceName: "new", selectors: {} }] });
  await other.kubelet.waitFor((kubelet) => kubelet.resource("intel.com/new").connected, "the pool has its new name");
  const json = async (of: typeof node, ...args: string[]) => (await of.command(...args, "-o", "json")).stdout;
  for (const each of [node, other]) {
    for (const name of ["discover", "explain", "status"] as const) expectValid(name, await json(each, name));
    expectValid("report", await json(each, "report", "--check"));
  }
  expectValid("explain", await json(other, "explain", "default/app"));
  // One vocabulary: what the table has is in the JSON too.
  const { stdout } = await other.command("status");
  expect(JSON.parse(await json(other, "status"))).toMatchObject({ retentions: [{ kind: "withheld" }] });
  expect(stdout).toContain("withheld");
});

test.each(Object.keys(outputSchemas))("schema %s prints the schema that the documentation has", (name) => {
  const { stdout } = runCommand(["schema", name]);
  expect(stdout).toBe(readFileSync(`${docs}/reference/schemas/${name}.schema.json`, "utf8"));
  expect(ajv.validateSchema(JSON.parse(stdout) as Schema)).toBe(true);
});

test("every field has a description", () => {
  const undescribed = (schema: unknown, path: string): string[] =>
    typeof schema !== "object" || schema === null
      ? []
      : Object.entries(schema).flatMap(([key, value]) =>
          key === "properties"
            ? Object.entries(value as Record<string, Schema>).flatMap(([field, of]) => [
                ...(typeof of["description"] === "string" ? [] : [`${path}.${field}`]),
                ...undescribed(of, `${path}.${field}`),
              ])
            : undescribed(value, path),
        );
  for (const [name, schema] of Object.entries(outputSchemas)) expect(undescribed(schema, name)).toEqual([]);
});
