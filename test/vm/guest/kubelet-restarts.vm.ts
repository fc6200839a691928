// boot: disk=node memory=3072 limit=600
// Kubelet and plugin come and go, alone and together, while a pod holds a device.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import {
  container,
  endContainer,
  findPod,
  freshNode,
  keepPod,
  type Kubelet,
  manifestOf,
  pod,
  podOutput,
  putPod,
  removePod,
  removePods,
  secondOutput,
  startKubelet,
  stay,
  waitForPhase,
} from "./node.ts";
import { allocatedDevices, waitForAllocatable } from "./kubelet-devices.ts";
import { devicePlugins, pluginsRegistry } from "./kubelet-paths.ts";
import { type Entry, startPluginIn, writeConfig, writeConfigFile } from "./plugin.ts";
import { createVfs, pf0, pf1, type Program, waitFor } from "./support.ts";

const config: readonly Entry[] = [{ resourceName: "vf", selectors: [{ rootDevices: [pf0] }] }];

let kubelet: Kubelet | null = null;
let plugin: Program | null = null;
let vfs: string[] = [];
let others: string[] = [];

beforeAll(async () => {
  await freshNode();
  vfs = await createVfs(pf0, 2);
  others = await createVfs(pf1, 2);
  writeConfig(...config);
});

afterAll(async () => {
  await kubelet?.stop();
});

const holder = pod("holder", [container(stay, { "test.io/vf": 1 })]);
const another = (name: string) => pod(name, [container(stay, { "test.io/vf": 1 })]);

/** What must not change while a pod runs: its container, and the device in it */
async function held(): Promise<{ container: string | undefined; devices: unknown }> {
  const { status } = await waitForPhase("holder", "Running");
  return { container: status.containerStatuses?.[0]?.containerID, devices: await allocatedDevices("holder") };
}

async function getsTheOtherDevice(name: string): Promise<void> {
  putPod(another(name));
  await waitForPhase(name, "Running");
  const [mine, its] = [await allocatedDevices("holder"), await allocatedDevices(name)];
  expect([mine, its].flatMap(({ main }) => main?.["test.io/vf"]).toSorted()).toEqual(vfs);
}

describe.each(["watcher", "legacy"] as const)("in %s mode", (mode) => {
  // Each test begins with kubelet and plugin running, and a pod that holds a device.
  beforeEach(async () => {
    if (!kubelet?.program.running()) kubelet = await startKubelet();
    if (!plugin?.running()) plugin = startPluginIn(mode);
    await waitForAllocatable({ "test.io/vf": vfs });
    await keepPod(holder);
  });

  afterEach(() => removePods("holder"));

  afterAll(async () => {
    await removePods();
    await plugin?.stop();
  });

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "a kubelet that ended by %s and is back has all devices, and the pod runs on",
    async (signal) => {
      const before = await held();
      await kubelet?.stop(signal);
      kubelet = await startKubelet();
      await waitForAllocatable({ "test.io/vf": vfs });
      expect(await held()).toEqual(before);
    },
  );

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "a plugin that ended by %s is missed until it is back, and the pod runs on",
    async (signal) => {
      const before = await held();
      await plugin?.stop(signal);
      await waitForAllocatable({});
      plugin = startPluginIn(mode);
      await waitForAllocatable({ "test.io/vf": vfs });
      expect(await held()).toEqual(before);
      await getsTheOtherDevice("next");
    },
  );

  test("a container that restarts after the kubelet did has the device that it had", async () => {
    const script = `env | grep PCIDEVICE_TEST_IO_VF=; echo ready; ${stay}`;
    putPod(pod("restarting", [container(script, { "test.io/vf": 1 })], { restartPolicy: "Always" }));
    const before = await podOutput("restarting");
    await kubelet?.stop();
    kubelet = await startKubelet();
    await endContainer("restarting");
    expect(await secondOutput("restarting")).toBe(before);
  });

  test("both restart, the plugin much later: until then pods are refused, and afterwards served", async () => {
    const before = await held();
    await plugin?.stop();
    await kubelet?.stop();
    kubelet = await startKubelet();
    putPod(another("early"));
    expect((await waitForPhase("early", "Failed")).status.reason).toBe("UnexpectedAdmissionError");
    await waitForAllocatable({});
    expect(await held()).toEqual(before);
    plugin = startPluginIn(mode);
    await waitForAllocatable({ "test.io/vf": vfs });
    expect(await held()).toEqual(before);
    await getsTheOtherDevice("late");
  });

  test("a device whose pod was deleted while the kubelet was down is free again", async () => {
    await kubelet?.stop();
    rmSync(manifestOf("holder"));
    kubelet = await startKubelet();
    await waitForAllocatable({ "test.io/vf": vfs });
    await waitFor("the pod is gone", async () => (await findPod("holder")) === null, 90);
    putPod(pod("both", [container(stay, { "test.io/vf": 2 })]));
    await waitForPhase("both", "Running");
    expect(await allocatedDevices("both")).toEqual({ main: { "test.io/vf": vfs } });
  });

  test("a new plugin that starts before the old one ends takes over", async () => {
    const before = await held();
    const file = "/etc/pcidp-new/config.json";
    writeConfigFile(file, ...config, { resourceName: "more", selectors: [{ rootDevices: [pf1] }] });
    const all = { "test.io/vf": vfs, "test.io/more": others };
    const next = startPluginIn(mode, `--config-file=${file}`);
    try {
      await waitForAllocatable(all);
      expect(await plugin?.stop()).toBe(0);
      const sockets = readdirSync(mode === "watcher" ? pluginsRegistry : devicePlugins);
      expect(sockets.filter((name) => name.startsWith("test.io_")).toSorted()).toEqual([
        "test.io_more.sock",
        "test.io_vf.sock",
      ]);
      // While the kubelet goes over to the new one it may refuse a pod; a controller would try again, too.
      const served = async () => {
        putPod(pod("another", [container(stay, { "test.io/vf": 1, "test.io/more": 2 })]));
        if ((await waitForPhase("another", "Running", "Failed")).status.phase === "Running") return true;
        await removePod("another");
        return false;
      };
      await waitFor("a pod is served by the new plugin", served, 60);
      await kubelet?.stop();
      kubelet = await startKubelet();
      await waitForAllocatable(all);
      expect(await held()).toEqual(before);
    } finally {
      if (next.running()) await next.stop();
    }
  });
});
