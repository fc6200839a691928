import { describe, expect, test } from "bun:test";
import { aDevice, aParent, aPf, aSpec, aSubFunction, pciAddress } from "../../test/support/device.ts";
import { assignPools } from "./assign.ts";
import { warningsOnEveryNode, warningsOnNode } from "./config-warnings.ts";
import type { Device } from "../host/device.ts";
import type { PoolSpec } from "./pool.ts";
import { covers, type FunctionRange, type SelectorObject } from "./selectors.ts";

const range = (pf: string, ...ranges: [number, number][]): FunctionRange => ({ pf, ranges });
const all = (pf: string): FunctionRange => ({ pf, ranges: null });

test.each<[string, SelectorObject, SelectorObject]>([
  ["no selector", {}, { vendors: ["8086"] }],
  ["an empty list", { vendors: [] }, {}],
  ["more values", { vendors: ["8086", "15b3"] }, { vendors: ["15b3"], isRdma: true }],
  ["a whole PF", { pfNames: [all("ENS1F0")] }, { pfNames: [range("ens1f0", [0, 3])] }],
  ["ranges that join", { pfNames: [range("p0", [4, 7]), range("p0", [0, 3])] }, { pfNames: [range("p0", [2, 6])] }],
  ["a flag that is off", { isRdma: false }, {}],
  ["a selector that is not a condition", { needVhostNet: true }, {}],
  ["no type of vDPA", { vdpaType: "" }, { vdpaType: "vhost" }],
])("a selector object with %s covers a narrower one", (_, wide, narrow) => {
  expect(covers(wide, narrow)).toBe(true);
});

test.each<[string, SelectorObject, SelectorObject]>([
  ["a condition", { vendors: ["8086"] }, {}],
  ["a condition on an empty list", { vendors: ["8086"] }, { vendors: [] }],
  ["fewer values", { vendors: ["8086"] }, { vendors: ["8086", "15b3"] }],
  ["a part of a PF", { pfNames: [range("p0", [0, 3])] }, { pfNames: [all("p0")] }],
  ["ranges with a gap", { pfNames: [range("p0", [0, 3], [5, 7])] }, { pfNames: [range("p0", [2, 6])] }],
  ["another PF", { pfNames: [all("p0")] }, { pfNames: [all("p0"), all("p1")] }],
  ["a flag", { isRdma: true }, { isRdma: false }],
  ["a type of vDPA", { vdpaType: "vhost" }, { vdpaType: "" }],
])("a selector object with %s does not cover every other one", (_, wide, narrow) => {
  expect(covers(wide, narrow)).toBe(false);
});

describe("on every node", () => {
  const warningsOf = (...specs: PoolSpec[]) =>
    warningsOnEveryNode(specs).map(({ spec, selectorObject, message }) => `${spec}.${selectorObject}: ${message}`);

  test("a selector object behind a wider one of its entry gets nothing", () => {
    expect(warningsOf(aSpec({ selectors: [{}, { drivers: ["iavf"] }] }))).toEqual([
      "0.1: gets nothing: selectors[0], listed earlier, selects all that it selects",
    ]);
  });
  test("an entry behind a wider one of its type gets nothing", () => {
    const wide = aSpec({ name: "wide", selectors: [{ drivers: ["x"] }, {}] });
    expect(warningsOf(wide, aSpec({ selectors: [{ vendors: ["8086"] }] }))).toEqual([
      "1.0: gets nothing: selectors[1] of intel.com/wide, listed earlier, selects all that it selects",
    ]);
    expect(warningsOf(wide, aSpec({ deviceType: "accelerator" }))).toEqual([]);
    expect(warningsOf(aSpec({ selectors: [{ vendors: ["8086"] }] }), wide)).toEqual([]);
  });
  test("an object that can select nothing is not shadowed", () => {
    const nothing: SelectorObject[] = [{ pfNames: [range("p0")] }, { vendors: ["0x8086"] }];
    expect(
      warningsOf(
        aSpec({ name: "wide" }),
        ...nothing.map((selectorObject, index) => aSpec({ name: `n${index}`, selectors: [selectorObject] })),
      ),
    ).toEqual([]);
  });
});

describe("on a node", () => {
  const vfs = [0, 1, 2, 3].map((functionIndex) => aDevice({ id: `0000:3b:02.${functionIndex}`, functionIndex }));
  const pf = aPf({ host: { defaultRoute: null, vfs: 4 } });
  const bare = aPf({ id: "0000:5e:00.0", interfaces: ["ens2f0"] });
  const devices = [pf, bare, ...vfs.map((vf, index) => ({ ...vf, interfaces: [`ens1f0v${index}`] })), aSubFunction()];
  const warningsOf = (...specs: PoolSpec[]) =>
    warningsOnNode(assignPools(specs, devices), devices).map(
      ({ spec, selectorObject, value, message }) =>
        `${[spec, ...(selectorObject === undefined ? [] : [selectorObject]), ...(value ? [value.selector, value.index] : [])].join(".")}: ${message}`,
    );
  const onPf = (...pfNames: FunctionRange[]) => aSpec({ selectors: [{ pfNames }, {}] });

  test("what selects devices causes no warning", () => {
    expect(warningsOf(onPf(all("ens1f0"), range("ENS1F0", [0, 3])))).toEqual([]);
  });
  test.each([
    [range("ens1f0", [0, 15]), "ens1f0 has the VFs 0-3 on this node; #4-15 selects nothing"],
    [range("ens1f0", [2, 2], [5, 5], [8, 9]), "ens1f0 has the VFs 0-3 on this node; #5,8-9 selects nothing"],
    [all("ens9"), 'this node has no PF "ens9"; those with VFs are ens1f0'],
    [all("ens2f0"), 'ens2f0 has no VFs on this node; to select the PF itself: "pciAddresses": ["0000:5e:00.0"]'],
    [all("ens1f0v1"), "ens1f0v1 belongs to a function of ens1f0, not to a PF"],
  ])("%j causes the warning: %s", (entry, message) => {
    expect(warningsOf(onPf(all("ens1f0"), entry))).toEqual([`0.0.pfNames.1: ${message}`]);
  });
  test("an invalid entry causes one warning, by the loader", () => {
    expect(warningsOf(onPf(all("ens1f0"), { pf: "x#", ranges: [], wrong: "no range" }))).toEqual([]);
  });
  test("PFs are known by their addresses too", () => {
    expect(
      warningsOf(aSpec({ selectors: [{ rootDevices: [range("0000:3b:00.0", [4, 4]), all("0000:5e:00.0")] }] })),
    ).toEqual([
      expect.stringContaining("0: selects nothing on this node"),
      "0.0.rootDevices.0: 0000:3b:00.0 has the VFs 0-3 on this node; #4 selects nothing",
      expect.stringContaining("0.0.rootDevices.1: 0000:5e:00.0 has no VFs on this node; to select the PF itself"),
    ]);
  });
  test("numbers of SFs may have gaps, but a range without any selects nothing", () => {
    const entry = aSpec({
      deviceType: "auxNetDevice",
      selectors: [{ auxTypes: ["sf"], pfNames: [range("p0", [1, 9], [11, 12])] }],
    });
    expect(warningsOf(entry)).toEqual(["0.0.pfNames.0: p0 has no SF 11-12 on this node"]);
  });
  test("an entry that gets nothing says whether others claimed its devices, or which command explains it", () => {
    expect(
      warningsOf(
        aSpec({ name: "first", selectors: [{ pciAddresses: vfs.map(({ id }) => id) }] }),
        aSpec({ name: "late", selectors: [{ drivers: ["iavf"] }] }),
        aSpec({ name: "none", selectors: [{ drivers: ["vfio-pci"] }] }),
        aSpec({ name: "fpga", deviceType: "accelerator" }),
      ),
    ).toEqual([
      "1: gets nothing on this node: 4 devices that it selects are already claimed by intel.com/first, listed earlier",
      '2: selects nothing on this node; "sriovdp explain intel.com/none" says why',
      "3: selects nothing on this node: it has no accelerator",
    ]);
  });
  test("a selector object that gets nothing causes a warning in an entry that has devices", () => {
    const selectors: SelectorObject[] = [{ drivers: ["vfio-pci"] }, { pciAddresses: [pciAddress("0000:3b:00.0")] }, {}];
    expect(warningsOf(aSpec({ selectors }))).toEqual([
      "0.0: selects nothing on this node",
      "0.1: selects nothing on this node",
    ]);
  });
  test("objects that are shadowed are reported if they select something here", () => {
    const late = aSpec({ name: "late", selectors: [{ drivers: ["iavf"] }] });
    const none = aSpec({ name: "none", selectors: [{ drivers: ["vfio-pci"] }] });
    const none2 = aSpec({ name: "none2", selectors: [{ drivers: ["vfio-pci"], vendors: ["8086"] }] });
    expect(warningsOf(aSpec({ name: "all" }), late)).toEqual([
      "1.0: gets nothing: selectors[0] of intel.com/all, listed earlier, selects all that it selects",
    ]);
    expect(warningsOf(none, none2)).toEqual([
      expect.stringContaining("0: selects nothing on this node"),
      expect.stringContaining("1: selects nothing on this node"),
    ]);
  });
  test("a PF with VFs and without an interface is to be selected by its address", () => {
    const nameless = vfs.map((vf) => ({
      ...vf,
      pf: aParent({ address: pciAddress("0000:3b:00.0"), link: null }),
    }));
    const specs = [aSpec({ selectors: [{ pfNames: [all("ens1f0")] }] })];
    expect(warningsOnNode(assignPools(specs, nameless), nameless).map(({ message }) => message)).toContain(
      'this node has no PF "ens1f0"; 0000:3b:00.0 has VFs but no interface: select it with rootDevices',
    );
  });
  test("an entry that selects only what is excluded says what excludes it", () => {
    const uplink = aPf({ host: { defaultRoute: "eno1", vfs: 0 } });
    const specs = [aSpec({ selectors: [{ pciAddresses: [uplink.id] }] })];
    expect(warningsOnNode(assignPools(specs, [uplink]), [uplink])).toEqual([
      {
        spec: 0,
        message: "gets nothing on this node: 1 device that it selects is excluded: carries the default route (eno1)",
      },
    ]);
  });
  test("an object with ignored keys says how many devices it selects", () => {
    const entry = aSpec({
      selectors: [{ vendors: ["8086"] }, { drivers: ["x"] }],
      ignoredKeys: [["sriovMode", "x"], []],
    });
    expect(warningsOf(entry)).toContain("0.0: selects 5 devices on this node; ignored: sriovMode, x");
  });

  describe("an IOMMU group of VFIO devices", () => {
    const inGroup = (functionIndex: number, group: string | null, noIommu = false) =>
      aDevice({
        id: `0000:3b:02.${functionIndex}`,
        functionIndex,
        driver: "vfio-pci",
        vfio: { group, noIommu, node: null, cdev: null },
      });
    const split = (devices: Device[]) => {
      const specs = ["a", "b"].map((name, index) =>
        aSpec({ name, selectors: [{ pfNames: [range("ens1f0", [2 * index, 2 * index + 1])] }] }),
      );
      return warningsOnNode(assignPools(specs, devices), devices);
    };
    test("that is split between pools causes one warning for all groups of the same pools", () => {
      expect(split([inGroup(1, "7"), inGroup(2, "7"), inGroup(0, "8"), inGroup(3, "8")])).toEqual([
        {
          spec: 1,
          message:
            "IOMMU groups 7, 8 (0000:3b:02.1 and 0000:3b:02.2, …) are split between intel.com/a and intel.com/b: VFIO opens a group for one pod at a time",
        },
      ]);
    });
    test.each<[string, Device[]]>([
      ["that is in one pool", [inGroup(0, "7"), inGroup(1, "7"), inGroup(2, "8"), inGroup(3, "9")]],
      ["that has none", [inGroup(1, null), inGroup(2, null), inGroup(3, "7")]],
      ["of no-IOMMU mode", [inGroup(1, "7", true), inGroup(2, "7", true), inGroup(3, "8")]],
      ["of devices that have kernel drivers", vfs],
    ])("%s is not", (_, devices) => {
      expect(split(devices)).toEqual([]);
    });
  });
});
