import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { addVf, functionsChanged, moveNetdevAway, rebind, removeFunction, setDefaultRoutes } from "../support/live.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { until } from "../support/until.ts";
import { host, TestNode } from "../support/plugin.ts";
import { file } from "../support/tree.ts";
import { healthy, listed, modes, onceRegistered, rescan, rescanned, running, statusOf, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const rest = "intel.com/rest";
const entry = (selectors: object) => ({ resourceName: "net", selectors });
const others = { resourceName: "rest", selectors: {} };

/** Nodes with a device that a pod can take away from the host's view, and selectors that need what is hidden then. */
const holdings: readonly {
  readonly what: string;
  readonly node: NodePlan | string;
  readonly selectors: object;
  readonly id: string;
  readonly rdma?: boolean;
}[] = [
  {
    what: "a VF's interface",
    node: "iavf-vfs",
    selectors: { pfNames: ["ens1f0"], linkTypes: ["ether"], drivers: ["iavf"] },
    id: "0000:3b:01.0",
  },
  {
    what: "a VF's interface and RDMA device, in exclusive mode,",
    node: "mlx5-rdma-vfs",
    selectors: { isRdma: true, linkTypes: ["ether"] },
    id: "0000:d8:01.0",
    rdma: true,
  },
  {
    what: "an InfiniBand VF's interface and RDMA device",
    node: "infiniband-vfs",
    selectors: { isRdma: true, linkTypes: ["infiniband"], pKeys: ["0xffff"] },
    id: "0000:17:01.0",
    rdma: true,
  },
  { what: "a whole PF", node: "bare-pf", selectors: { linkTypes: ["ether"] }, id: "0000:31:00.0" },
];

describe.concurrent("a pod that holds", () => {
  for (const { what, node: plan, selectors, id, rdma = false } of holdings) {
    const config = { resourceList: [entry(selectors), others] };

    test(`${what} changes nothing when it comes and when it goes, and no list is sent`, async () => {
      await using node = await running({ node: plan, config, resources: [net] });
      const before = listed(node, net);
      await node.kubelet.allocate(net, [id], { pod: "pod" });
      const back = moveNetdevAway(node.root, id, { rdma });
      await rescan(node.plugin);
      back();
      node.kubelet.release("pod");
      await rescan(node.plugin);
      const restBefore = listed(node, rest);
      // A change that must be reported: it follows everything that could have been reported of the pod.
      removeFunction(node.root, id);
      await node.kubelet.waitFor(() => !listed(node, net).includes(id), "the removed device is gone");
      expect(touches(node, net)).toEqual(onceRegistered(2));
      expect(listed(node, net)).toEqual(before.filter((each) => each !== id));
      expect(listed(node, rest)).toEqual(restBefore);
    });

    for (const source of ["pod-resources", "the checkpoint"]) {
      test(`${what} keeps it in its pool over a restart of the plugin, by ${source}`, async () => {
        await using node = await running({ node: plan, config, resources: [net] });
        const before = listed(node, net);
        await node.kubelet.allocate(net, [id], { pod: "pod" });
        moveNetdevAway(node.root, id, { rdma });
        if (source === "the checkpoint") rmSync(`${node.kubelet.root}/pod-resources`, { recursive: true });
        await node.plugin.stop();
        await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the stream's end");
        node.startPlugin("-v=5");
        await node.listed(net);
        await node.kubelet.waitForAllocatable(net, before.length);
        expect(healthy(node, net)).toEqual(before);
        expect(healthy(node, rest)).not.toContain(id);
        // And so does the scan after the first one.
        await rescan(node.plugin);
        expect(healthy(node, net)).toEqual(before);
      });
    }
  }

  test("a PF that has VFs does not hide the PF's name from its VFs", async () => {
    const config = { resourceList: [entry({ pfNames: ["ens1f0#0-1"] }), others] };
    await using node = await running({ node: "iavf-vfs", config, resources: [net, rest] });
    const back = moveNetdevAway(node.root, "0000:3b:00.0");
    await rescan(node.plugin);
    back();
    await rescan(node.plugin);
    removeFunction(node.root, "0000:3b:01.1");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toEqual(onceRegistered(2));
    expect(touches(node, rest)).toEqual(onceRegistered(1));
  });

  test("a PF that was allocated during a restart of the plugin leaves no allocated VF without its pool", async () => {
    const config = { resourceList: [entry({ pfNames: ["ens1f0#0-1"] }), others] };
    await using node = await running({ node: "iavf-vfs", config, resources: [net, rest] });
    await node.kubelet.allocate(net, ["0000:3b:01.1"], { pod: "pod" });
    moveNetdevAway(node.root, "0000:3b:00.0");
    await node.plugin.stop();
    node.startPlugin("-v=5");
    await node.listed(net);
    await node.kubelet.waitForAllocatable(rest, 3);
    expect(healthy(node, net)).toEqual(["0000:3b:01.1"]);
    expect(healthy(node, rest)).not.toContain("0000:3b:01.1");
  });
});

describe.concurrent.each(modes)("a device that a pod holds (%s)", (mode) => {
  const own = "0000:3b:01.0";
  const first = "intel.com/first";
  const before = { resourceList: [entry({ drivers: ["iavf"] })] };
  const taking = { resourceName: "first", selectors: { pfNames: ["ens1f0#0-1"] } };
  const start = () => running({ node: "iavf-vfs", config: before, resources: [net], mode });

  test("is not offered by the pool that a new config gives it to, and moves there when the pod ends", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    const back = moveNetdevAway(node.root, own);
    node.configure({ resourceList: [taking, ...before.resourceList] });
    await node.kubelet.waitForAllocatable(first, 1);
    // Listed as Unhealthy: the pod keeps it, and no other pod is given it here.
    await node.kubelet.waitForAllocatable(net, 2);
    expect(listed(node, net)).toContain(own);
    await rescan(node.plugin);
    expect(listed(node, net)).toContain(own);
    expect(listed(node, first)).toEqual(["0000:3b:01.1"]);
    node.kubelet.release("pod");
    back();
    await node.kubelet.waitForAllocatable(first, 2);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(listed(node, net)).not.toContain(own);
  });

  test("is offered by no other pool when its own left the config, until the pod ends", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    const back = moveNetdevAway(node.root, own);
    node.configure({ resourceList: [taking] });
    await node.kubelet.waitForAllocatable(first, 1);
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the pool left");
    await rescan(node.plugin);
    expect(listed(node, first)).toEqual(["0000:3b:01.1"]);
    node.kubelet.release("pod");
    back();
    await node.kubelet.waitForAllocatable(first, 2);
  });

  test("is Unhealthy where it is when the plugin is restarted with another config, and moves when the pod ends", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    const back = moveNetdevAway(node.root, own);
    await node.plugin.stop();
    node.configure({ resourceList: [taking, ...before.resourceList] });
    node.startPlugin("-v=5");
    await node.listed(first);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(listed(node, first)).toEqual(["0000:3b:01.1"]);
    expect(listed(node, net)).toContain(own);
    await node.plugin.waitForLine(/device retained in its pool until its pod ends .*0000:3b:01\.0/);
    node.kubelet.release("pod");
    back();
    await node.kubelet.waitForAllocatable(first, 2);
    expect(listed(node, net)).not.toContain(own);
  });

  test("stays where it is when it is bound to a driver that another pool selects", async () => {
    await using node = await running({
      node: "iavf-vfs",
      config: {
        resourceList: [...before.resourceList, { resourceName: "first", selectors: { drivers: ["vfio-pci"] } }],
      },
      resources: [net],
      mode,
    });
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    rebind(node.root, own, "vfio-pci");
    await rescan(node.plugin);
    expect(node.kubelet.resource(first).registrations).toBe(0);
    expect(listed(node, net)).toContain(own);
    node.kubelet.release("pod");
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(first, 1);
    await node.kubelet.waitForAllocatable(net, 3);
  });
});

describe.concurrent("what the host needs is not offered for an instant", () => {
  const everything = { resourceList: [entry({})] };
  const offered = ["0000:47:00.0", "0000:4b:00.0"];

  test("when its default route lapses", async () => {
    await using node = await running({ node: "default-routes", config: everything, resources: [net] });
    expect(listed(node, net)).toEqual(offered);
    setDefaultRoutes(node.root, []);
    await rescanned(node);
    removeFunction(node.root, "0000:4b:00.0");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toEqual(onceRegistered(2));
    expect(listed(node, net)).toEqual(["0000:47:00.0"]);
  });

  test("when a route came and went again", async () => {
    await using node = await running({ node: "default-routes", config: everything, resources: [net] });
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitFor(() => listed(node, net).join() === "0000:4b:00.0", "the port of the route is gone");
    setDefaultRoutes(node.root, []);
    await rescanned(node);
    removeFunction(node.root, "0000:4b:00.0");
    await node.kubelet.waitFor(() => listed(node, net).length === 0, "an empty list");
    expect(touches(node, net)).toEqual(onceRegistered(3));
  });

  test("when its driver is rebound and the route is gone with the interface", async () => {
    await using node = await running({ node: "default-routes", config: everything, resources: [net] });
    const uplink = "0000:3b:00.0";
    setDefaultRoutes(node.root, []);
    rebind(node.root, uplink, null);
    await rescanned(node);
    rebind(node.root, uplink, "ice");
    await rescanned(node);
    removeFunction(node.root, "0000:4b:00.0");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(listed(node, net)).toEqual(["0000:47:00.0"]);
    expect(touches(node, net)).toEqual(onceRegistered(2));
  });

  test("while the VFs of a PF are re-created", async () => {
    const config = {
      resourceList: [{ resourceName: "rest", selectors: { devices: ["1572", "1592", "159b"] } }, entry({})],
    };
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const vfs = listed(node, net);
    for (const vf of vfs.toReversed()) removeFunction(node.root, vf);
    await node.kubelet.waitFor(() => listed(node, net).length === 0, "an empty list");
    await rescanned(node);
    for (const _ of vfs) addVf(node.root, "0000:3b:00.0", { driver: "iavf" });
    await node.kubelet.waitForAllocatable(net, vfs.length);
    expect(listed(node, net)).toEqual(vfs);
    expect(node.kubelet.resource(rest).registrations).toBe(0);
  });
});

describe.concurrent("an exclusion ends", () => {
  const everything = { resourceList: [entry({})] };

  test("with a reload, once its route is gone", async () => {
    await using node = await running({ node: "default-routes", config: everything, resources: [net] });
    const excluded = /device excluded device=0000:3b:00.0 reason="carries the default route \(.*\)" until="reload/;
    await node.plugin.waitForLine(excluded);
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitFor(() => listed(node, net).join() === "0000:4b:00.0", "the port of the route is gone");
    node.plugin.signal("SIGHUP");
    await node.kubelet.waitFor(() => listed(node, net).includes("0000:3b:00.0"), "the former uplink is listed");
    await node.plugin.waitForLine(/device no longer excluded device=0000:3b:00.0/);
  });

  test("when a default route is seen, on a node that has just booted", async () => {
    const entries = host("default-routes").filter(({ path }) => path !== "netlink.json");
    const facts = host("default-routes").filter(({ path }) => path === "netlink.json");
    await using node = new TestNode({
      entries: [...entries, ...facts, file("proc/uptime", "20.00 30.00\n")],
      config: everything,
    });
    setDefaultRoutes(node.root, []);
    await node.kubelet.start();
    node.startPlugin("-v=5");
    await node.plugin.waitUntilReady();
    expect(node.kubelet.resource(net).registrations).toBe(0);
    const { excluded } = await statusOf(node);
    expect(excluded.filter(({ rule }) => rule === "no-default-route-yet").map(({ device }) => device)).toContain(
      "0000:47:00.0",
    );
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.listed(net);
    expect(listed(node, net)).not.toContain("0000:47:00.0");
    expect(listed(node, net)).toContain("0000:4b:00.0");
  });
});

test("a device that is given away while its pool ends is not offered by the pool that takes its place", async () => {
  const indexes = Array.from({ length: 16 }, (_, index) => index);
  const id = (index: number) => `0000:3b:${(1 + (index >> 3)).toString(16).padStart(2, "0")}.${index & 7}`;
  const pools = (resourcePrefix: string) => ({
    resourceList: indexes.map((index) => ({
      resourceName: `p${index}`,
      resourcePrefix,
      selectors: { pciAddresses: [id(index)] },
    })),
  });
  const resources = (prefix: string) => indexes.map((index) => `${prefix}/p${index}`);
  await using node = await running({
    node: { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 16, driver: "iavf" }] }] },
    config: pools("old.io"),
    resources: resources("old.io"),
  });
  node.configure(pools("new.io"));
  // As soon as it is so: the others may not have ended yet.
  const old = () => node.pluginSockets().filter((name) => name.startsWith("old.io_")).length;
  for (const end = performance.now() + 20_000; old() === 16; await Bun.sleep(0))
    if (performance.now() > end) throw new Error("no pool has ended");
  const answers = await Promise.allSettled(
    indexes.map(async (index) => node.kubelet.callAllocate(`old.io/p${index}`, [[id(index)]])),
  );
  await until("the new pools are there", () => resources("new.io").every((each) => listed(node, each).length === 1));
  const given = indexes.filter((index) => answers[index]?.status === "fulfilled");
  expect(given.flatMap((index) => healthy(node, `new.io/p${index}`))).toEqual([]);
});
