import { describe, expect, test } from "bun:test";
import { aDevice, aLink, pciAddress } from "../../test/support/device.ts";
import { recall, recallAll } from "./recall.ts";

const rdma = { names: ["mlx5_2"] };

describe("an allocated device never looks unplugged", () => {
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

  test("they are carried over many looks", () => {
    let known = seen;
    for (let look = 0; look < 5; look++) known = recall(inPod, known);
    expect(known).toMatchObject({ linkType: "infiniband", pKey: "0x7fff" });
    expect(known.rdma).toEqual({ names: [] });
  });

  test("what can be seen now counts, not what was seen before", () => {
    const now = { ...seen, linkType: "ether", pKey: "0x8001", rdma: { names: ["mlx5_9"] } };
    expect(recall(now, seen)).toEqual(now);
  });

  test("the name of a PF that is hidden for a moment is carried over, for the same PF only", () => {
    const address = pciAddress("0000:3b:00.0");
    const hidden = { ...seen, pf: { address, interfaceName: null, link: null } };
    expect(recall(hidden, seen).pf).toEqual({ address, interfaceName: "ens1f0", link: null });
    const other = { ...seen, pf: { address: pciAddress("0000:3b:00.1"), interfaceName: null, link: null } };
    expect(recall(other, seen).pf?.interfaceName).toBeNull();
    const renamed = { ...seen, pf: { address, interfaceName: "eth9", link: aLink() } };
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
  test("a device that left the node is forgotten, and one that comes back starts anew", () => {
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
