// Does the executable keep the protocol of systemd's service notifications (sd_notify(3))?

import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { setLink } from "../support/live.ts";
import { NotifySocket } from "../support/notify-socket.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";

const config = { resourceList: [{ resourceName: "net", selectors: { pfNames: ["ens1f0#0-1"] } }] };
const more = { resourceName: "more", selectors: { pfNames: ["ens1f0"] } };

/** A plugin that systemd seems to have started, with a watchdog of this many milliseconds. */
function startUnder(manager: NotifySocket, node: TestNode, watchdog: number): void {
  node.startPluginUnder(["env", `NOTIFY_SOCKET=${manager.name}`, `WATCHDOG_USEC=${watchdog * 1000}`]);
}

test("systemd is notified of readiness, health, reloads, a rejected config, the watchdog and the end", async () => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config });
  using manager = new NotifySocket(`${node.root}/notify`);
  await node.kubelet.start();
  startUnder(manager, node, 100);
  await manager.waitFor(/^READY=1$/);
  await manager.waitFor(/^STATUS=1 pool, 2 devices$/);
  await manager.waitFor(/^WATCHDOG=1$/, 3);
  await node.listed("intel.com/net");
  setLink(node.root, "ens1f0", "down");
  await manager.waitFor(/^STATUS=1 pool, 2 devices, 2 of them unhealthy$/);

  node.configure({ resourceList: [...config.resourceList, more] });
  node.plugin.signal("SIGHUP");
  await manager.waitFor(/^READY=1$/, 2);
  const lines = manager.lines();
  expect(lines.findIndex((line) => line === "RELOADING=1")).toBeGreaterThan(0);
  expect(lines.findLastIndex((line) => line === "READY=1")).toBeGreaterThan(
    lines.indexOf("STATUS=2 pools, 4 devices, 4 of them unhealthy"),
  );

  node.configure("no JSON");
  await manager.waitFor(/^STATUS=2 pools, .*; config rejected; the previous config stays active$/);
  expect(await node.plugin.stop()).toBe(0);
  await manager.waitFor(/^STOPPING=1$/);
  expect(manager.lines().at(-1)).toBe("STATUS=ending");
});

/** Starts the plugin on a node that has none of the kubelet's folders, and waits until it says so. */
async function startWithoutKubelet(manager: NotifySocket, node: TestNode): Promise<void> {
  rmSync(node.kubelet.registry, { recursive: true, force: true });
  rmSync(node.kubelet.devicePlugins, { recursive: true, force: true });
  startUnder(manager, node, 60_000);
  await manager.waitFor(/^STATUS=waiting for the kubelet$/);
}

test("a node whose kubelet has never run is ready as far as it goes, so that a kubelet ordered after the plugin is started", async () => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config });
  using manager = new NotifySocket(`${node.root}/notify`);
  await startWithoutKubelet(manager, node);
  expect(manager.lines()[0]).toBe("READY=1");
  await node.kubelet.start();
  await manager.waitFor(/^STATUS=1 pool, 2 devices$/);
  expect(manager.lines().filter((line) => line === "READY=1")).toHaveLength(1);
});

test("a reload while the kubelet's folders are missing is answered, and takes the config up", async () => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config });
  using manager = new NotifySocket(`${node.root}/notify`);
  await startWithoutKubelet(manager, node);
  node.configure({ resourceList: [more] });
  node.plugin.signal("SIGHUP");
  await manager.waitFor(/^READY=1$/, 2);
  expect(await node.plugin.waitForLine(/config loaded .*pools=1/)).toBeString();
  await node.kubelet.start();
  await manager.waitFor(/^STATUS=1 pool, 4 devices$/);
  await node.listed("intel.com/more");
});

test("a storm of SIGHUPs is a few reloads", async () => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config });
  using manager = new NotifySocket(`${node.root}/notify`);
  await node.kubelet.start();
  startUnder(manager, node, 60_000);
  await node.listed("intel.com/net");
  for (let signal = 0; signal < 200; signal++) node.plugin.signal("SIGHUP");
  await manager.waitFor(/^RELOADING=1$/);
  await until("every reload has ended", () => {
    const last = manager.lines().findLast((line) => /^(READY|RELOADING)=1$/.test(line));
    return last === "READY=1";
  });
  const reloads = manager.lines().filter((line) => line === "RELOADING=1").length;
  expect(reloads).toBeLessThan(20);
  expect(node.plugin.lines.filter((line) => line.includes("reload requested")).length).toBeLessThan(20);
});
