import { describe, expect, test } from "bun:test";
import { aDevice, aPf, aSpec, aSubFunction, pciAddress } from "../../test/support/device.ts";
import { assignPools } from "./assign.ts";
import { doubtsOnEveryNode, doubtsOnNode } from "./doubts.ts";
import type { PoolSpec } from "./pool.ts";
import { covers, type FunctionRange, type Wanted } from "./selectors.ts";

const range = (pf: string, ...ranges: [number, number][]): FunctionRange => ({ pf, ranges });
const all = (pf: string): FunctionRange => ({ pf, ranges: null });

test.each<[string, Wanted, Wanted]>([
  ["nothing asked for", {}, { vendors: ["8086"] }],
  ["an empty list", { vendors: [] }, {}],
  ["more values", { vendors: ["8086", "15b3"] }, { vendors: ["15b3"], isRdma: true }],
  ["a whole PF", { pfNames: [all("ENS1F0")] }, { pfNames: [range("ens1f0", [0, 3])] }],
  ["ranges that join", { pfNames: [range("p0", [4, 7]), range("p0", [0, 3])] }, { pfNames: [range("p0", [2, 6])] }],
  ["a flag that is off", { isRdma: false }, {}],
  ["what is no condition", { needVhostNet: true }, {}],
  ["no type of vDPA", { vdpaType: "" }, { vdpaType: "vhost" }],
])("a selector object with %s covers a narrower one", (_, wide, narrow) => {
  expect(covers(wide, narrow)).toBe(true);
});

test.each<[string, Wanted, Wanted]>([
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
  const told = (...specs: PoolSpec[]) =>
    doubtsOnEveryNode(specs).map(({ spec, wanted, message }) => `${spec}.${wanted}: ${message}`);

  test("a selector object behind a wider one of its entry gets nothing", () => {
    expect(told(aSpec({ selectors: [{}, { drivers: ["iavf"] }] }))).toEqual([
      "0.1: selectors[0] before it wants every device that this wants, so it gets none",
    ]);
  });
  test("an entry behind a wider one of its type gets nothing", () => {
    const wide = aSpec({ name: "wide", selectors: [{ drivers: ["x"] }, {}] });
    expect(told(wide, aSpec({ selectors: [{ vendors: ["8086"] }] }))).toEqual([
      "1.0: intel.com/wide stands before it and wants (selectors[1]) every device that this wants, so it gets none",
    ]);
    expect(told(wide, aSpec({ deviceType: "accelerator" }))).toEqual([]);
    expect(told(aSpec({ selectors: [{ vendors: ["8086"] }] }), wide)).toEqual([]);
  });
});

describe("on a node", () => {
  const vfs = [0, 1, 2, 3].map((functionIndex) => aDevice({ id: `0000:3b:02.${functionIndex}`, functionIndex }));
  const pf = aPf({ host: { defaultRoute: null, vfs: 4 } });
  const bare = aPf({ id: "0000:5e:00.0", interfaces: ["ens2f0"] });
  const devices = [pf, bare, ...vfs.map((vf, index) => ({ ...vf, interfaces: [`ens1f0v${index}`] })), aSubFunction()];
  const told = (...specs: PoolSpec[]) =>
    doubtsOnNode(assignPools(specs, devices), devices).map(
      ({ spec, wanted, value, message }) =>
        `${[spec, ...(wanted === undefined ? [] : [wanted]), ...(value ? [value.selector, value.index] : [])].join(".")}: ${message}`,
    );
  const onPf = (...pfNames: FunctionRange[]) => aSpec({ selectors: [{ pfNames }, {}] });

  test("what selects devices is not doubted", () => {
    expect(told(onPf(all("ens1f0"), range("ENS1F0", [0, 3])))).toEqual([]);
  });
  test.each([
    [range("ens1f0", [0, 15]), "ens1f0 has the VFs 0-3 on this node; #4-15 selects nothing"],
    [range("ens1f0", [2, 2], [5, 5], [8, 9]), "ens1f0 has the VFs 0-3 on this node; #5,8-9 selects nothing"],
    [all("ens9"), 'no PF of this node is called "ens9"; those with VFs are ens1f0'],
    [all("ens2f0"), "ens2f0 has no VFs on this node"],
    [all("ens1f0v1"), "ens1f0v1 belongs to a function of ens1f0, not to a PF"],
  ])("%j is doubted: %s", (entry, message) => {
    expect(told(onPf(all("ens1f0"), entry))).toEqual([`0.0.pfNames.1: ${message}`]);
  });
  test("an entry that can't be understood is doubted once, by the loader", () => {
    expect(told(onPf(all("ens1f0"), { pf: "x#", ranges: [], wrong: "no range" }))).toEqual([]);
  });
  test("PFs are known by their addresses too", () => {
    expect(told(aSpec({ selectors: [{ rootDevices: [range("0000:3b:00.0", [4, 4]), all("0000:5e:00.0")] }] }))).toEqual(
      [
        expect.stringContaining("0: selects nothing on this node"),
        "0.0.rootDevices.0: 0000:3b:00.0 has the VFs 0-3 on this node; #4 selects nothing",
        "0.0.rootDevices.1: 0000:5e:00.0 has no VFs on this node",
      ],
    );
  });
  test("numbers of SFs may have gaps, but a range without any selects nothing", () => {
    const entry = aSpec({
      deviceType: "auxNetDevice",
      selectors: [{ auxTypes: ["sf"], pfNames: [range("p0", [1, 9], [11, 12])] }],
    });
    expect(told(entry)).toEqual(["0.0.pfNames.0: p0 has no SF 11-12 on this node"]);
  });
  test("an entry that gets nothing says whether others took it, or what to ask", () => {
    expect(
      told(
        aSpec({ name: "first", selectors: [{ pciAddresses: vfs.map(({ id }) => id) }] }),
        aSpec({ name: "late", selectors: [{ drivers: ["iavf"] }] }),
        aSpec({ name: "none", selectors: [{ drivers: ["vfio-pci"] }] }),
        aSpec({ name: "fpga", deviceType: "accelerator" }),
      ),
    ).toEqual([
      "1: gets nothing on this node: intel.com/first before it took all that it wants (4)",
      '2: selects nothing on this node; "sriovdp explain intel.com/none" says why',
      "3: selects nothing on this node: it has no accelerator",
    ]);
  });
  test("a selector object that gets nothing is doubted in an entry that has devices", () => {
    const selectors: Wanted[] = [{ drivers: ["vfio-pci"] }, { pciAddresses: [pciAddress("0000:3b:00.0")] }, {}];
    expect(told(aSpec({ selectors }))).toEqual([
      "0.0: selects nothing on this node",
      "0.1: gets nothing on this node: all that it wants is taken before, or never offered",
    ]);
  });
  test("what is shadowed on every node is not doubted again", () => {
    expect(told(aSpec({ name: "all" }), aSpec({ name: "none", selectors: [{ drivers: ["vfio-pci"] }] }))).toEqual([]);
  });
});
