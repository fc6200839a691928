import { describe, expect, test } from "bun:test";
import { aDevice, aLink, aParent, aSpec } from "../../test/support/device.ts";
import type { Device as HostDevice } from "../host/device.ts";
import { assignPools } from "../pools/assign.ts";
import type { PoolSpec } from "../pools/pool.ts";
import { ListAndWatchResponse } from "./api/deviceplugin.ts";
import { deviceList, truncateToBytes, listBytes, sameList } from "./device-list.ts";

const down = aParent({ link: aLink({ operstate: "down" }) });

const listOf = (devices: HostDevice[], spec: Partial<PoolSpec> = {}) =>
  assignPools([aSpec(spec)], devices).flatMap(deviceList);

describe("the list that the kubelet gets", () => {
  test("names each device, its health and its NUMA node", () => {
    expect(listOf([aDevice({ id: "0000:3b:02.0" }), aDevice({ id: "0000:3b:02.1", numaNode: 1, pf: down })])).toEqual([
      { ID: "0000:3b:02.0", health: "Healthy", topology: { nodes: [{ ID: 0 }] } },
      { ID: "0000:3b:02.1", health: "Unhealthy", topology: { nodes: [{ ID: 1 }] } },
    ]);
  });

  test("has no topology if the node has none, or the pool excludes it", () => {
    expect(listOf([aDevice({ numaNode: null })])[0]?.topology).toBeUndefined();
    expect(listOf([aDevice()], { excludeTopology: true })[0]?.topology).toBeUndefined();
  });

  test("has a size that is known to within a few bytes a device", () => {
    const devices = listOf(
      Array.from({ length: 256 }, (_, index) =>
        aDevice({
          id: `0000:3b:02.${index}`,
          numaNode: index % 2 === 0 ? null : 1,
          pf: index % 3 === 0 ? down : aParent(),
        }),
      ),
    );
    const encoded = ListAndWatchResponse.encode({ devices }).finish().length;
    expect(Math.abs(listBytes(devices) - encoded)).toBeLessThan(devices.length * 4);
  });
});

describe("a list that is too long", () => {
  const devices = listOf(Array.from({ length: 10 }, (_, index) => aDevice({ id: `0000:3b:02.${index}` })));
  const room = (count: number) => (listBytes(devices) / devices.length) * count;
  const ids = (list: readonly { ID: string }[]) => list.map(({ ID }) => ID.at(-1)).join("");

  test("is cut at its end, and one that fits is as it was", () => {
    expect(truncateToBytes(devices, room(10), () => 0)).toBe(devices);
    expect(ids(truncateToBytes(devices, room(4), () => 0))).toBe("0123");
    expect(truncateToBytes(devices, 0, () => 0)).toEqual([]);
  });

  test("keeps the devices of lower ranks, and its order", () => {
    const rank = (id: string) => (id.endsWith("9") ? 0 : id.endsWith("5") ? 1 : 2);
    expect(ids(truncateToBytes(devices, room(1), rank))).toBe("9");
    expect(ids(truncateToBytes(devices, room(4), rank))).toBe("0159");
  });

  test("has the same size whatever the health of its devices", () => {
    const sick = devices.map((device) => ({ ...device, health: "Unhealthy" }));
    expect(ids(truncateToBytes(sick, room(4), () => 0))).toBe(ids(truncateToBytes(devices, room(4), () => 0)));
  });
});

describe("two lists are the same", () => {
  const list = () => listOf([aDevice({ id: "a" }), aDevice({ id: "b", numaNode: null })]);
  const [first, second] = list();
  if (!first || !second) throw new Error("two devices make a list of two");

  test("when they say the same", () => {
    expect(sameList(list(), list())).toBe(true);
    expect(sameList([], [])).toBe(true);
  });

  test.each([
    ["another id", [{ ...first, ID: "c" }, second]],
    ["another health", [first, { ...second, health: "Unhealthy" }]],
    ["another NUMA node", [{ ...first, topology: { nodes: [{ ID: 1 }] } }, second]],
    ["a NUMA node where none was", [first, { ...second, topology: { nodes: [{ ID: 0 }] } }]],
    ["no NUMA node where one was", [{ ...first, topology: undefined }, second]],
    ["another order", [second, first]],
    ["one device less", [first]],
    ["none", []],
  ])("but not with %s", (_, changed) => {
    expect(sameList(list(), changed)).toBe(false);
    expect(sameList(changed, list())).toBe(false);
  });
});
