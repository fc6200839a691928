import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  addRdma,
  addSf,
  addVdpa,
  addVf,
  plugPf,
  rebind,
  removeFunction,
  removeSf,
  removeVdpa,
  unplugPf,
} from "../support/live.ts";
import { healthy, listed, modes, onceRegistered, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const dpdk = "intel.com/dpdk";
const byDriver = {
  resourceList: [
    { resourceName: "net", selectors: { drivers: ["iavf"] } },
    { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } },
  ],
};
const entry = (more: object) => ({ resourceList: [{ resourceName: "net", selectors: {}, ...more }] });
const vf = (index: number) => `0000:3b:01.${index}`;
const iavf = (mode: "watcher" | "legacy" = "watcher") =>
  running({ node: "iavf-vfs", config: byDriver, resources: [net], mode });

describe.concurrent.each(modes)("the kubelet that registers plugins by the %s", (mode) => {
  test("gets a pool with its first device, and not before", async () => {
    await using node = await iavf(mode);
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
    rebind(node.root, vf(0), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    expect(touches(node, dpdk)).toEqual(onceRegistered(1));
    expect(node.pluginSockets()).toEqual(["intel.com_dpdk.sock", "intel.com_net.sock"]);
  });

  test("gets an empty list when a pool lost its last device; the pool stays registered, and can fill again", async () => {
    await using node = await iavf(mode);
    for (const index of [3, 2, 1, 0]) removeFunction(node.root, vf(index));
    await node.kubelet.waitForAllocatable(net, 0);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(net).capacity === 0, "an empty list");
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
    addVf(node.root, "0000:3b:00.0", { driver: "iavf" });
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toMatchObject({ registrations: 1, streams: 1, repeatedLists: 0 });
  });
});

describe.concurrent("VFs", () => {
  test("that are made join the list", async () => {
    await using node = await iavf();
    expect(addVf(node.root, "0000:3b:00.0")).toBe(vf(4));
    await node.kubelet.waitForAllocatable(net, 5);
    expect(healthy(node, net)).toEqual([0, 1, 2, 3, 4].map(vf));
    const { envs } = await node.kubelet.allocate(net, [vf(4)]);
    expect(envs["PCIDEVICE_INTEL_COM_NET"]).toBe(vf(4));
  });

  test("that are created one by one appear in few lists, not in one list each", async () => {
    await using node = await iavf();
    for (let made = 0; made < 16; made++) addVf(node.root, "0000:3b:00.0");
    await node.kubelet.waitForAllocatable(net, 20);
    expect(node.kubelet.resource(net).lists).toBeLessThan(6);
  });

  test("that are removed leave the list, and can't be allocated any more", async () => {
    await using node = await iavf();
    removeFunction(node.root, vf(1));
    await node.kubelet.waitForAllocatable(net, 3);
    expect(listed(node, net)).toEqual([vf(0), vf(2), vf(3)]);
    const refusal = await node.kubelet.callAllocate(net, [[vf(1)]]).catch((error: Error) => error.message);
    expect(refusal).toContain(`"${vf(1)}" is not in pool ${net}`);
  });

  test("that are bound to another driver move to the pool that selects them, and back", async () => {
    await using node = await iavf();
    rebind(node.root, vf(0), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    await node.kubelet.waitForAllocatable(net, 3);
    rebind(node.root, vf(0), "iavf");
    await node.kubelet.waitForAllocatable(net, 4);
    await node.kubelet.waitFor(() => listed(node, dpdk).length === 0, "the other pool is empty");
    rebind(node.root, vf(1), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    const { devices } = await node.kubelet.allocate(dpdk, 1);
    expect(devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vfio/vfio", "/dev/vfio/3"]);
  });

  test("are never in two pools at once while they move", async () => {
    await using node = await iavf();
    rebind(node.root, vf(0), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    // The list without the device is sent before the other pool's socket is there at all.
    expect(listed(node, net)).not.toContain(vf(0));
  });

  test("without a driver stay in their pool until one is bound", async () => {
    await using node = await iavf();
    rebind(node.root, vf(0), null);
    await node.kubelet.waitForAllocatable(net, 3);
    expect(listed(node, net)).toContain(vf(0));
    rebind(node.root, vf(0), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    await node.kubelet.waitFor(() => listed(node, net).length === 3, "the first pool lost it");
  });

  test("that a PF gets while it is offered itself take its place", async () => {
    await using node = await running({ node: "bare-pf", config: entry({}), resources: [net] });
    expect(listed(node, net)).toEqual(["0000:31:00.0"]);
    addVf(node.root, "0000:31:00.0", { driver: "iavf" });
    await node.kubelet.waitFor(() => listed(node, net).join() === "0000:31:01.0", "the VF, and only it, is offered");
  });
});

describe.concurrent("NICs", () => {
  test("that are plugged are offered with their VFs, and leave when they are unplugged", async () => {
    await using node = await iavf();
    const pf = plugPf(node.root, { nic: "e810", name: "ens9f0", address: "0000:5e:00.0", vfs: [{ count: 3 }] });
    await node.kubelet.waitForAllocatable(net, 7);
    unplugPf(node.root, pf);
    await node.kubelet.waitForAllocatable(net, 4);
    expect(listed(node, net)).toEqual([0, 1, 2, 3].map(vf));
    unplugPf(node.root, "0000:3b:00.0");
    await node.kubelet.waitFor(() => listed(node, net).length === 0, "an empty list");
    plugPf(node.root, { nic: "e810", name: "ens1f0", address: "0000:3b:00.0", vfs: [{ count: 2 }] });
    await node.kubelet.waitForAllocatable(net, 2);
    expect(touches(node, net)).toMatchObject({ registrations: 1, streams: 1, repeatedLists: 0 });
  });
});

describe.concurrent("sub-functions", () => {
  const config = entry({ deviceType: "auxNetDevice", selectors: { auxTypes: ["sf"] } });

  test("come and go", async () => {
    await using node = await running({ node: "sub-functions", config, resources: [net] });
    const name = addSf(node.root, "0000:03:00.0", 89);
    await node.kubelet.waitForAllocatable(net, 4);
    expect(listed(node, net)).toContain(name);
    removeSf(node.root, "0000:03:00.0", name);
    await node.kubelet.waitForAllocatable(net, 3);
    expect(listed(node, net)).not.toContain(name);
  });

  test("make a pool when the first one comes", async () => {
    const pfs = [{ nic: "bluefield2", name: "p0", eswitch: "switchdev" }] as const;
    await using node = await running({ node: { pfs }, config, resources: [] });
    const name = addSf(node.root, "0000:3b:00.0", 1, { rdma: true });
    await node.kubelet.waitForAllocatable(net, 1);
    expect(listed(node, net)).toEqual([name]);
  });
});

describe.concurrent("vDPA devices", () => {
  test.each(["vhost", "virtio"] as const)("of type %s bring their VF into the pool, and take it away", async (type) => {
    const config = entry({ selectors: { vdpaType: type } });
    await using node = await running({ node: `vdpa-${type}`, config, resources: [net] });
    expect(listed(node, net)).toHaveLength(2);
    const [first = ""] = listed(node, net);
    removeVdpa(node.root, first, "vdpa0");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(listed(node, net)).not.toContain(first);
    addVdpa(node.root, first, type);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(listed(node, net)).toContain(first);
  });
});

describe.concurrent("RDMA devices", () => {
  test("bring their VF into the pool, and leave it with their driver", async () => {
    const plan = { pfs: [{ nic: "connectx6", name: "ens2f0np0", vfs: [{ count: 2 }] }] } as const;
    await using node = await running({
      node: plan,
      config: {
        resourceList: [
          { resourceName: "roce", selectors: { isRdma: true } },
          { resourceName: "net", selectors: {} },
        ],
      },
      resources: [net],
    });
    addRdma(node.root, vf(1));
    await node.kubelet.waitForAllocatable("intel.com/roce", 1);
    await node.kubelet.waitFor(() => listed(node, net).join() === vf(0), "the other pool lost it");
    rebind(node.root, vf(1), null);
    rebind(node.root, vf(1), "vfio-pci");
    await node.kubelet.waitForAllocatable(net, 2);
    expect(listed(node, "intel.com/roce")).toEqual([]);
    addRdma(node.root, vf(0));
    await node.kubelet.waitForAllocatable("intel.com/roce", 1);
    const { devices } = await node.kubelet.allocate("intel.com/roce", 1);
    expect(devices.map(({ hostPath }) => hostPath)).toContain("/dev/infiniband/uverbs0");
  });
});
