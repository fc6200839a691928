import { describe, expect, test } from "bun:test";
import { aDevice, aLink, aParent, aPf, aPort, pciAddress } from "../../test/support/device.ts";
import type { Device, LinkState, ParentFunction, Port } from "../host/device.ts";
import { brokenLink } from "./health.ts";
import { nextNameScan, recall, recallAll, type RememberedPfs } from "./recall.ts";

const rdma = { names: ["mlx5_2"] };

describe("an allocated device never appears unplugged", () => {
  const seen = aDevice({
    linkType: "infiniband",
    pKey: "0x7fff",
    ddpProfile: "E810 Comms",
    rdma,
    interfaces: ["ens1f0v1"],
  });
  const inPod = {
    ...seen,
    linkType: null,
    pKey: null,
    ddpProfile: null,
    rdma: { names: [] },
    interfaces: [],
    link: null,
  };

  test("facts that a pod's network namespace hides are carried over", () => {
    const now = recall(inPod, seen);
    expect(now).toMatchObject({ linkType: "infiniband", pKey: "0x7fff", ddpProfile: "E810 Comms" });
    expect(now.rdma).toEqual({ names: [] });
  });

  test("an RDMA device that was removed, not moved away, is gone", () => {
    expect(recall({ ...inPod, rdma: null }, seen).rdma).toBeNull();
  });

  test("they are carried over many scans", () => {
    let known = seen;
    for (let scan = 0; scan < 5; scan++) known = recall(inPod, known);
    expect(known).toMatchObject({ linkType: "infiniband", pKey: "0x7fff" });
    expect(known.rdma).toEqual({ names: [] });
  });

  test("what can be seen now counts, not what was seen before", () => {
    const now = { ...seen, linkType: "ether", pKey: "0x8001", rdma: { names: ["mlx5_9"] } };
    expect(recall(now, seen)).toEqual(now);
  });

  test("the name of a PF that is hidden for a moment is carried over, for the same PF only", () => {
    const address = pciAddress("0000:3b:00.0");
    const hidden = { ...seen, pf: aParent({ address, link: null }) };
    expect(recall(hidden, seen).pf).toEqual(aParent({ address, interfaceName: "ens1f0", link: null }));
    const other = { ...seen, pf: aParent({ address: pciAddress("0000:3b:00.1"), link: null }) };
    expect(recall(other, seen).pf?.interfaceName).toBeNull();
    const renamed = { ...seen, pf: aParent({ address, interfaceName: "eth9", link: aLink() }) };
    expect(recall(renamed, seen).pf?.interfaceName).toBe("eth9");
  });

  test("a function that left and came back at the same address is another device", () => {
    const another = { ...inPod, instance: "2" };
    expect(recall(another, seen)).toEqual(another);
  });

  test("a device bound to another driver is another device", () => {
    const rebound = { ...inPod, driver: "vfio-pci" };
    expect(recall(rebound, seen)).toEqual(rebound);
  });
});

describe("gone is gone", () => {
  test("a device that left the node is forgotten, and one that comes back starts over", () => {
    const device = aDevice({ pKey: "0x7fff" });
    const gone = recallAll([], [device]);
    expect(gone).toEqual([]);
    expect(recallAll([{ ...device, pKey: null }], gone)).toEqual([{ ...device, pKey: null }]);
  });

  test("each device recalls its own past", () => {
    const one = aDevice({ id: "0000:3b:02.1", pKey: "0x1" });
    const two = aDevice({ id: "0000:3b:02.2", pKey: "0x2" });
    const recalled = recallAll(
      [
        { ...two, pKey: null },
        { ...one, pKey: null },
      ],
      [one, two],
    );
    expect(recalled.map(({ pKey }) => pKey)).toEqual(["0x2", "0x1"]);
  });
});

/** Scans at given times, links alone where the plan says so; returns the device as it is recalled at last. */
function scanned(
  scans: readonly { readonly at: number; readonly device: Device; readonly linksOnly?: true }[],
  startedAfterBoot: number | null = null,
): Device {
  let before: readonly Device[] | null = null;
  const pfs: RememberedPfs = new Map();
  for (const { at, device, linksOnly = false } of scans) {
    before = recallAll([device], before, { now: at, startedAfterBoot, linksOnly, pfs });
  }
  return before![0] as Device;
}

describe("the interface of a PF that is re-created", () => {
  const named = (interfaceName: string | null, more: Partial<ParentFunction> = {}) =>
    aDevice({ pf: aParent({ interfaceName, ...more }) });
  const kernels = (name: string) => named(name, { isKernelNamed: true });
  const nameOf = (device: Device) => device.pf?.interfaceName;

  test("keeps its name while only links are scanned, whatever they are called", () => {
    const scans = [{ at: 0, device: named("ens1f0") }];
    expect(nameOf(scanned([...scans, { at: 50, device: kernels("eth0"), linksOnly: true }]))).toBe("ens1f0");
    expect(nameOf(scanned([...scans, { at: 50, device: named("ens9"), linksOnly: true }]))).toBe("ens1f0");
    const later = { at: 1, device: named("ens1f0", { laterNames: ["ens1f0d1"] }), linksOnly: true } as const;
    expect(scanned([...scans, later]).pf?.laterNames).toEqual([]);
  });

  test("has the name that udev gave it at once, in a scan of the functions", () => {
    const device = scanned([
      { at: 0, device: named("ens1f0") },
      { at: 900, device: named("ens9") },
    ]);
    expect(nameOf(device)).toBe("ens9");
    expect(nextNameScan([device], 900)).toBeNull();
  });

  test("has a name of the kernel's only after it has kept it for ten seconds", () => {
    const first = [
      { at: 0, device: named("ens1f0") },
      { at: 1000, device: kernels("eth0") },
    ];
    expect(nameOf(scanned(first))).toBe("ens1f0");
    expect(nextNameScan([scanned(first)], 1000)).toBe(10_000);
    expect(nextNameScan([scanned(first)], 20_000)).toBe(0);
    const close = scanned([...first, { at: 10_900, device: kernels("eth0") }]);
    expect(nameOf(close)).toBe("ens1f0");
    expect(nextNameScan([close], 10_900)).toBe(100);
    expect(nameOf(scanned([...first, { at: 11_000, device: kernels("eth0") }]))).toBe("eth0");
  });

  test("keeps its name for a VF that is re-created or rebound in the meantime, and where there was none for a while", () => {
    const first = { at: 0, device: named("ens1f0") };
    const recreated = kernels("eth0");
    expect(nameOf(scanned([first, { at: 1000, device: { ...recreated, driver: "vfio-pci" } }]))).toBe("ens1f0");
    expect(nameOf(scanned([first, { at: 1000, device: { ...recreated, instance: "2" } }]))).toBe("ens1f0");
    expect(nameOf(scanned([first, { at: 1000, device: { ...recreated, id: "0000:3b:02.7" } }]))).toBe("ens1f0");
    const other = aPf({ id: "0000:5e:00.0" });
    expect(nameOf(scanned([first, { at: 500, device: other }, { at: 1000, device: recreated }]))).toBe("ens1f0");
  });

  test("is another PF's once another function has its address, or the PF another driver", () => {
    const pfs: RememberedPfs = new Map();
    const at = (now: number) => ({ now, startedAfterBoot: null, linksOnly: false, pfs });
    recallAll([aPf({ instance: "1" }), named("ens1f0")], null, at(0));
    const [, vf] = recallAll([aPf({ instance: "2" }), kernels("eth0")], [], at(1000));
    expect(vf?.pf?.interfaceName).toBe("eth0");
    const [, kept] = recallAll([aPf({ instance: "2", driver: null }), named(null)], [], at(1500));
    expect(kept?.pf?.interfaceName).toBe("eth0");
    const [, unnamed] = recallAll([aPf({ instance: "2", driver: "vfio-pci" }), named(null)], [], at(2000));
    expect(unnamed?.pf?.interfaceName).toBeNull();
  });

  test("waits for ten seconds of one name, not of several", () => {
    const device = scanned([
      { at: 0, device: named("ens1f0") },
      { at: 1000, device: kernels("eth0") },
      { at: 9000, device: kernels("eth1") },
      { at: 12_000, device: kernels("eth1") },
    ]);
    expect(nameOf(device)).toBe("ens1f0");
    expect(nextNameScan([device], 12_000)).toBe(7000);
  });

  test("has a name of the kernel's at once where it had none, and waits for nothing once its own is back", () => {
    expect(nameOf(scanned([{ at: 0, device: kernels("eth0") }]))).toBe("eth0");
    const device = scanned([
      { at: 0, device: named("ens1f0") },
      { at: 1000, device: kernels("eth0") },
      { at: 2000, device: named("ens1f0") },
    ]);
    expect(device.pf?.pendingNames).toBeNull();
  });
});

describe("a PF that never had a carrier", () => {
  const down = { operstate: "down", carrier: false, carrierUps: 0 } as const;
  const below = (link: Partial<LinkState>) => aDevice({ pf: aParent({ link: aLink({ ...down, ...link }) }) });
  const isUnhealthy = (device: Device) => brokenLink(device) !== null;
  const gone = aDevice({ pf: aParent({ link: null }) });

  test("counts at once when the plugin starts on a node that booted long ago", () => {
    expect(isUnhealthy(scanned([{ at: 0, device: below({}) }]))).toBe(true);
  });

  test("is unknown for 30 s from a start shortly after the boot, and no longer", () => {
    const from = (at: number) => [{ at: 100, device: below({}) }, { at, device: below({}), linksOnly: true } as const];
    expect(isUnhealthy(scanned(from(29_999), 0))).toBe(false);
    expect(isUnhealthy(scanned(from(30_000), 0))).toBe(true);
  });

  test("is unknown for 30 s from its appearance", () => {
    const appeared = [
      { at: 1000, device: gone },
      { at: 2000, device: below({}) },
    ];
    expect(isUnhealthy(scanned([...appeared, { at: 31_999, device: below({}) }]))).toBe(false);
    expect(isUnhealthy(scanned([...appeared, { at: 32_000, device: below({}) }]))).toBe(true);
  });

  test("is unknown for 30 s from when it was set up, unless its driver had taken its VFs down", () => {
    const setUp = (driver: string) => {
      const at = (link: LinkState) => aDevice({ pf: aParent({ link, ports: [{ ...aPort({ driver }), link }] }) });
      const off = at(aLink({ ...down, adminUp: false, carrier: null }));
      return scanned([
        { at: 0, device: off },
        { at: 90_000, device: at(aLink(down)), linksOnly: true },
      ]);
    };
    expect(isUnhealthy(setUp("i40e"))).toBe(false);
    expect(isUnhealthy(setUp("ixgbe"))).toBe(true);
  });

  test("counts at once when it had a carrier, or when the kernel does not report it", () => {
    for (const carrierUps of [1, null])
      expect(isUnhealthy(scanned([{ at: 0, device: below({ carrierUps }) }], 0))).toBe(true);
  });

  test("loses its carrier at once, within the 30 s too", () => {
    const device = scanned(
      [
        { at: 0, device: below({}) },
        { at: 5000, device: aDevice({ pf: aParent({ link: aLink({ carrierUps: 1 }) }) }) },
        { at: 6000, device: below({ carrierUps: 1 }), linksOnly: true },
      ],
      0,
    );
    expect(isUnhealthy(device)).toBe(true);
  });

  test("does not become Healthy by being re-created while it is down", () => {
    const lost = { at: 0, device: below({ carrierUps: 3 }) };
    expect(isUnhealthy(scanned([lost, { at: 1000, device: below({ index: 9 }) }]))).toBe(true);
    expect(isUnhealthy(scanned([lost, { at: 1000, device: below({ index: 9 }) }], 0))).toBe(true);
  });

  test("is given time as a device of its own, too: administratively down it counted as unused", () => {
    const pf = (link: Partial<LinkState>) => aPf({ driver: "ixgbe", link: aLink({ ...down, ...link }) });
    const start = { at: 0, device: pf({ adminUp: false, carrier: null }) };
    const after = (at: number) => scanned([start, { at: 1000, device: pf({}) }, { at, device: pf({}) }]);
    expect(isUnhealthy(after(2000))).toBe(false);
    expect(isUnhealthy(after(31_000))).toBe(true);
  });

  test("that is a port of a hardware bond is given time as well", () => {
    const bonded = (one: Partial<LinkState>, two: Partial<LinkState>) => {
      const ports = [one, two].map((each, place) =>
        aPort({
          owner: `0000:3b:00.${place}`,
          driver: "mlx5_core",
          isSwitchdev: true,
          link: aLink({ ...down, index: 20 + place, interfaceName: `p${place}`, ...each }),
        }),
      );
      return aDevice({ pf: aParent({ ports: [ports[0]!], sharedPorts: { bond: "bond0", ports } }) });
    };
    expect(isUnhealthy(scanned([{ at: 0, device: bonded({}, {}) }], 0))).toBe(false);
    expect(isUnhealthy(scanned([{ at: 0, device: bonded({ carrierUps: 1 }, { carrierUps: 1 }) }], 0))).toBe(true);
  });

  test("on InfiniBand is given time as well, until its port was seen to be active", () => {
    const on = (infinibandState: Port["infinibandState"], name = "mlx5_0/1") =>
      aDevice({ pf: aParent({ ports: [aPort({ name, link: null, isInfiniband: true, infinibandState })] }) });
    const boot = { at: 100, device: on("DOWN") };
    expect(isUnhealthy(scanned([boot]))).toBe(true);
    expect(isUnhealthy(scanned([boot], 0))).toBe(false);
    expect(isUnhealthy(scanned([boot, { at: 29_999, device: on("DOWN"), linksOnly: true }], 0))).toBe(false);
    expect(isUnhealthy(scanned([boot, { at: 30_000, device: on("DOWN"), linksOnly: true }], 0))).toBe(true);
    const active = { at: 5000, device: on("ACTIVE"), linksOnly: true } as const;
    expect(isUnhealthy(scanned([boot, active, { at: 6000, device: on("DOWN"), linksOnly: true }], 0))).toBe(true);
    expect(isUnhealthy(scanned([{ at: 0, device: gone }, boot]))).toBe(false);
    const down = { at: 200, device: on("DOWN", "ibp1/1") };
    expect(isUnhealthy(scanned([boot, down]))).toBe(true);
  });

  test("shares its record with all VFs below it, before and after", () => {
    const pf = aParent({ link: aLink(down) });
    const vfs = [1, 2, 3].map((index) => aDevice({ id: `0000:3b:02.${index}`, pf }));
    const context = { now: 0, startedAfterBoot: 0, linksOnly: false };
    const recalled = recallAll(vfs, recallAll(vfs, null, context), { ...context, now: 10, linksOnly: true });
    expect(new Set(recalled.map((device) => device.pf)).size).toBe(1);
    expect(recalled[0]?.pf?.ports[0]?.graceEnds).toBe(30_000);
  });
});

test("the port that a VF uses is remembered while its interface is in a pod", () => {
  const pfPorts = [{ portId: "a", devPort: 1 }];
  const device = scanned([
    { at: 0, device: aDevice({ pfPorts }) },
    { at: 1000, device: aDevice({ pfPorts: [], interfaces: [], link: null }) },
    { at: 2000, device: aDevice({ pfPorts: [], interfaces: [], link: null }) },
  ]);
  expect(device.pfPorts).toEqual(pfPorts);
});
