// Which devices do pods have? The pods' cgroups decide, not the kubelet's checkpoint: over restarts, reboots and edits.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import type { FullStatus } from "../../src/telemetry/plugin-status.ts";
import { detach, moveNetdevAway, rebind, renumberGroup, setDefaultRoutes, setLink } from "../support/live.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { executable, type TestNode } from "../support/plugin.ts";
import { healthy, listed, rescan, running } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(45_000);

const net = "intel.com/net";
const first = "intel.com/first";
const own = "0000:3b:01.0";
const all = ["0000:3b:01.0", "0000:3b:01.1", "0000:3b:01.2", "0000:3b:01.3"];
const entry = (resourceName: string, selectors: object) => ({ resourceName, selectors });
const config = { resourceList: [entry("net", { drivers: ["iavf"] })] };
const renamed = { resourceList: [entry("first", { drivers: ["iavf"] })] };
const start = () => running({ node: "iavf-vfs", config, resources: [net] });
const hidePodResources = ({ kubelet }: TestNode) => rmSync(`${kubelet.root}/pod-resources`, { recursive: true });

/** What `sriovdp status` prints; the kubelet has to answer meanwhile. */
const status = (node: TestNode, ...args: readonly string[]): Promise<string> =>
  new Response(
    Bun.spawn([executable, "status", "--root", node.root, ...args], { stdin: "ignore", stderr: "ignore", env: {} })
      .stdout,
  ).text();
const stateOf = async (node: TestNode) => JSON.parse(await status(node, "-o", "json")) as FullStatus;

/** Restarts the plugin, with another config when there is one. */
async function restart(node: TestNode, resources: readonly string[], next?: unknown) {
  await node.plugin.stop();
  if (next !== undefined) node.configure(next);
  node.startPlugin("-v=5");
  await node.plugin.waitUntilReady();
  for (const resource of resources) await connected(node, resource);
}

/** Waits until the kubelet has a list of the resource from a plugin that runs. */
const connected = (node: TestNode, resource: string) =>
  node.kubelet.waitFor((kubelet) => {
    const { connected: isOpen, devices } = kubelet.resource(resource);
    return isOpen && [...devices.values()].some(({ health }) => health === "Healthy");
  }, `a list of ${resource}`);

describe.concurrent("a pod that ended holds nothing, though the checkpoint has it until another pod is admitted", () => {
  for (const source of ["pod-resources", "the checkpoint alone"]) {
    test(`over a restart of the plugin with the resource renamed, by ${source}`, async () => {
      await using node = await start();
      await node.kubelet.allocate(net, 4, { pod: "pod" });
      node.kubelet.release("pod");
      if (source !== "pod-resources") hidePodResources(node);
      await restart(node, [first], renamed);
      expect(healthy(node, first)).toEqual(all);
    });
  }

  test("while the plugin runs, however short the pod's life was", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    node.kubelet.release("pod");
    node.configure(renamed);
    await node.kubelet.waitForAllocatable(first, 4, 20_000);
  });

  test("at exit: its files go, and those of pods that run stay", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "stays" });
    await node.kubelet.allocate(net, ["0000:3b:01.1"], { pod: "ends" });
    // Seen alive, so that its end is seen, also by a plugin that the kubelet does not answer in time.
    expect((await stateOf(node)).allocated?.map(({ id }) => id)).toEqual(all.slice(0, 2));
    node.kubelet.release("ends");
    expect(await node.plugin.stop()).toBe(0);
    expect(node.names(node.deviceInfoFolder)).toEqual([`intel.com-net-${own}-device.json`]);
  });

  test("when CDI is turned off: its spec goes, and the one of a pod that runs stays", async () => {
    const pools = {
      resourceList: ["a", "b"].map((name, index) => entry(name, { pfNames: [`ens1f0#${index}`] })),
    };
    await using node = await running({
      node: { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 2, driver: "vfio-pci" }] }] },
      config: pools,
      resources: ["intel.com/a", "intel.com/b"],
      args: ["--use-cdi"],
    });
    await node.kubelet.allocate("intel.com/a", 1, { pod: "stays" });
    await node.kubelet.allocate("intel.com/b", 1, { pod: "ends" });
    node.plugin.kill();
    await node.plugin.ended();
    node.kubelet.release("ends");
    node.startPlugin("-v=5");
    await node.plugin.waitUntilReady();
    expect(node.names(node.cdiFolder)).toEqual(["sriov-dp-intel.com-net-pci-a.yaml"]);
    node.kubelet.release("stays");
    expect(await node.plugin.stop()).toBe(0);
    expect(node.names(node.cdiFolder)).toEqual([]);
  });
});

describe.concurrent("a pod that runs keeps its device", () => {
  for (const driver of ["systemd", "cgroupfs"] as const) {
    test(`by its cgroup (${driver}), while pod-resources names nothing and the device shows no sign`, async () => {
      await using node = await start();
      node.kubelet.cgroupDriver = driver;
      // The folders of this driver are made at the kubelet's start.
      await node.kubelet.reboot();
      await node.kubelet.waitForAllocatable(net, 4);
      await node.kubelet.allocate(net, [own], { pod: "pod" });
      node.kubelet.namesPods = false;
      await restart(node, [first], renamed);
      expect(healthy(node, first)).toEqual(all.slice(1));
      await node.plugin.waitForLine(/WARN .*device withheld from all pools until its pod ends .*0000:3b:01\.0/);
      node.kubelet.release("pod");
      await node.kubelet.waitForAllocatable(first, 4, 20_000);
      await node.plugin.waitForLine(/device released /);
    });
  }

  test("in its pool when it left and came back with another driver, Unhealthy, until the pod ends", async () => {
    const both = { resourceList: [...config.resourceList, entry("first", { drivers: ["vfio-pci"] })] };
    await using node = await running({ node: "iavf-vfs", config: both, resources: [net] });
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    const back = detach(node.root, own);
    await node.kubelet.waitFor(() => !listed(node, net).includes(own), "the device left");
    back();
    rebind(node.root, own, "vfio-pci");
    await node.kubelet.waitFor(() => listed(node, net).includes(own), "the device is back");
    expect(healthy(node, net)).toEqual(all.slice(1));
    expect(listed(node, first)).toEqual([]);
    node.kubelet.release("pod");
    await node.kubelet.waitForAllocatable(first, 1, 20_000);
    expect(listed(node, net)).not.toContain(own);
  });

  test("but not as Healthy when the host needs it; and when the pod ends, not at all", async () => {
    await using node = await running({
      node: "default-routes",
      config: { resourceList: [entry("net", {})] },
      resources: [net],
    });
    const [held = "", ...rest] = listed(node, net);
    expect(held).toBe("0000:47:00.0");
    await node.kubelet.allocate(net, [held], { pod: "pod" });
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitForAllocatable(net, rest.length);
    expect(listed(node, net)).toContain(held);
    const [pool] = (await stateOf(node)).pools;
    expect(pool?.devices.find(({ id }) => id === held)).toMatchObject({
      health: "Unhealthy",
      unhealthyReason: expect.stringContaining("default route") as string,
    });
    await restart(node, [net]);
    expect(listed(node, net)).toContain(held);
    expect(healthy(node, net)).not.toContain(held);
    node.kubelet.release("pod");
    await node.kubelet.waitFor(() => !listed(node, net).includes(held), "what the host needs is in no list", 20_000);
  });
});

describe.concurrent("where no cgroups of pods are visible", () => {
  const startWithout = async () => {
    const node = await start();
    node.kubelet.cgroupDriver = null;
    rmSync(`${node.root}/sys/fs/cgroup`, { recursive: true });
    return node;
  };

  test("an interface in another network namespace keeps its device in its pool over a restart of the plugin", async () => {
    await using node = await startWithout();
    await node.kubelet.allocate(net, [own, "0000:3b:01.1"], { pod: "pod" });
    const back = moveNetdevAway(node.root, own);
    hidePodResources(node);
    await restart(node, [first], renamed);
    // The other one shows no sign of use, and the checkpoint alone is not evidence.
    expect(healthy(node, first)).toEqual(all.slice(1));
    node.kubelet.release("pod");
    back();
    await node.kubelet.waitForAllocatable(first, 4, 20_000);
  });

  test("an open VFIO device does", async () => {
    const plan: NodePlan = { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 2, driver: "vfio-pci" }] }] };
    const vfio = (name: string) => ({ resourceList: [entry(name, { drivers: ["vfio-pci"] })] });
    await using node = await running({ node: plan, config: vfio("net"), resources: [net] });
    node.kubelet.cgroupDriver = null;
    rmSync(`${node.root}/sys/fs/cgroup`, { recursive: true });
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    writeFileSync(`${node.root}/sys/bus/pci/devices/${own}/enable`, "1\n");
    hidePodResources(node);
    await restart(node, [first], vfio("first"));
    expect(healthy(node, first)).toEqual(["0000:3b:01.1"]);
  });

  test("what this process allocated stays while the checkpoint names it", async () => {
    await using node = await startWithout();
    hidePodResources(node);
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    node.configure(renamed);
    await node.kubelet.waitForAllocatable(first, 3);
    await rescan(node.plugin);
    expect(listed(node, first)).toEqual(all.slice(1));
  });
});

describe.concurrent("after a reboot", () => {
  const plan: NodePlan = { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 3, driver: "vfio-pci" }] }] };
  const vfio = { resourceList: [entry("net", { drivers: ["vfio-pci"] })] };
  const boot = async (change: (node: TestNode) => void) => {
    const node = await running({ node: plan, config: vfio, resources: [net] });
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    await node.plugin.stop();
    node.kubelet.stop();
    change(node);
    await node.kubelet.start();
    node.startPlugin("-v=5");
    await connected(node, net);
    return node;
  };

  test("a pod whose cached device nodes are another device's now is rejected, until the checkpoint drops it", async () => {
    await using node = await boot(({ root }) => {
      renumberGroup(root, own, "40");
      renumberGroup(root, "0000:3b:01.1", "2");
    });
    expect(listed(node, net)).toEqual(all.slice(0, 3));
    expect(healthy(node, net)).toEqual(["0000:3b:01.1", "0000:3b:01.2"]);
    expect((await stateOf(node)).pools[0]?.devices[0]?.unhealthyReason).toMatch(
      /would be restarted with \/dev\/vfio\/2, .*\/dev\/vfio\/40 now/,
    );
    expect(() => node.kubelet.readmit("pod")).toThrow("no longer healthy");
    // Its owner makes another pod, with which the old one leaves the checkpoint.
    await node.kubelet.allocate(net, ["0000:3b:01.2"], { pod: "next" });
    await node.kubelet.waitForAllocatable(net, 3, 20_000);
  });

  test("a pod whose cached device nodes are the same starts by them", async () => {
    await using node = await boot(({ root }) => renumberGroup(root, "0000:3b:01.1", "41"));
    expect(healthy(node, net)).toEqual(all.slice(0, 3));
    node.kubelet.readmit("pod");
    expect(node.kubelet.free(net)).toEqual(["0000:3b:01.1", "0000:3b:01.2"]);
  });

  test("what the checkpoint names goes where the selectors say, and the files of that time go", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [own], { pod: "pod" });
    node.plugin.kill();
    await node.plugin.ended();
    node.kubelet.stop();
    rebind(node.root, own, "vfio-pci");
    node.configure({ resourceList: [entry("first", { drivers: ["vfio-pci"] }), ...config.resourceList] });
    await node.kubelet.start();
    node.startPlugin("-v=5");
    for (const resource of [net, first]) await connected(node, resource);
    expect(healthy(node, first)).toEqual([own]);
    expect(listed(node, net)).toEqual(all.slice(1));
    expect(node.names(node.deviceInfoFolder)).toEqual([]);
  });
});

test("status shows with its pod what a pod keeps from where the config would have it", async () => {
  await using node = await start();
  await node.kubelet.allocate(net, [own], { pod: "pod" });
  node.configure(renamed);
  await node.kubelet.waitForAllocatable(first, 3);
  const withheld = { device: own, resource: net, pod: "default/pod", kind: "withheld", nextPool: first };
  expect(await stateOf(node)).toMatchObject({
    retentions: [withheld],
    allocated: [{ id: own, resource: net, pod: "default/pod", evidence: "pod-resources" }],
  });
  expect(await status(node)).toMatch(/0000:3b:01\.0 +withheld +intel.com\/net +default\/pod +intel.com\/first/);
  node.configure({ resourceList: [...renamed.resourceList, ...config.resourceList] });
  await node.kubelet.waitFor(
    (kubelet) => kubelet.resource(net).connected && kubelet.resource(net).allocatable === 0,
    "the pool is back, with what its pod has",
  );
  expect((await stateOf(node)).retentions).toEqual([{ ...withheld, kind: "retained" }]);
});

test("the kubelet is queried when something moved, not at every link event", async () => {
  // Nothing is served: all devices that the config selects are allocated under another name.
  await using node = await start();
  await node.kubelet.allocate(net, 4, { pod: "pod" });
  await restart(node, [], renamed);
  expect(listed(node, first)).toEqual([]);
  const before = node.kubelet.count("List");
  for (let events = 0; events < 20; events++) {
    setLink(node.root, "ens1f0", events % 2 === 0 ? "down" : "up");
    await Bun.sleep(120);
  }
  expect(node.kubelet.count("List") - before).toBeLessThanOrEqual(2);
});
