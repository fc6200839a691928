import { describe, expect, test } from "bun:test";
import Ajv from "ajv";
import * as fc from "fast-check";
import definitions from "../../test/cdi-schema/defs.json";
import schema from "../../test/cdi-schema/schema.json";
import { deviceTypeNames } from "../pools/device-types.ts";
import { cdiKind } from "../pools/names.ts";
import { type CdiDevices, cdiSpec } from "./cdi.ts";

const kind = "intel.com/net-pci";
const aNode = (hostPath: string, containerPath = hostPath) => ({ hostPath, containerPath });

describe("the spec of a pool", () => {
  test("names devices with nodes alone, since one without would make the whole spec invalid", () => {
    const devices = new Map([
      ["0000:3b:02.1", [aNode("/dev/vfio/noiommu-2", "/dev/vfio/2")]],
      ["0000:3b:02.2", []],
    ]);
    expect(cdiSpec({ kind, devices })).toEqual({
      cdiVersion: "0.5.0",
      kind,
      devices: [
        {
          name: "0000:3b:02.1",
          containerEdits: {
            deviceNodes: [{ path: "/dev/vfio/2", hostPath: "/dev/vfio/noiommu-2", permissions: "rw" }],
          },
        },
      ],
    });
  });

  test("is null when no device has a node", () => {
    expect(cdiSpec({ kind, devices: new Map([["0000:3b:02.2", []]]) })).toBeNull();
    expect(cdiSpec({ kind, devices: new Map() })).toBeNull();
  });

  test("says the same in whichever order devices came", () => {
    const devices: [string, ReturnType<typeof aNode>[]][] = ["b", "c", "a"].map((id) => [id, [aNode(`/dev/${id}`)]]);
    const spec = cdiSpec({ kind, devices: new Map(devices) });
    expect(spec?.devices.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(cdiSpec({ kind, devices: new Map(devices.toReversed()) })).toEqual(spec);
  });

  test.each([
    ["intel.com/net-pci", "0.5.0"],
    ["a.b.c/net-sf", "0.5.0"],
    ["intel.com/net.pci", "0.6.0"],
  ])("of kind %s has the version that its readers must know at least, %s", (kind, version) => {
    expect(cdiSpec({ kind, devices: new Map([["a", [aNode("/dev/uio0")]]]) })?.cdiVersion).toBe(version as "0.5.0");
  });

  // Not strict: the schema has a keyword of no draft ("ref" in env).
  const isValid = new Ajv({ strict: false, schemas: [{ ...definitions, $id: "defs.json" }] }).compile(schema);

  test("fits the published schema, whatever is in the pool", () => {
    const ids = fc.oneof(
      fc.stringMatching(/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/),
      fc.stringMatching(/^mlx5_core\.sf\.\d{1,4}$/),
    );
    const nodes = fc.array(
      fc.stringMatching(/^\/dev\/vfio\/\d{1,3}$/).map((path) => aNode(path)),
      { maxLength: 4 },
    );
    const pools = fc.tuple(fc.constantFrom(...deviceTypeNames), fc.array(fc.tuple(ids, nodes), { maxLength: 20 }));
    fc.assert(
      fc.property(pools, ([deviceType, devices]) => {
        const spec = cdiSpec({ kind: cdiKind({ prefix: "intel.com", deviceType }), devices: new Map(devices) });
        if (spec !== null && !isValid(JSON.parse(JSON.stringify(spec))))
          throw new Error(JSON.stringify(isValid.errors));
      }),
      { seed: 20_261_124, numRuns: 300 },
    );
  });

  test("is distinguished by the schema from an invalid one", () => {
    const spec = cdiSpec({ kind, devices: new Map([["a", [aNode("/dev/uio0")]]]) as CdiDevices });
    expect(isValid(spec)).toBe(true);
    expect(isValid({ ...spec, kind: undefined })).toBe(false);
    expect(isValid({ ...spec, devices: [{ name: "a" }] })).toBe(false);
  });
});
