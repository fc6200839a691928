// What if the machine fails the plugin? A disk that is full or read-only, no descriptor left, a process that was stopped: what
// cannot be done is reported and retried, and everything else goes on.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { addVf, setLink } from "../support/live.ts";
import { executable, host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { healthy, listed } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(45_000);

const net = "intel.com/net";
const other = "intel.com/other";
const config = {
  resourceList: [
    { resourceName: "net", selectors: { drivers: ["vfio-pci"] } },
    { resourceName: "other", selectors: { drivers: ["iavf"] } },
  ],
};
const aNode = () => new TestNode({ entries: host("mixed"), config });

const why = (works: boolean, needs: string) => (works ? "" : ` (skipped: it needs ${needs})`);

const mounts = Bun.spawnSync(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).success;

/** Starts a program that sees a file system of its own at a path, of 64 KiB and full, or read-only. */
const withMount = (path: string, kind: "full" | "read-only") => [
  ...["unshare", "-m", "sh", "-c"],
  kind === "full"
    ? 'mount -t tmpfs -o size=64k tmpfs "$0" && { cat /dev/zero >"$0/filler" 2>/dev/null; exec "$@"; }'
    : 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"',
  path,
];

describe.concurrent.each([
  ["full", /ENOSPC|no space left/i],
  ["read-only", /EROFS|read-only/i],
] as const)("a file system that is %s", (kind, reason) => {
  test.skipIf(!mounts)(
    `fails the pods that need a file, with a message, and no others; and no longer than it lasts${why(mounts, "root, and mount namespaces")}`,
    async () => {
      await using node = aNode();
      await node.kubelet.start();
      const place = `${node.root}/var/run`;
      Bun.spawnSync(["mkdir", "-p", place]);
      const plugin = node.startPluginUnder(withMount(place, kind), "-v=5");
      await node.listed(net, other);
      const [id = ""] = listed(node, net);
      await expect(node.kubelet.allocate(net, [id])).rejects.toThrow(/device-info file can't be written/);
      await expect(node.kubelet.allocate(net, [id])).rejects.toThrow(reason);
      // The lists need no file.
      setLink(node.root, "ens1f0", "down");
      await node.kubelet.waitFor(() => healthy(node, other).length === 0, "devices are Unhealthy");
      setLink(node.root, "ens1f0", "up");
      await node.kubelet.waitFor((kubelet) => kubelet.free(net).length > 0, "devices are Healthy again");
      const inside = `/proc/${plugin.pid}/root${place}`;
      expect(
        readdirSync(inside, { recursive: true, encoding: "utf8" }).filter((name) => /tmp|json/.test(name)),
      ).toEqual([]);
      if (kind === "full") rmSync(`${inside}/filler`);
      else Bun.spawnSync(["nsenter", "-t", String(plugin.pid), "-m", "mount", "-o", "remount,rw", place]);
      await node.kubelet.allocate(net, [id]);
      expect(await plugin.stop()).toBe(0);
    },
  );

  test.skipIf(!mounts)(
    `keeps back the pool whose CDI spec cannot be written, until it can be, and no other${why(mounts, "root, and mount namespaces")}`,
    async () => {
      await using node = aNode();
      await node.kubelet.start();
      Bun.spawnSync(["mkdir", "-p", node.cdiFolder]);
      const plugin = node.startPluginUnder(withMount(node.cdiFolder, kind), "-v=5", "--use-cdi");
      // The VFs of other have no nodes, so no spec.
      await node.listed(other);
      expect(await plugin.waitForLine(/ ERROR .*cannot write the pool's CDI spec/)).toMatch(reason);
      expect(node.kubelet.resources).not.toContain(net);
      // Retries for the same reason are not logged.
      await plugin.waitForLine(/ DEBUG .*cannot write the pool's CDI spec/);
      expect(plugin.lines.filter((line) => /(WARN|ERROR) .*CDI/.test(line))).toHaveLength(1);
      const inside = `/proc/${plugin.pid}/root${node.cdiFolder}`;
      if (kind === "full") rmSync(`${inside}/filler`);
      else Bun.spawnSync(["nsenter", "-t", String(plugin.pid), "-m", "mount", "-o", "remount,rw", node.cdiFolder]);
      await node.kubelet.waitFor((kubelet) => kubelet.resource(net).connected, "the pool is offered", 20_000);
    },
  );
});

const prlimit = Bun.which("prlimit") !== null;

test.skipIf(!prlimit)(
  `a plugin without a descriptor left says so, keeps what it serves, and goes on when there are some${why(prlimit, "prlimit")}`,
  async () => {
    await using node = aNode();
    await node.kubelet.start();
    const plugin = node.startPluginUnder(["prlimit", "--nofile=64:64"], "-v=5");
    await node.listed(net, other);
    const path = `${node.kubelet.registry}/intel.com_net.sock`;
    const sockets: Socket[] = [];
    const descriptors = () => readdirSync(`/proc/${plugin.pid}/fd`).length;
    for (let dialled = 0; dialled < 120; dialled++) {
      const socket = connect({ path });
      socket.on("error", () => {});
      sockets.push(socket);
    }
    await until("there is no descriptor left", () => descriptors() >= 63, { found: () => `${descriptors()}` });
    setLink(node.root, "ens1f0", "down");
    addVf(node.root, "0000:3b:00.0");
    await plugin.waitForLine(/EMFILE|too many open files/i);
    expect(node.kubelet.resource(net).connected).toBe(true);
    for (const socket of sockets) socket.destroy();
    await node.kubelet.waitFor(() => healthy(node, other).length === 0, "the link's loss is in the list", 20_000);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.restart();
    await node.kubelet.waitFor((kubelet) => kubelet.free(net).length > 0, "devices are offered again", 20_000);
    await node.kubelet.allocate(net, 1);
  },
);

test("a plugin that was stopped reports at once what changed meanwhile", async () => {
  await using node = aNode();
  await node.start([net, other]);
  const before = listed(node, other).length;
  node.plugin.signal("SIGSTOP");
  setLink(node.root, "ens1f0", "down");
  addVf(node.root, "0000:3b:00.0");
  await node.kubelet.restart();
  node.plugin.signal("SIGCONT");
  await node.kubelet.waitFor(
    () => listed(node, other).length === before + 1 && healthy(node, other).length === 0,
    "the list is that of now",
    20_000,
  );
});

const becomes = process.getuid?.() === 0 && Bun.which("setpriv") !== null;

test.skipIf(!becomes)(
  `a device whose files may not be read is skipped with its reason, and its neighbors are not${why(becomes, "root, and setpriv")}`,
  async () => {
    await using node = aNode();
    for (const folder of [node.root]) chmodSync(folder, 0o755);
    const copy = `${node.root}/sriovdp`;
    Bun.spawnSync(["cp", executable, copy]);
    const readDevices = () => {
      const { stdout, stderr } = Bun.spawnSync(
        [
          "setpriv",
          "--reuid=65534",
          "--regid=65534",
          "--clear-groups",
          copy,
          "discover",
          "-o",
          "json",
          "--root",
          node.root,
        ],
        { env: {} },
      );
      return { ids: [...stdout.toString().matchAll(/"id": "([^"]+)"/g)].map(([, id]) => id), said: stderr.toString() };
    };
    const { ids } = readDevices();
    const [victim = ""] = ids.filter((id) => id?.startsWith("0000:3b:01"));
    chmodSync(`${node.root}/sys/devices/pci0000:00/${victim}/modalias`, 0);
    const now = readDevices();
    expect(now.ids).toEqual(ids.filter((id) => id !== victim));
    expect(now.said).toMatch(new RegExp(`${victim} is skipped: .*EACCES`));
    expect(existsSync(copy)).toBe(true);
  },
);
