// boot: disk=node memory=3072 limit=400
// The node and the config change under the plugin while a pod has a VF, and the VF's interface in its network.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import {
  container,
  freshNode,
  keepPod,
  type Kubelet,
  pod,
  putPod,
  removePod,
  removePods,
  startKubelet,
  stay,
  waitForPhase,
} from "./node.ts";
import { allocatedDevices, waitForAllocatable } from "./kubelet-devices.ts";
import { pluginsRegistry } from "./kubelet-paths.ts";
import { type Entry, startPluginIn, writeConfig } from "./plugin.ts";
import { bind, bindDefault, createVfs, driverOf, netdevsOf, pf0, pf1, type Program, sh, waitFor } from "./support.ts";

let kubelet: Kubelet;
let plugin: Program | null = null;
let near: string[] = [];
let far: string[] = [];

const entries: readonly [Entry, Entry] = [
  { resourceName: "near", selectors: [{ pfNames: ["pf0"] }] },
  { resourceName: "far", selectors: [{ pfNames: ["pf1"], linkTypes: ["ether"] }] },
];

const holder = pod("holder", [container(stay, { "test.io/far": 1 })], { hostNetwork: false });

beforeAll(async () => {
  await freshNode();
  near = await createVfs(pf0, 2);
  far = await createVfs(pf1, 3);
  kubelet = await startKubelet();
});

afterAll(async () => {
  await kubelet?.stop();
});

/** The pod's device; throws unless it runs and has the interface. */
async function heldDevice(): Promise<string> {
  await waitForPhase("holder", "Running");
  const { main } = await allocatedDevices("holder");
  const [device = ""] = main?.["test.io/far"] ?? [];
  expect(far).toContain(device);
  expect(netdevsOf(device)).toEqual([]);
  return device;
}

describe.each(["watcher", "legacy"] as const)("in %s mode", (mode) => {
  // Each test begins with all devices allocatable, and a pod that has one.
  beforeEach(async () => {
    writeConfig(...entries);
    if (!plugin?.running()) plugin = startPluginIn(mode);
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
    await keepPod(holder);
  });

  afterEach(() => removePods("holder"));

  afterAll(async () => {
    await plugin?.stop();
  });

  test("a PF that goes down makes its VFs unavailable until it is up again, and the pod with one runs on", async () => {
    const held = await heldDevice();
    try {
      await sh("ip link set pf1 down");
      await waitForAllocatable({ "test.io/near": near });
      expect(await heldDevice()).toBe(held);
    } finally {
      await sh("ip link set pf1 up");
    }
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
    expect(await heldDevice()).toBe(held);
  });

  test("devices are unavailable one by one, and back one by one, as they lose and get their driver", async () => {
    const [first = "", second = "", ...rest] = near;
    try {
      await bind(first, null);
      await waitForAllocatable({ "test.io/near": [second, ...rest], "test.io/far": far });
      await bind(second, null);
      await waitForAllocatable({ "test.io/near": rest, "test.io/far": far });
      await bindDefault(second);
      await waitForAllocatable({ "test.io/near": [second, ...rest], "test.io/far": far });
    } finally {
      for (const vf of near) if (driverOf(vf) === null) await bindDefault(vf);
    }
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
  });

  test("a device in a pod is offered by no other pool, whatever the config says", async () => {
    const held = await heldDevice();
    const free = far.filter((vf) => vf !== held);
    writeConfig({ resourceName: "taker", selectors: [{ rootDevices: [pf1] }] }, ...entries);
    await waitForAllocatable({ "test.io/near": near, "test.io/taker": free });
    // Nor does its own pool hand it out again: it is Unhealthy there until the pod ends.
    const kept = { "test.io/near": near, "test.io/taker": free };
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await plugin?.stop(signal);
      await waitForAllocatable({});
      plugin = startPluginIn(mode);
      await waitForAllocatable(kept);
    }
    expect(await heldDevice()).toBe(held);
    // The checkpoint has the pod until the kubelet allocates again; its cgroup is gone.
    await removePod("holder");
    await waitFor("the interface is back", () => netdevsOf(held)[0]);
    await waitForAllocatable({ "test.io/near": near, "test.io/taker": far });
  });

  if (mode === "legacy") return;

  test("VFs are removed and made under a running plugin, and a pod gets a new one", async () => {
    await createVfs(pf0, 0);
    await waitForAllocatable({ "test.io/far": far });
    near = await createVfs(pf0, 3);
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
    putPod(pod("newcomer", [container(stay, { "test.io/near": 3 })]));
    await waitForPhase("newcomer", "Running");
    expect(await allocatedDevices("newcomer")).toEqual({ main: { "test.io/near": near } });
  });

  test("a pool that leaves the config is gone, its pod runs on, and it can come back", async () => {
    const held = await heldDevice();
    writeConfig(entries[0]);
    await waitForAllocatable({ "test.io/near": near });
    expect(readdirSync(pluginsRegistry).filter((name) => name.endsWith(".sock"))).toEqual(["test.io_near.sock"]);
    expect(await heldDevice()).toBe(held);
    writeConfig(...entries);
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
    expect(await heldDevice()).toBe(held);
  });

  test("a config with mistakes changes nothing but the log, which lists them all", async () => {
    const held = await heldDevice();
    const log = plugin?.output() ?? "";
    writeConfig({ resourceName: "a b", selectors: [{ pfNames: ["pf0"] }] }, { resourceName: "far", selectors: "pf1" });
    const added = () => plugin?.output().slice(log.length) ?? "";
    await waitFor("the config is refused", () => added().includes("the previous config stays active"));
    expect(added()).toMatch(/ERROR.*config\.json.*resourceList\[0\]\.resourceName/);
    expect(added()).toMatch(/ERROR.*config\.json.*resourceList\[1\]\.selectors/);
    await waitForAllocatable({ "test.io/near": near, "test.io/far": far });
    putPod(pod("served", [container(stay, { "test.io/far": 2 })]));
    await waitForPhase("served", "Running");
    expect(await allocatedDevices("served")).toEqual({ main: { "test.io/far": far.filter((vf) => vf !== held) } });
  });
});
