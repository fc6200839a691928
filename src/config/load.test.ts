import { describe, expect, test } from "bun:test";
import { entry, list, load, loadEntry, loadSelector, severities, problemsOf } from "../../test/support/load-config.ts";
import type { SelectorObject } from "../pools/selectors.ts";

describe("an ordinary file", () => {
  test("gives a spec per entry, with the upstream plugin's defaults", () => {
    const { specs, problems, skipped } = load(list({ resourceName: "sriov_net_A", selectors: { vendors: ["8086"] } }));
    expect(problems).toEqual([]);
    expect(skipped).toEqual([]);
    expect(specs).toEqual([
      {
        resource: "intel.com/sriov_net_A",
        prefix: "intel.com",
        name: "sriov_net_A",
        deviceType: "netDevice",
        excludeTopology: false,
        linkHealth: true,
        iommufd: false,
        preferredAllocation: null,
        selectors: [{ vendors: ["8086"] }],
        additionalInfo: null,
      },
    ]);
  });

  test("may set every field of an entry", () => {
    const fields = {
      deviceType: "accelerator",
      excludeTopology: true,
      linkHealth: false,
      iommufd: true,
      preferredAllocation: "spread",
      additionalInfo: { "*": { token: "s3cr3t" } },
    } as const;
    const names = { resource: "openshift.io/a", prefix: "openshift.io", name: "a" };
    expect(loadEntry({ ...fields, resourcePrefix: "openshift.io" }).specs).toEqual([
      { ...fields, ...names, selectors: [{}] },
    ]);
  });

  test("may use every selector of its device type", () => {
    const selectorObject = {
      vendors: ["8086"],
      devices: ["1889"],
      drivers: ["iavf"],
      pciAddresses: ["0000:03:02.0"],
      acpiIndexes: ["101"],
      pfNames: ["ens1f0#0,2-7"],
      rootDevices: ["0000:86:00.0"],
      linkTypes: ["ether"],
      ddpProfiles: ["GTP"],
      pKeys: ["0x7fff"],
      isRdma: true,
      needVhostNet: true,
    };
    const { specs, problems } = loadSelector(selectorObject);
    expect(problems).toEqual([]);
    expect(specs?.[0]?.selectors).toEqual([
      {
        ...selectorObject,
        pfNames: [
          {
            pf: "ens1f0",
            ranges: [
              [0, 0],
              [2, 7],
            ],
          },
        ],
        rootDevices: [{ pf: "0000:86:00.0", ranges: null }],
      },
    ]);
    expect(loadSelector({ vdpaType: "vhost" }).specs?.[0]?.selectors).toEqual([{ vdpaType: "vhost" }]);
    expect(loadSelector({ auxTypes: ["sf"] }, { deviceType: "auxNetDevice" }).problems).toEqual([]);
  });
});

describe("what Go's JSON reads, is read", () => {
  test.each([
    ["keys in any case", '{"RESOURCELIST":[{"ResourceName":"a","Selectors":[{"IsRdma":true,"PFNAMES":["x"]}]}]}'],
    ["comments", '{/* pools */"resourceList":[ // one\n{"resourceName":"a","selectors":[{}]}]}'],
    ["trailing commas", '{"resourceList":[{"resourceName":"a","selectors":[{},],},],}'],
    ["a byte order mark", '\uFEFF{"resourceList":[{"resourceName":"a","selectors":[{}]}]}'],
    ["line ends of Windows", '{\r\n"resourceList":[{"resourceName":"a",\r\n"selectors":[{}]}]}\r\n'],
    [
      "null for a default",
      JSON.stringify(
        list(entry({ deviceType: null, excludeTopology: null, resourcePrefix: null, additionalInfo: null })),
      ),
    ],
    ["null for a selector", JSON.stringify(list(entry({ selectors: [{ vendors: null, isRdma: null }] })))],
    ["an empty vdpaType", JSON.stringify(list(entry({ selectors: [{ vdpaType: "", isRdma: true }] })))],
    [
      "the operator's output",
      '{"resourceList":[{"resourceName":"a","selectors":{"vendors":["8086"],"IsRdma":true,"needVhostNet":true},"SelectorObjs":null}]}',
    ],
    [
      "the operator's output inside a selector",
      JSON.stringify(list(entry({ SelectorObj: null, selectors: [{ SelectorObjs: [] }] }))),
    ],
  ])("%s", (_, text) => {
    const { specs, problems } = load(text);
    expect(problems).toEqual([]);
    expect(specs?.map(({ resource }) => resource)).toEqual(["intel.com/a"]);
  });

  test.each([
    ["an empty deviceType for netDevice", { deviceType: "" }],
    ["an empty prefix for the command line's", { resourcePrefix: "" }],
    ["null in additionalInfo for an empty text", { additionalInfo: { "*": { a: null } } }],
    ["null in additionalInfo for an empty object", { additionalInfo: { "*": null } }],
  ])("%s", (_, fields) => {
    expect(loadEntry(fields).specs?.[0]).toMatchObject({ resource: "intel.com/a", deviceType: "netDevice" });
  });

  test("of a duplicate key the last one counts, with a warning", () => {
    const loaded = load(
      '{"resourceList":[{"resourceName":"a","ResourceName":"b","selectors":[{"vendors":["1"],"vendors":["8086"]}]}]}',
    );
    expect(loaded.specs?.[0]).toMatchObject({ name: "b", selectors: [{ vendors: ["8086"] }] });
    expect(severities(loaded)).toEqual(["warning", "warning"]);
    expect(loaded.problems[0]?.message).toContain("duplicate key");
  });

  test.each([
    ["a null list", '{"resourceList":null}'],
    ["an empty list", '{"resourceList":[]}'],
  ])("a file without pools is not an error: %s", (_, text) => {
    expect(load(text)).toEqual({ specs: [], wellFormed: [], problems: [], skipped: [], entries: [] });
  });

  test.each(["{}", "null", '{"resources": []}', '{"$schema": "x"}', "{/* nothing */}"])(
    "a file without resourceList is rejected, since it would take all pools away: %s",
    (text) => {
      const { specs, problems } = load(text);
      expect(specs).toBeNull();
      expect(problems.map(({ message }) => message)).toContainEqual(expect.stringContaining('{"resourceList": '));
    },
  );

  test("an unknown key of an entry or of the file is a warning, with what was probably meant", () => {
    const loaded = load({ resourcelist2: 1, ...list(entry({ excludeTopolgy: true, comment: "x" })) });
    expect(loaded.specs).toHaveLength(1);
    expect(problemsOf(loaded)).toEqual([
      'warning resourcelist2: unknown key, ignored; did you mean "resourceList"?',
      'warning resourceList[0].excludeTopolgy: unknown key, ignored; did you mean "excludeTopology"?',
      "warning resourceList[0].comment: unknown key, ignored",
    ]);
  });
});

// Kinds that vendors' guides, operators and labs publish, and that the upstream plugin runs with; none may cost the node its pools.
describe("an entry as others write it runs", () => {
  test.each<[string, object, unknown]>([
    [
      "with empty lists beside the one that is meant (NVIDIA's NicClusterPolicy)",
      {
        selectors: {
          vendors: ["15b3"],
          devices: [],
          pfNames: [],
          pciAddresses: ["0000:18:00.0"],
          linkTypes: [],
          isRdma: true,
        },
      },
      { pciAddresses: ["0000:18:00.0"], isRdma: true },
    ],
    ["with isRdma alone (NVIDIA's hostdev)", { selectors: { vendors: ["15b3"], isRdma: true } }, { isRdma: true }],
    [
      "with pciAddresses in an auxNetDevice (F5 for BlueField)",
      {
        deviceType: "auxNetDevice",
        selectors: [{ vendors: ["15b3"], pciAddresses: ["0000:03:00.0"], pfNames: ["p0#1"], auxTypes: ["sf"] }],
      },
      { auxTypes: ["sf"] },
    ],
    [
      "with excludeTopology inside selectors, and keys of a fork (AMD's plugin for its NICs)",
      {
        enableExporterHealthCheck: true,
        disableDeviceConfig: false,
        selectors: { vendors: ["1dd8"], devices: ["1002"], drivers: ["ionic"], excludeTopology: true, isRdma: true },
      },
      { drivers: ["ionic"] },
    ],
    [
      "with isRdma beside selectors (Antrea, and the upstream plugin's README of v3.1)",
      { isRdma: true, selectors: { vendors: ["15b3"], devices: ["1018"], drivers: ["mlx5_ib"] } },
      { drivers: ["mlx5_ib"] },
    ],
    [
      "with the keys of older operators",
      { selectors: { pfNames: ["ens785f0#0-4"], IsRdma: false, NeedVhostNet: false }, SelectorObj: null },
      { isRdma: false, needVhostNet: false },
    ],
    [
      "with an empty device id (operators before 4.6)",
      { selectors: { vendors: ["8086"], devices: [""] } },
      { devices: [""] },
    ],
    ["with names of drivers old and new", { selectors: { drivers: ["iavf", "mlx5_core", "i40evf", "ixgbevf"] } }, {}],
    ["with a prefix without a dot", { resourcePrefix: "mellanox", selectors: { vendors: ["15b3"] } }, {}],
    ["with a wildcard, which selects nothing there either", { selectors: { pfNames: ["mlx-*"], isRdma: true } }, {}],
    [
      "of FPGAs by vendor and device (Intel's FEC)",
      { deviceType: "accelerator", selectors: { vendors: ["8086"], devices: ["0d5d"] } },
      {},
    ],
    ["of FPGAs with isRdma off", { deviceType: "accelerator", selectors: { vendors: ["10ee"], isRdma: false } }, {}],
    ["with P_Keys as the upstream plugin's README has them", { selectors: { pKeys: ["0x1", "0xABCD"] } }, {}],
  ])("%s", (_, fields, selected) => {
    const { specs, problems } = loadEntry(fields);
    expect(specs?.[0]?.selectors[0]).toMatchObject(selected as SelectorObject);
    expect(problems.every(({ severity }) => severity === "warning")).toBe(true);
  });
});

describe("selectors", () => {
  test.each<[string, unknown, string]>([
    ["an empty list", [], "resourceList[1].selectors"],
    ["a text", "vendors", "resourceList[1].selectors"],
    ["a list of texts", ["vendors"], "resourceList[1].selectors[0]"],
    ["a text in place of a list", [{ vendors: "8086" }], "resourceList[1].selectors[0].vendors"],
    ["a number in a list", [{ vendors: [8086] }], "resourceList[1].selectors[0].vendors[0]"],
    ["a text in place of a flag", [{ isRdma: "true" }], "resourceList[1].selectors[0].isRdma"],
    ["an unknown vdpaType", [{ vdpaType: "vhosts" }], "resourceList[1].selectors[0].vdpaType"],
    ["one wrong object of two", [{}, { vendors: 1 }], "resourceList[1].selectors[1].vendors"],
  ])("%s costs that entry, and the others run", (_, selectors, path) => {
    const loaded = load(list(entry(), entry({ resourceName: "b", selectors }), entry({ resourceName: "c" })));
    expect(loaded.specs?.map(({ name }) => name)).toEqual(["a", "c"]);
    expect(loaded.skipped).toEqual(["intel.com/b"]);
    expect(loaded.problems.map(({ severity, path }) => ({ severity, path }))).toEqual([{ severity: "skip", path }]);
  });

  test.each([[{}], [{ auxTypes: [] }], [{ auxTypes: null }]])(
    "%j of sub-functions needs auxTypes",
    (selectorObject) => {
      const loaded = loadSelector(selectorObject, { deviceType: "auxNetDevice" });
      expect(loaded.specs).toBeNull();
      expect(problemsOf(loaded)).toEqual([expect.stringContaining('auxTypes: missing for auxNetDevice; write ["sf"]')]);
    },
  );

  test("acpiIndexes of sub-functions have no effect, which is reported", () => {
    const loaded = loadSelector({ auxTypes: ["sf"], acpiIndexes: ["1"] }, { deviceType: "auxNetDevice" });
    expect(loaded.specs?.[0]?.selectors).toEqual([{ auxTypes: ["sf"] }]);
    expect(problemsOf(loaded)).toEqual([
      "warning resourceList[0].selectors[0].acpiIndexes: has no effect for auxNetDevice",
    ]);
  });

  test("values that can never match cause a warning and run", () => {
    const loaded = loadSelector({ vendors: ["0x8086"], linkTypes: ["ether", "infiniband"] });
    expect(loaded.specs).toHaveLength(1);
    expect(severities(loaded)).toEqual(["warning", "warning"]);
  });

  test("two names with one environment variable cause a warning and run", () => {
    const loaded = load(list(entry({ resourceName: "net_a" }), entry({ resourceName: "net_A" })));
    expect(loaded.specs).toHaveLength(2);
    expect(problemsOf(loaded)).toEqual([
      expect.stringContaining("PCIDEVICE_INTEL_COM_NET_A is also intel.com/net_a's"),
    ]);
  });
});

test("an editor's key that names the schema is known, but is not a config", () => {
  const $schema = "./config.schema.json";
  expect(load({ $schema, ...list(entry()) })).toMatchObject({ problems: [], entries: [0] });
  expect(problemsOf(load({ $schema }))).toEqual([expect.stringContaining("error resourceList: missing")]);
});

test("specs know their entries, also behind one that is skipped", () => {
  const skipped = entry({ resourceName: "b", selectors: [] });
  expect(load(list(entry(), skipped, entry({ resourceName: "c" }))).entries).toEqual([0, 2]);
});
