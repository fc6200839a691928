import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { aDevice, aParent, aPf, aSubFunction } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { type FunctionRange, matches, type Selector, selectorNames, selectors } from "./selectors.ts";

const rdma = { names: ["mlx5_2"] };
const vhost = { name: "vdpa0", type: "vhost", node: null } as const;

/** One row a selector: a device, what it fulfils, and what it does not. */
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

  test.each([
    ["ens1f0#1#2", "more than one"],
    ["ens1f0#a", "is not a range"],
    ["ens1f0#", "is not a range"],
    ["ens1f0#1,", "is not a range"],
    ["ens1f0#-1", "is not a range"],
    ["ens1f0#1-2-3", "is not a range"],
    ["ens1f0#1.5", "is not a range"],
    ["ens1f0#9999999999", "is not a range"],
    ["ens1f0#7-2", "runs backwards"],
    ["#1", "no PF"],
    ["", "no PF"],
  ])("%j selects nothing, and a doubt says why", (text, why) => {
    const wanted = v.parse(selectors.pfNames.schema, [text]);
    expect(selectors.pfNames.doubts?.(wanted)).toEqual([expect.stringContaining(why)]);
    expect(selectors.pfNames.matches(aDevice(), wanted)).toBe(false);
  });

  test("an entry that selects nothing leaves the others of its list as they are", () => {
    const wanted = v.parse(selectors.pfNames.schema, ["ens1f0#7-2", "ens1f0"]);
    expect(selectors.pfNames.matches(aDevice(), wanted)).toBe(true);
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
])("%s %j is doubted", (name, value, doubt) => {
  expect(selector(name).doubts?.(value)).toEqual([expect.stringContaining(doubt)]);
});

test.each([
  ["vendors", ["8086"]],
  ["pciAddresses", ["10000:3b:02.1"]],
  ["linkTypes", ["ether"]],
])("%s %j is not doubted", (name, value) => {
  expect(selector(name).doubts?.(value)).toEqual([]);
});

test("every selector's example is of its own form", () => {
  for (const name of selectorNames) {
    const parsed = v.safeParse(selector(name).schema, JSON.parse(selector(name).example));
    expect([name, parsed.success]).toEqual([name, true]);
  }
});
