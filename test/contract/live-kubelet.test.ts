import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import { removeFunction } from "../support/live.ts";
import type { TestNode } from "../support/plugin.ts";
import { listed, modes, onceRegistered, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const start = (mode: RegistrationMode) =>
  running({
    node: "iavf-vfs",
    config: { resourceList: [{ resourceName: "net", selectors: {} }] },
    resources: [net],
    mode,
  });

/** What must hold after anything that happened to the kubelet: the pool is offered, and changes are reported. */
async function works(node: TestNode): Promise<void> {
  await node.kubelet.waitForAllocatable(net, 4);
  expect(node.plugin.isRunning).toBeTrue();
  expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
  const [id = ""] = listed(node, net);
  const { envs } = await node.kubelet.allocate(net, [id]);
  expect(envs["PCIDEVICE_INTEL_COM_NET"]).toBe(id);
  removeFunction(node.root, "0000:3b:01.3");
  await node.kubelet.waitForAllocatable(net, 3);
}

describe.concurrent.each(modes)("the plugin comes back to its kubelet (%s)", (mode) => {
  const folderOf = ({ kubelet }: TestNode) => (mode === "watcher" ? kubelet.registry : kubelet.devicePlugins);

  test("that was restarted with its whole folder deleted and re-created", async () => {
    await using node = await start(mode);
    node.kubelet.stop();
    rmSync(node.kubelet.root, { recursive: true });
    await node.kubelet.start();
    await works(node);
  });

  test("that was restarted with the folder of the pool's socket deleted and re-created", async () => {
    await using node = await start(mode);
    node.kubelet.stop();
    rmSync(folderOf(node), { recursive: true });
    await node.kubelet.start();
    await works(node);
  });

  test("that was restarted and left all sockets where they were", async () => {
    await using node = await start(mode);
    node.kubelet.wipesSockets = false;
    await node.kubelet.restart();
    await node.kubelet.waitForAllocatable(net, 4);
    expect(node.kubelet.resource(net).registrations).toBeLessThanOrEqual(mode === "watcher" ? 3 : 2);
    await works(node);
  });

  test("that ends streams and never opens them again, without a busy loop", async () => {
    await using node = await start(mode);
    for (let times = 0; times < 2; times++) {
      node.kubelet.breakConnection(net);
      expect(node.kubelet.resource(net)).toMatchObject({ connected: false, allocatable: 0, capacity: 4 });
      await node.kubelet.waitForAllocatable(net, 4);
    }
    await works(node);
    // One for each; the watcher of a busy machine can see one socket come twice.
    expect(node.kubelet.resource(net).registrations).toBeLessThanOrEqual(mode === "watcher" ? 5 : 3);
  });

  test("that was restarted many times in a row", async () => {
    await using node = await start(mode);
    for (let restarts = 0; restarts < 5; restarts++) await node.kubelet.restart();
    await works(node);
  });

  test("that refuses the pool, with growing waits between the tries and one warning per reason", async () => {
    await using node = await start(mode);
    node.kubelet.registration = "refuse";
    node.kubelet.breakConnection(net);
    const at = [performance.now()];
    for (const registrations of [2, 3]) {
      await node.kubelet.waitFor(
        (kubelet) => kubelet.resource(net).registrations >= registrations,
        `registration ${registrations}`,
      );
      at.push(performance.now());
    }
    const [broken = 0, first = 0, second = 0] = at;
    // No upper limits: a busy machine only adds to them. In watcher mode the kubelet retries by itself, sooner than the plugin, and may
    // see one reappearance of a socket as two.
    expect(first - broken).toBeGreaterThan(900);
    if (mode === "legacy") {
      expect(second - first).toBeGreaterThan(1900);
      expect(node.kubelet.resource(net).registrations).toBe(3);
    }
    node.kubelet.registration = "accept";
    await works(node);
    if (mode === "legacy") {
      expect(node.plugin.lines.filter((line) => / WARN .*cannot register/.test(line))).toHaveLength(1);
    }
  });

  test("that does not answer registrations for a while", async () => {
    await using node = await start(mode);
    node.kubelet.registration = "hang";
    node.kubelet.breakConnection(net);
    if (mode === "legacy") {
      await node.plugin.waitForLine(/cannot register the pool; retrying.*DEADLINE_EXCEEDED/);
    }
    node.kubelet.registration = "accept";
    await works(node);
  });

  test("that is away, without futile attempts and without a log line for each", async () => {
    await using node = await start(mode);
    const from = node.plugin.lines.length;
    node.kubelet.stop();
    await node.plugin.waitForLine(/kubelet disconnected/, from);
    if (mode === "legacy") await node.plugin.waitForLine(/waiting for the kubelet's socket/, from);
    // The pool's socket stays in place for the next kubelet.
    expect(node.plugin.lines.slice(from).filter((line) => / (WARN|ERROR) /.test(line))).toEqual([]);
    await node.kubelet.start();
    await works(node);
  });

  test("whose pods are admitted while the stream is late is not registered with twice", async () => {
    await using node = await start(mode);
    node.kubelet.holdsStreams = true;
    await node.kubelet.restart();
    await node.kubelet.waitFor((kubelet) => kubelet.count("GetDevicePluginOptions") >= 2, "a second registration");
    node.kubelet.holdsStreams = false;
    await works(node);
    expect(node.kubelet.resource(net).registrations).toBeLessThanOrEqual(mode === "watcher" ? 3 : 2);
  });
});

test("a kubelet that registers nothing is not called because of the plugin's own scans", async () => {
  await using node = await start("legacy");
  removeFunction(node.root, "0000:3b:01.3");
  await node.kubelet.waitForAllocatable(net, 3);
  expect(touches(node, net)).toEqual(onceRegistered(2));
  expect(node.kubelet.count("Register")).toBe(1);
});
