import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import {
  addVf,
  changeFacts,
  functionsChanged,
  moveNetdevAway,
  rebind,
  removeFunction,
  setDefaultRoutes,
  setLink,
  setVfLinkState,
} from "../support/live.ts";
import { buildNode, type NodePlan } from "../support/node.ts";
import { host, TestNode } from "../support/plugin.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const dpdk = "intel.com/dpdk";
const config = {
  resourceList: [
    { resourceName: "net", selectors: { drivers: ["iavf"] } },
    { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } },
  ],
};
const vf = (index: number) => `0000:3b:01.${index}`;

/** A node with the plugin running on it. */
async function running(
  plan: NodePlan | string,
  resources: readonly string[],
  conf: unknown = config,
): Promise<TestNode> {
  const node = new TestNode({ entries: typeof plan === "string" ? host(plan) : buildNode(plan), config: conf });
  try {
    await node.start(resources);
    return node;
  } catch (error) {
    await node.close();
    throw error;
  }
}

/** The devices of a resource that the kubelet may hand out. */
const healthy = ({ kubelet }: TestNode, resource: string): string[] =>
  [...kubelet.resource(resource).devices.values()].flatMap(({ ID, health }) => (health === "Healthy" ? [ID] : []));

describe.concurrent("the link of a PF", () => {
  test("that goes down makes its VFs unhealthy, and healthy again when it is back; the capacity stays", async () => {
    await using node = await running("iavf-vfs", [net]);
    await node.kubelet.allocate(net, [vf(0)]);
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(net, 0);
    expect(node.kubelet.resource(net).capacity).toBe(4);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitForAllocatable(net, 4);
    setLink(node.root, "ens1f0", "disabled");
    await node.kubelet.waitForAllocatable(net, 0);
  });

  test("does not matter to VFs whose own policy is enable, and those on disable are unhealthy in any case", async () => {
    await using node = await running("iavf-vfs", [net]);
    setVfLinkState(node.root, "ens1f0", 1, "disable");
    await node.kubelet.waitForAllocatable(net, 3);
    setVfLinkState(node.root, "ens1f0", 2, "enable");
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(healthy(node, net)).toEqual([vf(2)]);
  });

  test("does not matter to a pool with linkHealth false", async () => {
    const [entry] = config.resourceList;
    await using node = await running("iavf-vfs", [net], { resourceList: [{ ...entry, linkHealth: false }] });
    setLink(node.root, "ens1f0", "down");
    // Something that the kubelet must hear of, behind it.
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(net, 3);
  });

  test("that is unknown, or that nobody can see, is taken for up", async () => {
    await using node = await running("iavf-vfs", [net]);
    setLink(node.root, "ens1f0", { operstate: "unknown", carrier: null });
    changeFacts(node.root, ({ links }) => ({ links: links.filter(({ name }) => name !== "ens1f0v0") }));
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(net, 3);
    expect(healthy(node, net)).toEqual([vf(0), vf(1), vf(2)]);
  });

  test("that is down at the start is told once, with the switch that turns it off", async () => {
    await using node = await running({ pfs: [{ nic: "e810", name: "ens1f0", link: "down", vfs: [{ count: 4 }] }] }, [
      net,
    ]);
    expect(node.kubelet.resource(net)).toMatchObject({ capacity: 4, allocatable: 0 });
    const told = node.plugin.lines.filter((line) => / WARN .*ens1f0/.test(line));
    expect(told).toHaveLength(1);
    expect(told[0]).toContain("functions=4");
    expect(told[0]).toContain("--link-health=false");
  });
});

describe.concurrent("a device that changes while the plugin runs", () => {
  test("leaves the list when it leaves the node", async () => {
    await using node = await running("iavf-vfs", [net]);
    removeFunction(node.root, vf(1));
    await node.kubelet.waitForAllocatable(net, 3);
    expect(node.kubelet.resource(net).capacity).toBe(3);
  });

  test("joins the list when it comes", async () => {
    await using node = await running("iavf-vfs", [net]);
    expect(addVf(node.root, "0000:3b:00.0")).toBe("0000:3b:01.4");
    await node.kubelet.waitForAllocatable(net, 5);
    expect(healthy(node, net)).toContain("0000:3b:01.4");
  });

  test("moves to the pool that wants it when another driver is bound", async () => {
    await using node = await running("iavf-vfs", [net]);
    rebind(node.root, vf(0), "vfio-pci");
    await node.kubelet.waitForAllocatable(dpdk, 1);
    await node.kubelet.waitForAllocatable(net, 3);
    const { devices } = await node.kubelet.allocate(dpdk, 1);
    expect(devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vfio/vfio", "/dev/vfio/2"]);
  });

  test("stays in its pool, unhealthy, while no driver is bound", async () => {
    await using node = await running("iavf-vfs", [net]);
    rebind(node.root, vf(0), null);
    await node.kubelet.waitForAllocatable(net, 3);
    expect(node.kubelet.resource(net).capacity).toBe(4);
    rebind(node.root, vf(0), "iavf");
    await node.kubelet.waitForAllocatable(net, 4);
  });

  test("is unhealthy when its character device is gone", async () => {
    await using node = await running("vfio-pci-vfs", [dpdk]);
    rmSync(`${node.root}/dev/vfio/2`);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(dpdk, 1);
    expect(node.kubelet.resource(dpdk).capacity).toBe(2);
  });

  test("never looks unplugged while a pod has its netdev and its RDMA devices", async () => {
    const roce = "intel.com/roce";
    await using node = await running("mlx5-rdma-vfs", [roce], {
      resourceList: [{ resourceName: "roce", selectors: { linkTypes: ["ether"], isRdma: true } }],
    });
    await node.kubelet.allocate(roce, ["0000:d8:01.0"], { pod: "pod" });
    const back = moveNetdevAway(node.root, "0000:d8:01.0", { rdma: true });
    // A change behind it that the kubelet must hear of.
    removeFunction(node.root, "0000:d8:01.1");
    await node.kubelet.waitForAllocatable(roce, 1);
    expect(healthy(node, roce)).toEqual(["0000:d8:01.0"]);
    back();
  });

  test("never looks unplugged when the plugin starts while a pod has it", async () => {
    const roce = "intel.com/roce";
    await using node = await running("mlx5-rdma-vfs", [roce], {
      resourceList: [
        { resourceName: "roce", selectors: { linkTypes: ["ether"], isRdma: true } },
        { resourceName: "rest", selectors: {} },
      ],
    });
    await node.kubelet.allocate(roce, ["0000:d8:01.0"], { pod: "pod" });
    moveNetdevAway(node.root, "0000:d8:01.0", { rdma: true });
    await node.plugin.stop();
    node.startPlugin();
    await node.listed(roce);
    await node.kubelet.waitForAllocatable(roce, 2);
    expect(healthy(node, roce)).toEqual(["0000:d8:01.0", "0000:d8:01.1"]);
    expect(healthy(node, "intel.com/rest")).not.toContain("0000:d8:01.0");
  });
});

describe.concurrent("what the host needs", () => {
  const pfs = "intel.com/pf";
  const everything = { resourceList: [{ resourceName: "pf", selectors: {} }] };

  test("leaves the list when a default route moves to it, and stays away when the route leaves again", async () => {
    await using node = await running("default-routes", [pfs], everything);
    expect(healthy(node, pfs)).toEqual(["0000:47:00.0", "0000:4b:00.0"]);
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitFor(
      () => !healthy(node, pfs).includes("0000:47:00.0"),
      "the interface of the route is gone",
    );
    setDefaultRoutes(node.root, []);
    removeFunction(node.root, "0000:4b:00.0");
    await node.kubelet.waitFor(() => !healthy(node, pfs).includes("0000:4b:00.0"), "the removed port is gone");
    expect(healthy(node, pfs)).not.toContain("0000:47:00.0");
    expect(healthy(node, pfs)).not.toContain("0000:3b:00.0");
  });

  test("is a PF from the moment on when it gets VFs", async () => {
    await using node = await running("pf-with-vfs", [pfs], everything);
    expect(healthy(node, pfs)).toEqual(["0000:31:01.0", "0000:31:01.1", "0000:35:00.0"]);
    addVf(node.root, "0000:35:00.0", { driver: "iavf" });
    await node.kubelet.waitFor(() => healthy(node, pfs).includes("0000:35:01.0"), "the new VF is offered");
    expect(healthy(node, pfs)).toEqual(["0000:31:01.0", "0000:31:01.1", "0000:35:01.0"]);
  });
});

describe.concurrent("the config file", () => {
  test("is followed: pools come, change and go without a restart", async () => {
    await using node = await running("iavf-vfs", [net]);
    node.configure({
      resourceList: [
        { resourceName: "first", selectors: { pfNames: ["ens1f0#0"] } },
        { resourceName: "net", selectors: { drivers: ["iavf"] } },
      ],
    });
    await node.kubelet.waitForAllocatable("intel.com/first", 1);
    await node.kubelet.waitForAllocatable(net, 3);
    node.configure({ resourceList: [{ resourceName: "first", selectors: {} }] });
    await node.kubelet.waitForAllocatable("intel.com/first", 4);
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the pool that left the file is gone");
    expect(node.pluginSockets()).toEqual(["intel.com_first.sock"]);
  });

  test("with mistakes changes nothing, and the mistakes are told", async () => {
    await using node = await running("iavf-vfs", [net]);
    node.configure({ resourceList: [{ resourceName: "net", selectors: { vendor: ["8086"] } }] });
    await node.plugin.waitForLine(/did you mean "vendors"/);
    await node.plugin.waitForLine(/the running config stays/);
    expect(node.kubelet.allocatable).toEqual({ [net]: 4 });
    node.configure(config);
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(net, 3);
  });

  test("never takes a device from the pod that holds it", async () => {
    await using node = await running("iavf-vfs", [net]);
    await node.kubelet.allocate(net, [vf(0)], { pod: "pod" });
    node.configure({
      resourceList: [
        { resourceName: "first", selectors: { pfNames: ["ens1f0#0-1"] } },
        { resourceName: "net", selectors: { drivers: ["iavf"] } },
      ],
    });
    await node.kubelet.waitForAllocatable("intel.com/first", 1);
    expect(healthy(node, "intel.com/first")).toEqual([vf(1)]);
    await node.kubelet.waitFor(() => healthy(node, net).length === 3, "the pool has three");
    expect(healthy(node, net)).toContain(vf(0));
  });
});
