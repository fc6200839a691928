import { describe, expect, test } from "bun:test";
import { entry, list, load, loadEntry, loadSelector, severities, problemsOf } from "../../test/support/load-config.ts";

describe("the whole file is rejected for", () => {
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
      "a duplicate full name",
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
    "%j as additionalInfo, which is not an object of objects",
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
    expect(problemsOf(load(list(entry({ resourceName: fits })), { socketNameLimit: limit - 1 }))).toEqual([
      "error resourceList: all entries are skipped, so no pool is left",
      expect.stringContaining("is too long"),
    ]);
  });

  test("a prefix that the container runtime could not take, in CDI mode only", () => {
    const config = list(entry({ resourcePrefix: "3com.com" }));
    expect(load(config).problems).toEqual([]);
    expect(problemsOf(load(config, { useCdi: true }))).toEqual([expect.stringContaining("CDI vendor")]);
  });

  test("with --use-cdi, pools whose specs would be one file", () => {
    const config = list(
      { resourceName: "net-pci-y", resourcePrefix: "x", selectors: {} },
      { resourceName: "y", resourcePrefix: "x-net-pci", selectors: {} },
    );
    expect(load(config).problems).toEqual([]);
    expect(problemsOf(load(config, { useCdi: true }))).toEqual([
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
  ])("%j is rejected: it misses a selector's name by little", (selectorObject, key, hint) => {
    const loaded = loadSelector(selectorObject);
    expect(loaded.specs).toBeNull();
    expect(problemsOf(loaded)).toEqual([`error ${where}.${key}: unknown selector; ${hint}`]);
  });

  test.each<[object, string, string]>([
    [{ zzzzzz: 1 }, "netDevice", "no selector has this name"],
    [{ sriovMode: true, vendors: [] }, "netDevice", "format before version 3"],
    [{ excludeTopology: true, isRdma: true }, "netDevice", "belongs in the entry"],
    [{ auxTypes: ["sf"] }, "netDevice", 'SFs are of "deviceType": "auxNetDevice"'],
    [{ pfNames: ["ens1f0"] }, "accelerator", "a selector of netDevice and auxNetDevice, not of accelerator"],
    [{ auxTypes: ["sf"], pciAddresses: ["0000:03:00.0"] }, "auxNetDevice", 'with "rootDevices"'],
    [{ auxTypes: ["sf"], acpiIndexes: ["1"], pKeys: ["0x7fff"] }, "auxNetDevice", "a selector of netDevice"],
  ])("%j of %s is rejected, since every device would be selected", (selectorObject, deviceType, why) => {
    const loaded = loadSelector(selectorObject, { deviceType });
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
  ])(
    "%j of %s runs without it, with a warning that names the alternative",
    (selectorObject, deviceType, ignored, why) => {
      const loaded = loadSelector(selectorObject, { deviceType });
      expect(loaded.specs?.[0]?.ignoredKeys).toEqual([ignored]);
      expect(Object.keys(loaded.specs?.[0]?.selectors[0] ?? {})).not.toContain(ignored[0]);
      expect(problemsOf(loaded)).toEqual([expect.stringContaining(why)]);
      expect(problemsOf(loaded)[0]).toStartWith(`warning ${where}.${ignored[0]}: `);
      expect(problemsOf(loaded)[0]).toEndWith(": ignored");
    },
  );

  test("selects by nothing and is of another type: no reason to reject the file", () => {
    const loaded = loadSelector({ isRdma: false, pfNames: [], vdpaType: "" }, { deviceType: "accelerator" });
    expect(loaded.specs?.[0]?.selectors).toEqual([{}]);
    expect(severities(loaded)).toEqual(["warning", "warning", "warning"]);
  });
});
