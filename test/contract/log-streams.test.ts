// What if the log cannot be read? The plugin is there for pods: a broken pipe, a closed stream or a full disk costs lines, and
// nothing else.

import { expect, setDefaultTimeout, test } from "bun:test";
import { setLink } from "../support/live.ts";
import { executable, host, runCommand, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { healthy, listed } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(45_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: { drivers: ["iavf"] } }] };
const shell = (script: string): string[] => ["sh", "-c", script];
const isAlone = Bun.spawnSync(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).success;

/** Waits until the kubelet has the pool's list; there is no log to wait for. */
const offered = (node: TestNode) =>
  node.kubelet.waitFor((kubelet) => kubelet.free(net).length > 0, "the pool is offered", 20_000);

test.concurrent.each([
  ["its pipe has no reader any more", 'mkfifo "$D/fifo"; head -c 1 <"$D/fifo" >"$D/first" & exec "$@" 2>"$D/fifo"'],
  ["it is closed", 'exec "$@" 2>&-'],
  ["all streams are closed", 'exec "$@" <&- >&- 2>&-'],
  ["the disk behind it is full", 'exec "$@" 2>/dev/full'],
  ["its reader is stopped", 'mkfifo "$D/fifo"; exec 3<>"$D/fifo"; head -c 65536 /dev/zero >&3; exec "$@" 2>"$D/fifo"'],
])("a plugin goes on, and ends in order, when of standard error %s", async (_, script) => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config });
  await node.kubelet.start();
  const plugin = node.startPluginUnder([...shell(`D="$0"; ${script}`), node.root], "-v=5");
  await offered(node);
  for (let flaps = 0; flaps < 3; flaps++) {
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitFor(() => healthy(node, net).length === 0, "the link's loss is reported");
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitFor(() => healthy(node, net).length === listed(node, net).length, "so is its return");
  }
  await node.kubelet.allocate(net, 1);
  expect(await plugin.stop()).toBe(0);
  expect(node.pluginSockets()).toEqual([]);
});

test("a rejected config has its exit status also when the reason cannot be printed", () => {
  const { exitCode } = Bun.spawnSync([
    ...shell('exec "$@" 2>/dev/full'),
    "sh",
    executable,
    "--config-file=/proc/self/status",
  ]);
  expect(exitCode).toBe(2);
  expect(runCommand(["--config-file=/proc/self/status"]).status).toBe(2);
});

const needs = isAlone ? "" : " (skipped: it needs root, and mount namespaces)";

test.skipIf(!isAlone)(
  `a log folder on a full disk costs the files, once said, and not the plugin${needs}`,
  async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.kubelet.start();
    const folder = `${node.root}/var/log/sriovdp`;
    Bun.spawnSync(["mkdir", "-p", folder]);
    const full = 'mount -t tmpfs -o size=64k tmpfs "$0" && { cat /dev/zero >"$0/filler" 2>/dev/null; exec "$@"; }';
    const plugin = node.startPluginUnder(["unshare", "-m", ...shell(full), folder], "-v=5", `--log_dir=${folder}`);
    await offered(node);
    await plugin.waitForLine(/ WARN .*cannot write to the log folder; logging to standard error .*(ENOSPC|no space)/i);
    const from = plugin.lines.length;
    setLink(node.root, "ens1f0", "down");
    await plugin.waitForLine(/ WARN .*devices are Unhealthy/, from);
    await until("the list says so too", () => healthy(node, net).length === 0);
    expect(plugin.lines.filter((line) => line.includes("cannot write to the log folder"))).toHaveLength(1);
    expect(await plugin.stop()).toBe(0);
  },
);
