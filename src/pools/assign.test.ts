import { describe, expect, test } from "bun:test";
import { aDevice, aLink, aParent, aPf, aSpec, aSubFunction } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { optionalFactsOf } from "./optional-facts.ts";
import { explain } from "./explanation.ts";
import { assignPools } from "./assign.ts";
import type { Pool } from "./pool.ts";
import type { SelectorObject } from "./selectors.ts";

const placed = (pools: readonly Pool[]) =>
  Object.fromEntries(pools.map(({ spec, claims }) => [spec.name, [...claims.keys()]]));
const served = (pools: readonly Pool[]) => new Map(pools.map((pool) => [pool.spec.resource, pool]));

const a = aDevice({ id: "0000:3b:02.0", driver: "vfio-pci" });
const b = aDevice({ id: "0000:3b:02.1" });
const c = aDevice({ id: "0000:3b:02.2", vendor: "15b3" });

const ofPf = (pf: string) => ({ pf, ranges: null });
const A = aSpec({ name: "A" });
const B = aSpec({ name: "B" });

describe("without pods", () => {
  test("the first entry of the file that selects a device gets it", () => {
    expect(placed(assignPools([A, B], [a, b]))).toEqual({ A: [a.id, b.id], B: [] });
    expect(placed(assignPools([{ ...A, selectors: [{ drivers: ["iavf"] }] }, B], [a, b]))).toEqual({
      A: [b.id],
      B: [a.id],
    });
  });

  test("the first selector object that matches is the one by which a device is handed out", () => {
    const spec = aSpec({ selectors: [{ vendors: ["15b3"], needVhostNet: true }, { needVhostNet: false }] });
    const [pool] = assignPools([spec], [b, c]);
    expect(pool?.claims.get(c.id)?.selectorObject).toEqual({ vendors: ["15b3"], needVhostNet: true });
    expect(pool?.claims.get(b.id)?.selectorObject).toEqual({ needVhostNet: false });
  });

  test("several selector objects add up, each device once, in the node's order", () => {
    const spec = aSpec({ name: "A", selectors: [{ vendors: ["15b3"] }, { drivers: ["vfio-pci"] }, {}] });
    expect(placed(assignPools([spec], [a, b, c]))).toEqual({ A: [a.id, b.id, c.id] });
  });

  test("an entry without selector objects takes nothing", () => {
    expect(placed(assignPools([{ ...A, selectors: [] }], [a]))).toEqual({ A: [] });
  });

  test.each([
    ["netDevice", "net"],
    ["accelerator", "accel"],
    ["auxNetDevice", "sf"],
  ] as const)("a pool of %s takes devices of that type only", (deviceType, taken) => {
    const devices = { net: b, accel: aPf({ id: "0000:5e:00.0", pciClass: 0x12 }), sf: aSubFunction() };
    const pools = assignPools([{ ...A, deviceType }], [...Object.values(devices), aDevice({ id: "x", pciClass: 3 })]);
    expect(placed(pools)).toEqual({ A: [devices[taken].id] });
  });

  test("a PF and its sub-functions can both be offered", () => {
    const pf = aPf({ id: "0000:08:00.0" });
    const sfs = aSpec({ name: "sfs", deviceType: "auxNetDevice", selectors: [{ auxTypes: ["sf"] }] });
    expect(placed(assignPools([A, sfs], [pf, aSubFunction()]))).toEqual({ A: [pf.id], sfs: ["mlx5_core.sf.4"] });
  });
});

describe("what must not be offered", () => {
  const route = { defaultRoute: "bond0", vfs: 0 };
  test.each<[string, Device, boolean]>([
    ["a function with the host's default route", aDevice({ host: route }), false],
    ["a sub-function with the host's default route", aSubFunction({ host: route }), false],
    ["a PF with VFs", aPf({ host: { defaultRoute: null, vfs: 8 } }), false],
    ["a function without a driver", aDevice({ driver: null }), false],
    ["an accelerator without a driver", aPf({ pciClass: 0x12, driver: null }), false],
    ["an accelerator with VFs", aPf({ pciClass: 0x12, host: { defaultRoute: null, vfs: 8 } }), true],
    ["a PF without VFs", aPf(), true],
  ])("%s", (_, device, offered) => {
    const specs = (["netDevice", "accelerator", "auxNetDevice"] as const).map((deviceType) =>
      aSpec({ name: deviceType, deviceType }),
    );
    expect(assignPools(specs, [device]).some(({ claims }) => claims.has(device.id))).toBe(offered);
  });
});

describe("with pods", () => {
  const held = new Map([[b.id, A.resource]]);

  test("an allocated device stays in its pool though an earlier entry selects it now", () => {
    expect(placed(assignPools([B, A], [a, b], held))).toEqual({ B: [a.id], A: [b.id] });
  });

  test("an allocated device stays in its pool though no selector selects it any more", () => {
    const narrow = { ...A, selectors: [{ drivers: ["vfio-pci"] }] };
    expect(placed(assignPools([narrow, B], [a, b], held))).toEqual({ A: [a.id, b.id], B: [] });
  });

  describe.each([
    ["while the plugin runs", served(assignPools([A, B], [a, b]))],
    ["after a restart", new Map<string, Pool>()],
  ])("%s, an allocated device", (_, before) => {
    const reason = (pools: readonly Pool[]) => pools.flatMap(({ unhealthy }) => [...unhealthy]);

    test("that the config has come to give to an earlier pool is Unhealthy where it is, until its pod ends", () => {
      const moved = assignPools([B, A], [a, b], held, before);
      expect(placed(moved)).toEqual({ B: [a.id], A: [b.id] });
      expect(reason(moved)).toEqual([[b.id, "it is allocated to a pod, and this pool no longer selects it"]]);
      // It stays so at the next scan, and is Healthy when the config selects it here again.
      const again = assignPools([B, A], [a, b], held, served(moved));
      expect(again[1]?.claims.get(b.id)?.basis).toBe("draining");
      expect(assignPools([A, B], [a, b], held, served(again))[0]?.unhealthy.size).toBe(0);
    });

    test("that no selector of its pool matches any more is Unhealthy, whichever pool would get it", () => {
      for (const specs of [[{ ...A, selectors: [{ pfNames: [ofPf("ens9")] }] }], [{ ...A, selectors: [] }, B]]) {
        const pools = assignPools(specs, [b], held, before);
        expect(placed(pools)).toMatchObject({ A: [b.id] });
        expect(reason(pools).map(([id]) => id)).toEqual([b.id]);
      }
    });

    test("that came back with another driver, or below a PF of another name, stays and is Unhealthy", () => {
      const iavf = { ...A, selectors: [{ drivers: ["iavf"], pfNames: [ofPf("ens1f0")] }] };
      const pf = aParent({ address: b.pci, interfaceName: "eth7", link: null });
      for (const changed of [{ driver: "vfio-pci" }, { pf }]) {
        const pools = assignPools([iavf, B], [{ ...b, driver: "iavf", ...changed }], held, before);
        expect(placed(pools)).toEqual({ A: [b.id], B: [] });
        expect(reason(pools).map(([id]) => id)).toEqual([b.id]);
      }
    });
  });

  test.each<[string, Partial<Device>, SelectorObject]>([
    ["its link type", { linkType: null }, { linkTypes: ["infiniband"] }],
    ["its P_Key", { pKey: null }, { pKeys: ["0x7fff"] }],
    ["its DDP profile", { ddpProfile: null }, { ddpProfiles: ["x"] }],
    [
      "its PF's name",
      { pf: aParent({ address: b.pci, interfaceName: null, link: null }) },
      { pfNames: [ofPf("ens1f0")] },
    ],
  ])(
    "an allocated device is kept as it is when %s can't be seen, for it may be in the pod",
    (_, facts, selectorObject) => {
      const spec = { ...A, selectors: [selectorObject] };
      const device = { ...b, ...facts };
      const first = assignPools([spec, B], [device], held);
      for (const [pool] of [first, assignPools([spec, B], [device], held, served(first))]) {
        expect(pool?.claims.get(b.id)?.basis).toBe("retained");
        expect(pool?.unhealthy.size).toBe(0);
      }
      const more = { ...A, selectors: [{ ...selectorObject, drivers: ["vfio-pci"] }] };
      expect(assignPools([more, B], [device], held)[0]?.claims.get(b.id)?.basis).toBe("draining");
    },
  );

  test("an allocated device that became one of another type is in no pool", () => {
    const accelerator = { ...b, pciClass: 0x12 };
    const accelerators = aSpec({ name: "C", deviceType: "accelerator" });
    expect(placed(assignPools([A, accelerators], [accelerator], held))).toEqual({ A: [], C: [] });
  });

  test("a device that is allocated under a resource that left the config is in no pool", () => {
    expect(placed(assignPools([A, B], [b], new Map([[b.id, "intel.com/gone"]])))).toEqual({ A: [], B: [] });
  });

  test("an allocated device stays though its driver is gone", () => {
    expect(placed(assignPools([A], [{ ...b, driver: null }], held))).toEqual({ A: [b.id] });
  });

  test.each<[string, Partial<Device>, string]>([
    ["the host's default route", { host: { defaultRoute: "ens1f0v1", vfs: 0 } }, "default route"],
    ["VFs of its own", { host: { defaultRoute: null, vfs: 4 } }, "4 VFs"],
  ])(
    "an allocated device with %s stays where its pod has it, Unhealthy; without a pod it is not claimed",
    (_, facts, reason) => {
      const needed = { ...b, ...facts };
      const [pool] = assignPools([A], [needed], held);
      expect([...(pool?.claims.keys() ?? [])]).toEqual([b.id]);
      expect(pool?.unhealthy.get(b.id)).toContain(reason);
      const before = served(assignPools([A], [b]));
      for (const device of [needed, { ...needed, driver: null }])
        expect(placed(assignPools([A], [device], new Map(), before))).toEqual({ A: [] });
    },
  );

  test("a device is Unhealthy only under the resource for which it is suspended", () => {
    const suspended = new Map([
      [a.id, { resource: A.resource, reason: "stale" }],
      [b.id, { resource: B.resource, reason: "stale" }],
    ]);
    const [pool] = assignPools([A, B], [a, b, c], new Map(), new Map(), suspended);
    expect([...(pool?.unhealthy ?? [])]).toEqual([[a.id, "stale"]]);
  });

  test("no device is ever in two pools, whatever is allocated where and in whichever order the entries are", () => {
    const devices = [a, b, c];
    const homes = [A.resource, B.resource, "intel.com/gone", undefined];
    for (const specs of [
      [A, B],
      [B, A],
    ]) {
      for (let state = 0; state < homes.length ** devices.length; state++) {
        const holds = new Map<string, string>();
        devices.forEach(({ id }, index) => {
          const home = homes[Math.floor(state / homes.length ** index) % homes.length];
          if (home !== undefined) holds.set(id, home);
        });
        const pools = assignPools(specs, devices, holds);
        const all = pools.flatMap(({ spec, claims }) => [...claims.keys()].map((id) => ({ id, in: spec.resource })));
        expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
        for (const { id, in: resource } of all) expect(holds.get(id) ?? resource).toBe(resource);
      }
    }
  });

  test("an allocated device keeps the selector object by which it was claimed", () => {
    const selectorObject = { needVhostNet: true, vendors: ["8086"] };
    const before = served(assignPools([{ ...A, selectors: [selectorObject] }], [b]));
    const now = assignPools([{ ...A, selectors: [{ vendors: ["15b3"] }, { devices: ["101e"] }] }], [b], held, before);
    expect(now[0]?.claims.get(b.id)?.selectorObject).toEqual(selectorObject);
  });
});

describe("a device that lost its driver", () => {
  const before = served(assignPools([A], [b]));
  const unbound = { ...b, driver: null };

  test("stays in its pool, Unhealthy, until a driver is bound again", () => {
    const [pool] = assignPools([A, B], [unbound], new Map(), before);
    expect([...(pool?.claims.keys() ?? [])]).toEqual([b.id]);
    expect(pool?.unhealthy.get(b.id)).toContain("no driver");
  });

  test("moves to the pool that selects it under its new driver", () => {
    const iavf = { ...A, selectors: [{ drivers: ["iavf"] }] };
    const vfio = { ...B, selectors: [{ drivers: ["vfio-pci"] }] };
    expect(placed(assignPools([iavf, vfio], [{ ...b, driver: "vfio-pci" }], new Map(), before))).toEqual({
      A: [],
      B: [b.id],
    });
  });
});

test("only claimed devices that are not healthy are listed, with the reason", () => {
  const down = aDevice({ id: "0000:3b:02.3", pf: aParent({ link: aLink({ operstate: "down" }) }) });
  const [pool] = assignPools([A], [b, down]);
  expect([...(pool?.unhealthy ?? [])]).toEqual([[down.id, "the link of its PF ens1f0 is down"]]);
  expect(assignPools([{ ...A, linkHealth: false }], [b, down])[0]?.unhealthy.size).toBe(0);
});

test("facts that cost firmware commands are read only when a pool selects by them", () => {
  expect(optionalFactsOf([A])).toEqual({ ddpProfiles: false, enableRdma: false, vhostNet: false });
  expect(optionalFactsOf([A, { ...B, selectors: [{ ddpProfiles: ["x"] }, { isRdma: true }] }])).toEqual({
    ddpProfiles: true,
    enableRdma: true,
    vhostNet: false,
  });
  expect(optionalFactsOf([{ ...A, selectors: [{ ddpProfiles: [], isRdma: false }] }])).toEqual({
    ddpProfiles: false,
    enableRdma: false,
    vhostNet: false,
  });
  expect(optionalFactsOf([{ ...A, selectors: [{ needVhostNet: true }] }])).toMatchObject({ vhostNet: true });
});

describe("a later name of a PF with several interfaces", () => {
  const vf = (id: string) => aDevice({ id, pf: aParent({ interfaceName: "ens1", laterNames: ["ens1d1"] }) });
  const byName = (name: string, pf: string, more: object = {}) =>
    aSpec({ name, selectors: [{ pfNames: [{ pf, ranges: null }], ...more }] });
  const idsIn = (specs: ReturnType<typeof aSpec>[], devices = [vf("0000:3b:02.1")]) =>
    assignPools(specs, devices).map(({ claims }) => [...claims.keys()]);

  test("selects what no entry selects by the first", () => {
    expect(idsIn([byName("a", "ens1d1")])).toEqual([["0000:3b:02.1"]]);
    expect(idsIn([byName("a", "ENS1D1")])).toEqual([["0000:3b:02.1"]]);
  });

  test("moves nothing from where the first name, or no name, put it", () => {
    expect(idsIn([byName("a", "ens1d1"), byName("b", "ens1")])).toEqual([[], ["0000:3b:02.1"]]);
    expect(idsIn([byName("a", "ens1d1"), aSpec({ name: "rest" })])).toEqual([[], ["0000:3b:02.1"]]);
  });

  test("counts together with the other selectors of its object", () => {
    expect(idsIn([byName("a", "ens1d1", { drivers: ["vfio-pci"] })])).toEqual([[]]);
    expect(idsIn([byName("a", "ens1", { drivers: ["vfio-pci"] }), byName("b", "ens1d1")])).toEqual([
      [],
      ["0000:3b:02.1"],
    ]);
  });

  test("is what an explanation says that the device has", () => {
    const pools = assignPools([byName("a", "ens1d1")], [vf("0000:3b:02.1")]);
    expect(explain(vf("0000:3b:02.1"), pools)[0]?.trials[0]?.tests).toEqual([
      { selector: "pfNames", expected: ["ens1d1"], found: "ens1d1#1", passes: true },
    ]);
  });
});
