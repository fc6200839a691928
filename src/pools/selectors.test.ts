import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { aDevice, aParent, aPf, aSubFunction } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { type FunctionRange, matches, type Selector, selectorNames, selectors } from "./selectors.ts";

const rdma = { names: ["mlx5_2"] };
const vhost = { name: "vdpa0", type: "vhost", node: null } as const;

/** One row per selector: a device, what it fulfills, and what it does not. */
const rows: [name: string, device: Device, fits: unknown[], misses: unknown[]][] = [
  ["vendors", aDevice(), [["8086"], ["15b3", "8086"], []], [["15b3"], ["0x8086"]]],
  ["devices", aDevice(), [["1889"], ["154c", "1889"], []], [["154c"]]],
  ["drivers", aDevice(), [["iavf"], ["vfio-pci", "iavf"], []], [["vfio-pci"], ["IAVF"], ["none"]]],
  ["drivers", aDevice({ driver: null }), [[]], [["iavf"], ["none"], [""]]],
  ["pciAddresses", aDevice(), [["0000:3b:02.1"], []], [["0000:3b:02.2"], ["0000:3B:02.1"]]],
  ["acpiIndexes", aDevice({ acpiIndex: "101" }), [["101"], []], [["10"], ["1"]]],
  ["acpiIndexes", aDevice(), [[]], [["101"], ["none"]]],
  ["auxTypes", aSubFunction(), [["sf"]], [["eth"]]],
  ["auxTypes", aDevice(), [[]], [["sf"]]],
  ["linkTypes", aDevice(), [["ether"], ["infiniband", "ether"], []], [["infiniband"], ["Ether"]]],
  ["linkTypes", aDevice({ linkType: null }), [[]], [["ether"]]],
  ["ddpProfiles", aDevice({ ddpProfile: "E810 Comms" }), [["E810 Comms"], []], [["E810"]]],
  ["pKeys", aDevice({ pKey: "0x7fff" }), [["0x7fff"], []], [["0x7FFF"], ["7fff"]]],
  ["isRdma", aDevice({ rdma }), [true, false], []],
  ["isRdma", aDevice({ rdma: { names: [] } }), [true, false], []],
  ["isRdma", aDevice(), [false], [true]],
  ["vdpaType", aDevice({ vdpa: vhost }), ["vhost", ""], ["virtio"]],
  ["vdpaType", aDevice(), [""], ["vhost", "virtio"]],
  ["needVhostNet", aDevice(), [true, false], []],
];

const selector = (name: string) => selectors[name as keyof typeof selectors] as Selector<unknown>;

test.each(rows)("%s fits what the device has and nothing else", (name, device, fits, misses) => {
  for (const value of fits) expect([value, selector(name).matches(device, value)]).toEqual([value, true]);
  for (const value of misses) expect([value, selector(name).matches(device, value)]).toEqual([value, false]);
});

test("every selector of the table is covered by this file", () => {
  const covered = new Set(rows.map(([name]) => name).concat("pfNames", "rootDevices"));
  expect(selectorNames.filter((name) => !covered.has(name))).toEqual([]);
});

const ranges = (entries: string[]): FunctionRange[] => v.parse(selectors.pfNames.schema, entries);
const vf = (functionIndex: number | null, interfaceName: string | null = "ens1f0") =>
  aDevice({ functionIndex, pf: aParent({ interfaceName, link: null }) });
const indexesOf = (entries: string[], interfaceName = "ens1f0") =>
  Array.from({ length: 12 }, (_, index) => index).filter((index) =>
    matches(vf(index, interfaceName), { pfNames: ranges(entries) }),
  );

describe("pfNames and rootDevices", () => {
  test.each([
    [["ens1f0"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    [["ens1f0#3"], [3]],
    [["ens1f0#0-2"], [0, 1, 2]],
    [["ens1f0#0,2-4,9"], [0, 2, 3, 4, 9]],
    [["ens1f0#007"], [7]],
    [["ens2f0"], []],
    [[], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  ])("%j takes the functions %j of ens1f0, ranges including both ends", (entries, taken) => {
    expect(indexesOf(entries)).toEqual(taken);
  });

  test("several entries for one PF add up, as an operator merges policies", () => {
    expect(indexesOf(["ens1f0#0-1", "ens2f0", "ens1f0#4"])).toEqual([0, 1, 4]);
    expect(indexesOf(["ens1f0#0-1", "ens1f0"])).toHaveLength(12);
  });

  test("names of PFs are compared without regard to case", () => {
    expect(indexesOf(["ENS1f0#1"])).toEqual([1]);
    expect(indexesOf(["ens1f0#1"], "Ens1F0")).toEqual([1]);
    expect(matches(vf(1), { rootDevices: ranges(["0000:3B:00.0#1"]) })).toBe(true);
  });

  test("rootDevices take the functions below an address", () => {
    expect(matches(vf(1), { rootDevices: ranges(["0000:3b:00.0"]) })).toBe(true);
    expect(matches(vf(1), { rootDevices: ranges(["0000:3b:00.0#0,2-7"]) })).toBe(false);
    expect(matches(vf(1), { rootDevices: ranges(["0000:3b:00.1"]) })).toBe(false);
  });

  test("a PF is not below itself", () => {
    expect(matches(aPf(), { pfNames: ranges(["ens1f0"]) })).toBe(false);
    expect(matches(aPf(), { rootDevices: ranges(["0000:3b:00.0"]) })).toBe(false);
  });

  test("a function without a known index is taken by a whole PF and by no range", () => {
    expect(matches(vf(null), { pfNames: ranges(["ens1f0"]) })).toBe(true);
    expect(matches(vf(null), { pfNames: ranges(["ens1f0#0-99"]) })).toBe(false);
  });

  test("a function whose PF has no visible interface is not taken by a name", () => {
    expect(matches(vf(1, null), { pfNames: ranges(["ens1f0"]) })).toBe(false);
    expect(matches(vf(1, null), { pfNames: ranges(["none"]) })).toBe(false);
  });

  // What isSelected of the upstream plugin's pkg/resources/deviceSelectors.go gives for each.
  test.each<[string, number[]]>([
    ["ens1f0#0-1,", [0, 1]],
    ["ens1f0#0, 2", [0]],
    ["ens1f0#5-2,1", [1]],
    ["ens1f0#0-1,x", [0, 1]],
    ["ens1f0#0-1,x,5", [0, 1]],
    ["ens1f0#0-1,3-,5", [0, 1]],
    ["ens1f0#0,2-3-4,5", [0]],
    ["ens1f0#7,-1,5", [7]],
    ["ens1f0#1,0x2", [1]],
    ["ens1f0#1,99999999999999999999,3", [1]],
  ])("%j takes %j: the parts before the first that is not an index or range, with a warning", (text, taken) => {
    expect(indexesOf([text])).toEqual(taken);
    expect(selectors.pfNames.warnings?.(ranges([text]))).toHaveLength(1);
  });

  test.each<[string, number[]]>([
    ["ens1f0#+1", [1]],
    ["ens1f0#1-+3", [1, 2, 3]],
    ["ens1f0#9223372036854775807,3", [3]],
    ["ens1f0#0000000000000000000000002", [2]],
  ])("%j takes %j without a warning, as Go reads numbers", (text, taken) => {
    expect(indexesOf([text])).toEqual(taken);
    expect(selectors.pfNames.warnings?.(ranges([text]))).toEqual([]);
  });

  test.each([
    ["ens1f0#1#2", "more than one"],
    ["ens1f0#a", "is not an index"],
    ["ens1f0#", "is not an index"],
    ["ens1f0#,1", "is not an index"],
    ["ens1f0# 1", "is not an index"],
    ["ens1f0#-1", "is not an index"],
    ["ens1f0#1-2-3", "is not an index"],
    ["ens1f0#1.5", "is not an index"],
    ["ens1f0#9223372036854775808", "is not an index"],
    ["ens1f0#7-2", "runs backwards"],
    ["#1", "no PF"],
    ["", "no PF"],
  ])("%j selects nothing, and a warning says why", (text, why) => {
    const ranges = v.parse(selectors.pfNames.schema, [text]);
    expect(selectors.pfNames.warnings?.(ranges)).toEqual([expect.stringContaining(why)]);
    expect(selectors.pfNames.warnings?.(ranges)[0]).toContain("selects nothing");
    expect(indexesOf([text])).toEqual([]);
  });

  test.each([
    ["pfNames", ["0000:3b:00.0#1"], "rootDevices"],
    ["pfNames", ["3b:00.0"], "rootDevices"],
    ["pfNames", ["ens1f0 #1"], "space"],
    ["pfNames", ["mlx-*"], "no wildcard"],
    ["rootDevices", ["3b:00.0"], '"0000:3b:00.0"'],
    ["rootDevices", ["ens1f0"], "pfNames"],
  ])("%s %j causes the warning: %s", (name, entries, why) => {
    expect(selector(name).warnings?.(ranges(entries))).toEqual([expect.stringContaining(why)]);
  });

  test("an entry that selects nothing leaves the others of its list as they are", () => {
    const ranges = v.parse(selectors.pfNames.schema, ["ens1f0#7-2", "ens1f0"]);
    expect(selectors.pfNames.matches(aDevice(), ranges)).toBe(true);
  });
});

test("all selectors of an object must be fulfilled at once", () => {
  expect(matches(aDevice(), { vendors: ["8086"], drivers: ["iavf"] })).toBe(true);
  expect(matches(aDevice(), { vendors: ["8086"], drivers: ["vfio-pci"] })).toBe(false);
  expect(matches(aDevice(), {})).toBe(true);
});

test.each([
  ["vendors", ["0x8086"], "can never match"],
  ["devices", ["154C"], "can never match"],
  ["pciAddresses", ["3b:02.1"], "can never match"],
  ["linkTypes", ["ether", "infiniband"], "more than one link type"],
  ["linkTypes", ["ethernet"], 'link types are "ether" and "infiniband"'],
  ["linkTypes", ["IB"], 'link types are "ether" and "infiniband"'],
  ["drivers", ["mlx5_core", "mlx5_ib"], "expected mlx5_core"],
  ["drivers", ["vfio_pci"], "expected vfio-pci"],
  ["drivers", ["irdma"], "expected ice"],
  ["drivers", ["iavf "], "space"],
  ["ddpProfiles", [" E810"], "space"],
  ["acpiIndexes", ["0x65"], "decimal"],
  ["pKeys", ["7fff"], '"0x7fff"'],
  ["pKeys", ["0x7FFF"], '"0x7fff"'],
])("%s %j causes a warning", (name, value, warning) => {
  expect(selector(name).warnings?.(value)).toEqual([expect.stringContaining(warning)]);
});

test.each([
  ["vendors", ["8086"]],
  ["pciAddresses", ["10000:3b:02.1"]],
  ["linkTypes", ["ether"]],
  ["linkTypes", ["infiniband"]],
  ["drivers", ["constructor", "mlx5_core", "vfio-pci", "mlx5_vfio_pci", "i40evf"]],
  ["ddpProfiles", ["GTPv1-C/U IPv4/IPv6 payload"]],
  ["acpiIndexes", ["0", "101"]],
  ["pKeys", ["0x7fff"]],
])("%s %j causes no warning", (name, value) => {
  expect(selector(name).warnings?.(value)).toEqual([]);
});

test("every selector's example is of its own form", () => {
  for (const name of selectorNames) {
    const parsed = v.safeParse(selector(name).schema, JSON.parse(selector(name).example));
    expect([name, parsed.success]).toEqual([name, true]);
  }
});
