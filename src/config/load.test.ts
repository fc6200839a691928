import { describe, expect, test } from "bun:test";
import { type Loaded, loadConfig, type LoadOptions } from "./load.ts";
import { didYouMean, formatProblem } from "./problem.ts";

import { limits } from "../limits.ts";
import type { Wanted } from "../pools/selectors.ts";

const options: LoadOptions = { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 };
const load = (config: unknown, more: Partial<LoadOptions> = {}): Loaded =>
  loadConfig(typeof config === "string" ? config : JSON.stringify(config), { ...options, ...more });
const entry = (fields: object = {}) => ({ resourceName: "a", selectors: [{}], ...fields });
const list = (...entries: unknown[]) => ({ resourceList: entries });
const loadEntry = (fields: object) => load(list(entry(fields)));
const loadWanted = (wanted: unknown, fields: object = {}) => loadEntry({ selectors: [wanted], ...fields });
const told = ({ problems }: Loaded) => problems.map(({ severity, path, message }) => `${severity} ${path}: ${message}`);
const severities = ({ problems }: Loaded) => problems.map(({ severity }) => severity);

describe("an ordinary file", () => {
  test("gives a spec an entry, with the upstream plugin's defaults", () => {
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
    const wanted = {
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
    const { specs, problems } = loadWanted(wanted);
    expect(problems).toEqual([]);
    expect(specs?.[0]?.selectors).toEqual([
      {
        ...wanted,
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
    expect(loadWanted({ vdpaType: "vhost" }).specs?.[0]?.selectors).toEqual([{ vdpaType: "vhost" }]);
    expect(loadWanted({ auxTypes: ["sf"] }, { deviceType: "auxNetDevice" }).problems).toEqual([]);
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

  test("of a key that stands twice the last one counts, with a warning", () => {
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
  ])("a file without pools is no mistake: %s", (_, text) => {
    expect(load(text)).toEqual({ specs: [], wellFormed: [], problems: [], skipped: [], entries: [] });
  });

  test.each(["{}", "null", '{"resources": []}', '{"$schema": "x"}', "{/* nothing */}"])(
    "a file without resourceList is refused, since it would take all pools away: %s",
    (text) => {
      const { specs, problems } = load(text);
      expect(specs).toBeNull();
      expect(problems.map(({ message }) => message)).toContainEqual(expect.stringContaining('{"resourceList": '));
    },
  );

  test("an unknown key of an entry or of the file is a warning, with what was probably meant", () => {
    const loaded = load({ resourcelist2: 1, ...list(entry({ excludeTopolgy: true, comment: "x" })) });
    expect(loaded.specs).toHaveLength(1);
    expect(told(loaded)).toEqual([
      'warning resourcelist2: unknown key, ignored; did you mean "resourceList"?',
      'warning resourceList[0].excludeTopolgy: unknown key, ignored; did you mean "excludeTopology"?',
      "warning resourceList[0].comment: unknown key, ignored",
    ]);
  });
});

describe("the whole file is refused for", () => {
  test.each<[string, unknown, string, string]>([
    ["an empty file", "", "", "not JSON"],
    ["a file of blanks", " \n", "", "not JSON"],
    ["no JSON", "resourceList: []", "", "not JSON"],
    ["an unfinished object", '{"resourceList":[', "", "not JSON"],
    ["characters after the object", '{"resourceList":[]} x', "", "not JSON"],
    ["a second object", '{"resourceList":[]}{}', "", "not JSON"],
    ["a list at the top", [], "", "found array"],
    ["a text at the top", '"x"', "", "found string"],
    ["a number for the list", { resourceList: 1 }, "resourceList", "expected a list, found number"],
    ["a text as an entry", list("x"), "resourceList[0]", "expected an object, found string"],
    ["a null entry", list(null), "resourceList[0]", "found null"],
    ["a missing name", list({ selectors: [{}] }), "resourceList[0].resourceName", "missing"],
    ["a null name", list(entry({ resourceName: null })), "resourceList[0].resourceName", "missing"],
    ["a number as a name", list(entry({ resourceName: 7 })), "resourceList[0].resourceName", "expected a string"],
    ["a text as a flag", list(entry({ excludeTopology: "true" })), "resourceList[0].excludeTopology", "true or false"],
    ["a number as a flag", list(entry({ linkHealth: 1 })), "resourceList[0].linkHealth", "true or false"],
    [
      "a flat additionalInfo",
      list(entry({ additionalInfo: { a: "b" } })),
      "resourceList[0].additionalInfo.a",
      "object of strings",
    ],
    [
      "a number in additionalInfo",
      list(entry({ additionalInfo: { "*": { a: 1 } } })),
      "resourceList[0].additionalInfo.*.a",
      "expected a string",
    ],
    [
      "an unknown device type",
      list(entry({ deviceType: "netdevice" })),
      "resourceList[0].deviceType",
      'found "netdevice"',
    ],
    [
      "a preference that there is not",
      list(entry({ preferredAllocation: "packet" })),
      "resourceList[0].preferredAllocation",
      'expected "packed", "spread", found "packet"',
    ],
    ["missing selectors", list({ resourceName: "a" }), "resourceList[0].selectors", "missing"],
    ["null selectors", list(entry({ selectors: null })), "resourceList[0].selectors", "missing"],
    ["a null selector object", list(entry({ selectors: [null] })), "resourceList[0].selectors[0]", "found null"],
    [
      "isRdma together with vdpaType",
      list(entry({ selectors: [{ isRdma: true, vdpaType: "vhost" }] })),
      "resourceList[0].selectors[0]",
      "can't be combined",
    ],
    [
      "a full name that stands twice",
      list(entry(), entry({ resourcePrefix: "intel.com" })),
      "resourceList[1]",
      "first defined in resourceList[0]",
    ],
  ])("%s", (_, config, path, message) => {
    const loaded = load(config);
    expect(loaded.specs).toBeNull();
    expect(loaded.problems).toContainEqual(
      expect.objectContaining({ severity: "error", path, message: expect.stringContaining(message) }),
    );
  });

  test.each([
    ["resourceName", "a.b"],
    ["resourceName", "a/b"],
    ["resourceName", ""],
    ["resourceName", "../x"],
    ["resourceName", "näh"],
    ["resourceName", "_a"],
    ["resourceName", "a-"],
    ["resourceName", "a\n"],
    ["resourceName", "a".repeat(64)],
    ["resourcePrefix", "../x"],
    ["resourcePrefix", "a/b"],
    ["resourcePrefix", "Intel.com"],
    ["resourcePrefix", "intel..com"],
    ["resourcePrefix", "intel.com."],
    ["resourcePrefix", "-intel.com"],
    ["resourcePrefix", "intel_com"],
    ["resourcePrefix", "kubernetes.io"],
    ["resourcePrefix", "x.kubernetes.io"],
    ["resourcePrefix", "requests.intel.com"],
    ["resourcePrefix", "intel.com\n"],
    ["resourcePrefix", "a".repeat(245)],
  ])("%s %j, which Kubernetes or the file system could not take", (field, value) => {
    const loaded = loadEntry({ [field]: value });
    expect(loaded.specs).toBeNull();
    expect(loaded.problems.map(({ path }) => path)).toEqual([`resourceList[0].${field}`]);
  });

  // The record's schema takes lists for records.
  test.each([[[]], [[{ a: "b" }]], [{ "*": [] }]])(
    "%j as additionalInfo, which is no object of objects",
    (additionalInfo) => {
      expect(loadEntry({ additionalInfo }).specs).toBeNull();
    },
  );

  test("a prefix on the command line that could not be taken", () => {
    const loaded = load(list(entry({ resourcePrefix: "intel.com" })), { resourcePrefix: "../x" });
    expect(loaded.specs).toBeNull();
    expect(loaded.problems[0]?.message).toStartWith("--resource-prefix=../x: ");
  });

  test("a name that makes the socket's path too long", () => {
    const fits = "a".repeat(63 - "intel.com".length);
    const limit = "intel.com_".length + fits.length + ".sock".length;
    expect(load(list(entry({ resourceName: fits })), { socketNameLimit: limit }).problems).toEqual([]);
    expect(told(load(list(entry({ resourceName: fits })), { socketNameLimit: limit - 1 }))).toEqual([
      "error resourceList: all entries are skipped, so no pool is left",
      expect.stringContaining("is too long"),
    ]);
  });

  test("a prefix that the container runtime could not take, in CDI mode only", () => {
    const config = list(entry({ resourcePrefix: "3com.com" }));
    expect(load(config).problems).toEqual([]);
    expect(told(load(config, { useCdi: true }))).toEqual([expect.stringContaining("CDI vendor")]);
  });

  test("with --use-cdi, pools whose specs would be one file", () => {
    const config = list(
      { resourceName: "net-pci-y", resourcePrefix: "x", selectors: {} },
      { resourceName: "y", resourcePrefix: "x-net-pci", selectors: {} },
    );
    expect(load(config).problems).toEqual([]);
    expect(told(load(config, { useCdi: true }))).toEqual([
      expect.stringContaining("sriov-dp-x-net-pci-net-pci-y.yaml, would also be x/net-pci-y's"),
    ]);
  });
});

describe("a stray key in a selector object", () => {
  const where = "resourceList[0].selectors[0]";

  test.each([
    [{ vendor: ["8086"] }, "vendor", 'did you mean "vendors"?'],
    [{ pfname: ["x"], drivers: ["iavf"] }, "pfname", 'did you mean "pfNames"?'],
    [{ deviceID: "1592", vendors: ["8086"] }, "deviceID", 'did you mean "devices"?'],
  ])("%j is refused: it misses a selector's name by little", (wanted, key, hint) => {
    const loaded = loadWanted(wanted);
    expect(loaded.specs).toBeNull();
    expect(told(loaded)).toEqual([`error ${where}.${key}: unknown selector; ${hint}`]);
  });

  test.each<[object, string, string]>([
    [{ zzzzzz: 1 }, "netDevice", "no selector has this name"],
    [{ sriovMode: true, vendors: [] }, "netDevice", "format before version 3"],
    [{ excludeTopology: true, isRdma: true }, "netDevice", "belongs in the entry"],
    [{ auxTypes: ["sf"] }, "netDevice", 'SFs are of "deviceType": "auxNetDevice"'],
    [{ pfNames: ["ens1f0"] }, "accelerator", "a selector of netDevice and auxNetDevice, not of accelerator"],
    [{ auxTypes: ["sf"], pciAddresses: ["0000:03:00.0"] }, "auxNetDevice", 'with "rootDevices"'],
    [{ auxTypes: ["sf"], acpiIndexes: ["1"], pKeys: ["0x7fff"] }, "auxNetDevice", "a selector of netDevice"],
  ])("%j of %s is refused, since every device would be selected", (wanted, deviceType, why) => {
    const loaded = loadWanted(wanted, { deviceType });
    expect(loaded.specs).toBeNull();
    const errors = loaded.problems.filter(({ severity }) => severity === "error");
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining(why)]);
    expect(errors[0]?.message).toEndWith(
      `: without a selector beside it that restricts the object, every ${deviceType} would be selected`,
    );
  });

  test.each<[object, string, string[], string]>([
    [{ sriovMode: true, vendors: ["8086"] }, "netDevice", ["sriovMode"], "format before version 3"],
    [{ excludeTopology: true, pfNames: ["ens1f0"] }, "netDevice", ["excludeTopology"], "belongs in the entry"],
    [{ comment: "x", pKeys: ["0x7fff"] }, "netDevice", ["comment"], "no selector has this name"],
    [{ rdma: true, drivers: ["mlx5_core"] }, "netDevice", ["rdma"], '"isRdma": true'],
    [{ auxTypes: ["sf"], drivers: ["iavf"] }, "netDevice", ["auxTypes"], "a selector of auxNetDevice"],
    [{ pfNames: ["ens1f0"], devices: ["0d5d"] }, "accelerator", ["pfNames"], 'select by "pciAddresses"'],
    [
      { auxTypes: ["sf"], pfNames: ["p0#1"], pciAddresses: ["0000:03:00.0"] },
      "auxNetDevice",
      ["pciAddresses"],
      'with "rootDevices"',
    ],
  ])("%j of %s runs without it, with a warning that says what is meant", (wanted, deviceType, ignored, why) => {
    const loaded = loadWanted(wanted, { deviceType });
    expect(loaded.specs?.[0]?.ignoredKeys).toEqual([ignored]);
    expect(Object.keys(loaded.specs?.[0]?.selectors[0] ?? {})).not.toContain(ignored[0]);
    expect(told(loaded)).toEqual([expect.stringContaining(why)]);
    expect(told(loaded)[0]).toStartWith(`warning ${where}.${ignored[0]}: `);
    expect(told(loaded)[0]).toEndWith(": ignored");
  });

  test("asks for nothing and is of another type: no reason to refuse the file", () => {
    const loaded = loadWanted({ isRdma: false, pfNames: [], vdpaType: "" }, { deviceType: "accelerator" });
    expect(loaded.specs?.[0]?.selectors).toEqual([{}]);
    expect(severities(loaded)).toEqual(["warning", "warning", "warning"]);
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
    expect(specs?.[0]?.selectors[0]).toMatchObject(selected as Wanted);
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

  test.each([[{}], [{ auxTypes: [] }], [{ auxTypes: null }]])("%j of sub-functions needs auxTypes", (wanted) => {
    const loaded = loadWanted(wanted, { deviceType: "auxNetDevice" });
    expect(loaded.specs).toBeNull();
    expect(told(loaded)).toEqual([expect.stringContaining('auxTypes: missing for auxNetDevice; write ["sf"]')]);
  });

  test("acpiIndexes of sub-functions have no effect, and that is told", () => {
    const loaded = loadWanted({ auxTypes: ["sf"], acpiIndexes: ["1"] }, { deviceType: "auxNetDevice" });
    expect(loaded.specs?.[0]?.selectors).toEqual([{ auxTypes: ["sf"] }]);
    expect(told(loaded)).toEqual(["warning resourceList[0].selectors[0].acpiIndexes: has no effect for auxNetDevice"]);
  });

  test("values that can never match are doubted and run", () => {
    const loaded = loadWanted({ vendors: ["0x8086"], linkTypes: ["ether", "infiniband"] });
    expect(loaded.specs).toHaveLength(1);
    expect(severities(loaded)).toEqual(["warning", "warning"]);
  });

  test("two names with one environment variable are doubted and run", () => {
    const loaded = load(list(entry({ resourceName: "net_a" }), entry({ resourceName: "net_A" })));
    expect(loaded.specs).toHaveLength(2);
    expect(told(loaded)).toEqual([expect.stringContaining("PCIDEVICE_INTEL_COM_NET_A is also intel.com/net_a's")]);
  });
});

describe("problems", () => {
  test("are all told at once, in the order of the file, with line and column", () => {
    const text = `{
  "resourceList": [
    { "resourceName": "a/b", "selectors": [{ "vendor": ["8086"] }] },
    { "resourceName": "c",
      "deviceType": "disk", "excludeTopology": 1 },
  ],
}`;
    const { specs, problems } = load(text);
    expect(specs).toBeNull();
    expect(problems.map((problem) => formatProblem("f", problem).split(": ").slice(0, 3).join(" "))).toEqual([
      "f:3:23 error resourceList[0].resourceName",
      "f:3:46 error resourceList[0].selectors[0].vendor",
      "f:4:5 error resourceList[1].selectors",
      "f:5:21 error resourceList[1].deviceType",
      "f:5:48 error resourceList[1].excludeTopology",
    ]);
  });

  test("point at the value inside a list", () => {
    expect(
      load('{"resourceList":[{"resourceName":"a",\n"selectors":[{"vendors":["8086", 1]}]}]}').problems,
    ).toContainEqual(expect.objectContaining({ severity: "skip", line: 2, column: 34 }));
  });

  test("of the syntax point at the place", () => {
    expect(load('{\n  "resourceList": [}\n}').problems[0]).toMatchObject({ line: 2, column: 20, path: "" });
  });

  test("of an entry that is skipped say so", () => {
    const problem = loadEntry({ selectors: [] }).problems.find(({ severity }) => severity === "skip");
    expect(problem && formatProblem("/etc/x.json", problem)).toBe(
      '/etc/x.json:1:50: error: entry skipped: resourceList[0].selectors: empty; write which devices the pool gets, as in [{"vendors": ["8086"], "drivers": ["iavf"]}]',
    );
  });

  test("of one object are all reported, and those of an entry whose device type is unknown", () => {
    const loaded = load(
      list(
        entry({ resourceName: "a b", linkHealth: 1, deviceType: "netdevice", selectors: [{ vendors: "8086" }] }),
        entry({ resourceName: "b", selectors: [{ vendors: 1, devices: ["154C"], isRdma: true, vdpaType: "vhost" }] }),
        entry({ resourceName: "c" }),
        entry({ resourceName: "c", linkHealth: 1 }),
      ),
    );
    expect(loaded.problems.map(({ severity, path }) => `${severity} ${path}`)).toEqual([
      "error resourceList[0].resourceName",
      "skip resourceList[0].selectors[0].vendors",
      "error resourceList[0].linkHealth",
      "error resourceList[0].deviceType",
      "error resourceList[1].selectors[0]",
      "skip resourceList[1].selectors[0].vendors",
      "warning resourceList[1].selectors[0].devices",
      "error resourceList[3]",
      "error resourceList[3].linkHealth",
    ]);
  });

  test("show the value that was found, with the space at its end", () => {
    expect(told(loadEntry({ resourceName: "sriov " }))).toEqual([expect.stringContaining('found "sriov "')]);
    expect(told(loadEntry({ resourcePrefix: "intel.com " }))).toEqual([expect.stringContaining('found "intel.com "')]);
    expect(told(loadWanted({ vdpaType: "vhost " }))).toContainEqual(expect.stringContaining('found "vhost "'));
    expect(told(loadWanted({ pfNames: ["ens1f0 "] }))).toEqual([expect.stringContaining('"ens1f0 " can never match')]);
    expect(told(loadWanted({ drivers: [" iavf"] }))).toEqual([expect.stringContaining('" iavf" can never match')]);
    expect(told(loadEntry({ resourceName: "x ".repeat(1000) }))[0]?.length).toBeLessThan(300);
  });

  test.each([
    ["netdevice", 'did you mean "netDevice"?'],
    ["vfio", '"drivers": ["vfio-pci"] inside "selectors"'],
    ["rdma", '"isRdma": true inside "selectors"'],
  ])("of the device type %s say what it is now", (deviceType, hint) => {
    expect(told(loadEntry({ deviceType }))).toEqual([expect.stringContaining(hint)]);
  });

  test("of keys in a wrong place say where they belong", () => {
    const { resourceName, selectors } = entry();
    const loaded = load({
      selectors,
      resourceList: [
        {
          resourceName,
          isRdma: true,
          pfName: ["x"],
          selectors: { vendors: ["8086"], resourcePrefix: "a.b", resourceList: [] },
        },
        { resourceName: "b", rootDevices: ["0000:5e:00.0"] },
      ],
    });
    expect(told(loaded)).toEqual([
      'warning selectors: ignored here; it belongs in the entry, beside "selectors"',
      'warning resourceList[0].isRdma: ignored here; it is a selector and belongs inside "selectors"',
      'warning resourceList[0].pfName: unknown key, ignored; did you mean "pfNames"? It is a selector and belongs inside "selectors"',
      'warning resourceList[0].selectors.resourcePrefix: it belongs in the entry, beside "selectors": ignored',
      "warning resourceList[0].selectors.resourceList: it belongs at the top of the file: ignored",
      'error resourceList[1].selectors: missing; "rootDevices" belongs inside "selectors"',
      'warning resourceList[1].rootDevices: ignored here; it is a selector and belongs inside "selectors"',
    ]);
  });

  test.each([
    ["{ 'resourceList': [] }", "3 not JSON: strings are in double quotes (\"), found '"],
    ["{ \u201CresourceList\u201D: [] }", '3 not JSON: strings are in double quotes ("), found \u201C'],
    ['{\u00A0"resourceList": [] }', "2 not JSON: invalid symbol U+00A0"],
    ['{ "resourceList": [] }\u200B', "23 not JSON: invalid symbol U+200B"],
  ])("of %j say what is wrong with a character that looks right", (text, first) => {
    expect(load(text).problems.map(({ column, message }) => `${column} ${message}`)[0]).toBe(first);
  });

  test("of comments behind # say how comments begin, once each, and of nothing else in them", () => {
    const text = `{ # [ "a
      "resourceList": [ #}
        {"resourceName": "a # b", "selectors": {"vendors": ["8086"]}}, // # fine
        # "last"
      ]
    }`;
    expect(load(text).problems.map(({ line, column, message }) => `${line}:${column} ${message}`)).toEqual([
      '1:3 not JSON: comments begin with "//", not with "#"',
      '2:25 not JSON: comments begin with "//", not with "#"',
      '4:9 not JSON: comments begin with "//", not with "#"',
    ]);
    expect(load(`#${"#".repeat(1 << 19)}`).problems).toHaveLength(1);
    expect(load("# a\r\n".repeat(100_000)).problems.length).toBeLessThanOrEqual(limits.problems.max + 1);
  });

  test("stay on one line whatever a key holds", () => {
    const loaded = loadEntry({ "x\nforged line": 1, selectors: [{ "\u001b[31m\n": 1 }] });
    for (const problem of loaded.problems) expect(formatProblem("f", problem)).not.toMatch(/\p{Cc}/u);
  });

  test("of an empty file say how a file without pools is written", () => {
    expect(load("").problems[0]?.message).toContain('{"resourceList": []}');
  });

  test("never tell what additionalInfo holds", () => {
    const secret = "hunter2-s3cr3t";
    const mistakes: unknown[] = [
      { "*": { token: [secret] } },
      { "*": { token: { deep: secret } } },
      { "*": secret },
      [secret],
      secret,
      { "*": { token: secret, other: 1 } },
    ];
    for (const additionalInfo of mistakes) {
      const loaded = loadEntry({ additionalInfo, selectors: [{ vendors: 1 }], resourceName: "a/b" });
      expect(loaded.problems.length).toBeGreaterThan(0);
      expect(JSON.stringify(loaded.problems)).not.toContain(secret);
    }
    const broken = JSON.stringify(list(entry({ additionalInfo: { "*": { token: secret } } })));
    for (let cut = 1; cut < broken.length; cut++) {
      expect(JSON.stringify(load(broken.slice(0, cut)).problems)).not.toContain(secret);
    }
  });

  test("name the key that was probably meant, and none when no key is near", () => {
    const known = ["vendors", "drivers", "rootDevices"];
    const words = ["vendor", "Drvers", "rootDevice", "speed", "", "x".repeat(5000)];
    expect(words.map((word) => didYouMean(word, known))).toEqual([
      "vendors",
      "drivers",
      "rootDevices",
      null,
      null,
      null,
    ]);
  });
});

describe("hostile files", () => {
  const levels = [10, 100, 1000, 3000, 10_000, 30_000, 100_000];
  test.each(levels)("%d nested lists never throw", (depth) => {
    const deep = "[".repeat(depth) + "]".repeat(depth);
    for (const text of [
      deep,
      `{"resourceList":${deep}}`,
      `{"resourceList":[{"resourceName":"a","additionalInfo":${deep},"selectors":[{}]}]}`,
      `{"resourceList":[{"resourceName":"a","selectors":[{"vendors":${deep}}]}]}`,
      '{"a":'.repeat(depth) + "1" + "}".repeat(depth),
    ]) {
      expect(load(text).problems.length).toBeGreaterThan(0);
    }
  });

  test("what is nested more deeply than any config is refused with its place, and what comes close is read", () => {
    const info = (depth: number) =>
      `{"resourceList":[{"resourceName":"a","selectors":[{}],"x":${"[".repeat(depth)}1${"]".repeat(depth)}}]}`;
    expect(load(info(limits.configDepth.max - 3)).specs).toHaveLength(1);
    expect(load(info(limits.configDepth.max - 2)).problems[0]).toMatchObject({
      line: 1,
      column: 88,
      severity: "error",
    });
  });

  test("a million signs are refused without making a tree of them, and few problems are listed of many", () => {
    expect(load("[".repeat(1) + ",".repeat(1 << 20)).problems).toHaveLength(1);
    const { specs, problems } = load(`{"resourceList":[${"{},".repeat(5000)}]}`);
    expect(specs).toBeNull();
    expect(problems).toHaveLength(limits.problems.max + 1);
    expect(problems.at(-1)?.message).toBe(`and ${2 * 5000 - limits.problems.max} more problems`);
  });

  test("warnings never push the error that refuses the file out of the list", () => {
    const { problems } = load(
      list(...Array.from({ length: 200 }, () => entry({ speed: 1 })), entry({ linkHealth: 1 })),
    );
    expect(problems.filter(({ severity }) => severity === "error").length).toBeGreaterThan(0);
  });

  test("pools beyond the limit are skipped, and the first ones run", () => {
    const many = Array.from({ length: limits.pools.max + 2 }, (_, index) => entry({ resourceName: `r${index}` }));
    const { specs, skipped } = load(list(...many));
    expect(specs).toHaveLength(limits.pools.max);
    expect(skipped).toEqual([limits.pools.max, limits.pools.max + 1].map((index) => `intel.com/r${index}`));
  });

  test("additionalInfo keeps keys that a JavaScript object has already", () => {
    const text = '{"*":{"__proto__":"a","constructor":"b","prototype":"c"},"__proto__":{"k":"v"}}';
    const { specs } = load(`{"resourceList":[{"resourceName":"a","selectors":[{}],"additionalInfo":${text}}]}`);
    expect(JSON.stringify(specs?.[0]?.additionalInfo)).toBe(text);
    expect(({} as { k?: string }).k).toBeUndefined();
  });

  test.each(["\uFEFF", "\uFEFF\n"])("a byte order mark before the text is passed over", (mark) => {
    expect(load(`${mark}{"resourceList":[]}`).specs).toEqual([]);
  });

  test("NUL and lone surrogates are no part of a name, and harm nothing in a value", () => {
    for (const escape of ["\\u0000", "\\ud800", "\\udfff", "../", "/", "..", "a\\nb"]) {
      const { specs } = load(`{"resourceList":[{"resourceName":"a${escape}","selectors":[{}]}]}`);
      expect(specs).toBeNull();
      expect(
        load(`{"resourceList":[{"resourceName":"a","resourcePrefix":"${escape}","selectors":[{}]}]}`).specs,
      ).toBeNull();
      const text = `{"resourceList":[{"resourceName":"a","selectors":[{"pfNames":["${escape}"]}],"additionalInfo":{"*":{"k":"${escape}"}}}]}`;
      expect(load(text).specs).toHaveLength(1);
    }
  });

  test("keys of Object's prototype are keys like any other", () => {
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(load(`{"resourceList":[{"resourceName":"a","selectors":[{"${key}":1}]}]}`).specs).toBeNull();
      expect(load(`{"${key}":1,"resourceList":[]}`).specs).toEqual([]);
      expect(load(`{"resourceList":[{"resourceName":"a","deviceType":"${key}","selectors":[{}]}]}`).specs).toBeNull();
      const text = `{"resourceList":[{"resourceName":"a","selectors":[{}],"additionalInfo":{"*":{"${key}":"x"}}}]}`;
      expect(load(text).specs).toHaveLength(1);
    }
  });

  test("random mutations of a valid file never throw", () => {
    const valid = JSON.stringify({
      resourceList: [
        entry({ additionalInfo: { "*": { a: "b" } }, excludeTopology: true, deviceType: "netDevice" }),
        entry({ resourceName: "b", selectors: { pfNames: ["ens1f0#0,2-7"], isRdma: true, vdpaType: "" } }),
        entry({
          resourceName: "c",
          deviceType: "auxNetDevice",
          selectors: [{ auxTypes: ["sf"], linkTypes: ["ether"] }],
        }),
      ],
    });
    let seed = 20_260_101;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed % below;
    };
    const pieces = ["null", "{}", "[]", '"', "\\", "1e999", "true", ",", ":", "\0", "\uD800", "/*", "//", "\n", '"x"'];
    for (let round = 0; round < 3000; round++) {
      let text = valid;
      for (let edits = 1 + random(4); edits > 0; edits--) {
        const at = random(text.length + 1);
        const piece = random(3) === 0 ? "" : (pieces[random(pieces.length)] ?? "");
        text = text.slice(0, at) + piece + text.slice(at + random(12));
      }
      const { specs, problems } = load(text);
      expect(specs !== null || problems.some(({ severity }) => severity === "error")).toBe(true);
      for (const problem of problems) expect(problem.line).toBeGreaterThan(0);
    }
  });
});

test("an editor's key that names the schema is no unknown one, but no config either", () => {
  const $schema = "./config.schema.json";
  expect(load({ $schema, ...list(entry()) })).toMatchObject({ problems: [], entries: [0] });
  expect(told(load({ $schema }))).toEqual([expect.stringContaining("error resourceList: missing")]);
});

test("specs know their entries, also behind one that is skipped", () => {
  const skipped = entry({ resourceName: "b", selectors: [] });
  expect(load(list(entry(), skipped, entry({ resourceName: "c" }))).entries).toEqual([0, 2]);
});
