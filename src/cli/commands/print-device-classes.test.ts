import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { DeviceClass } from "../../dra/device-classes.ts";
import { parseCommandLine } from "../parse.ts";
import { printDeviceClasses } from "./print-device-classes.ts";

const folder = mkdtempSync(join(tmpdir(), "sriovdp-device-classes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const written = (text: string): string => {
  const file = join(folder, `${(files += 1)}`);
  writeFileSync(file, text);
  return file;
};

/** A config with a pool for each of these keys. */
const config = (...pools: readonly object[]): string =>
  JSON.stringify({ resourceList: pools.map((pool) => ({ selectors: [{ drivers: ["iavf"] }], ...pool })) });

async function run(...args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  const printed = { out: "", err: "" };
  const line = parseCommandLine(["device-classes", ...args]);
  expect(line.problems).toEqual([]);
  const status = await printDeviceClasses(line, {
    out: (text) => void (printed.out += text),
    err: (text) => void (printed.err += text),
    bytes: () => {},
    color: false,
    columns: null,
  });
  return { status, ...printed };
}

const classesIn = (text: string): DeviceClass[] =>
  parseAllDocuments(text).map((document) => document.toJS() as DeviceClass);
const resourcesIn = (text: string): string[] => classesIn(text).map(({ spec }) => spec.extendedResourceName);

describe("device-classes", () => {
  test("prints a document for each pool, in the order of the config", async () => {
    const file = written(config({ resourceName: "sriov_net_A" }, { resourceName: "b", resourcePrefix: "example.com" }));
    const { status, out, err } = await run("--config-file", file);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toBe(`---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata:
  name: sriov-net-a.intel.com
spec:
  selectors:
    - cel:
        expression: device.driver == "dra.sriovdp.io" && has(device.attributes["k8s.cni.cncf.io"].resourceName) && device.attributes["k8s.cni.cncf.io"].resourceName == "intel.com/sriov_net_A"
  extendedResourceName: intel.com/sriov_net_A
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata:
  name: b.example.com
spec:
  selectors:
    - cel:
        expression: device.driver == "dra.sriovdp.io" && has(device.attributes["k8s.cni.cncf.io"].resourceName) && device.attributes["k8s.cni.cncf.io"].resourceName == "example.com/b"
  extendedResourceName: example.com/b
`);
  });

  test("has the driver's name and the prefix of the command line", async () => {
    const file = written(config({ resourceName: "a" }));
    const { out } = await run("--dra-driver-name", "sriov.example.com", "--resource-prefix=example.com", file);
    expect(resourcesIn(out)).toEqual(["example.com/a"]);
    expect(classesIn(out)[0]?.spec.selectors[0]?.cel.expression).toStartWith('device.driver == "sriov.example.com" &&');
  });

  test("prints a List as JSON, which is applied as it is", async () => {
    const { out } = await run("-o", "json", written(config({ resourceName: "a" }, { resourceName: "b" })));
    expect(JSON.parse(out)).toMatchObject({
      apiVersion: "v1",
      kind: "List",
      items: [{ metadata: { name: "a.intel.com" } }, { metadata: { name: "b.intel.com" } }],
    });
  });

  test("prints a resource of several configs once, with names that are unique among all", async () => {
    const manifest = (key: string, text: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sriovdp-config}\ndata:\n  ${key}: '${text}'\n`;
    const both = written(
      `${manifest("worker-1", config({ resourceName: "net" }, { resourceName: "only_1" }))}---\n${manifest(
        "worker-2",
        config({ resourceName: "net" }, { resourceName: "only-1" }),
      )}`,
    );
    const { status, out } = await run(both);
    expect(status).toBe(0);
    expect(resourcesIn(out)).toEqual(["intel.com/net", "intel.com/only_1", "intel.com/only-1"]);
    expect(new Set(classesIn(out).map(({ metadata }) => metadata.name)).size).toBe(3);
    expect(resourcesIn((await run("--key", "worker-2", both)).out)).toEqual(["intel.com/net", "intel.com/only-1"]);
  });

  test("names a resource that is too long for DRA, with what to do, and prints the others", async () => {
    const long = "a".repeat(63 - "intel.com".length + 1);
    const file = written(config({ resourceName: "a" }, { resourceName: long }));
    const { status, out, err } = await run(file);
    expect(err).toBe(
      `${file}:1:74: error: entry skipped: resourceList[1]: intel.com/${long} is too long for DRA: an attribute has at most 64 bytes; shorten resourceName or resourcePrefix\n`,
    );
    expect(resourcesIn(out)).toEqual(["intel.com/a"]);
    expect(status).toBe(2);
  });

  test("prints nothing when a config is rejected, and reports its problems as validate does", async () => {
    const bad = written('{"resourceList": [{"resourceName": "a", "selectors": {"vendor": ["8086"]}}]}');
    expect(await run(written(config({ resourceName: "b" })), bad)).toEqual({
      status: 2,
      out: "",
      err: `${bad}:1:55: error: resourceList[0].selectors.vendor: unknown selector; did you mean "vendors"?\n`,
    });
    expect(await run("/nowhere.json")).toMatchObject({ status: 2, out: "" });
  });

  test("prints the others when an entry is skipped, and warnings change nothing", async () => {
    const skipping = await run(written(config({ resourceName: "a" }, { resourceName: "b", selectors: [] })));
    expect({ status: skipping.status, resources: resourcesIn(skipping.out) }).toEqual({
      status: 2,
      resources: ["intel.com/a"],
    });
    const doubtful = await run(written(config({ resourceName: "a", unknown: true })));
    expect({ status: doubtful.status, resources: resourcesIn(doubtful.out) }).toEqual({
      status: 0,
      resources: ["intel.com/a"],
    });
    expect(doubtful.err).toContain("warning: ");
  });

  test("says so when there is no pool: kubectl refuses an empty input", async () => {
    const none = written('{"resourceList": []}');
    expect(await run(none)).toEqual({ status: 0, out: "", err: "note: no pool, so no DeviceClass\n" });
    expect(JSON.parse((await run("-o", "json", none)).out)).toMatchObject({ items: [] });
  });
});
