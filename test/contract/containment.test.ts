// Where does the plugin write? Only into the kubelet's folders, devinfo/dp, the CDI folder, that of the status socket and that of
// its logs; what was planted there is neither followed nor an obstacle to other pools.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { functionsChanged, setLink } from "../support/live.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { listed, modes } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const other = "intel.com/other";
const config = {
  resourceList: [
    { resourceName: "net", selectors: { drivers: ["vfio-pci"] }, additionalInfo: { "../../x": { "../y": "/etc" } } },
    { resourceName: "other", selectors: { drivers: ["iavf"] } },
  ],
};

/** A node with VFs of both drivers; kubelet and plugin are not started. */
const aNode = (mode: "watcher" | "legacy" = "watcher") => new TestNode({ entries: [...host("mixed")], config, mode });

/** All that a plugin does in its life, from the first start to the end. */
async function live(node: TestNode, under: readonly string[] = []): Promise<void> {
  const args = ["-v=5", "--use-cdi", "--log-dir=sriovdp"];
  await node.kubelet.start();
  node.startPluginUnder(under, ...args);
  await node.listed(net);
  const [id = ""] = listed(node, net);
  await node.kubelet.allocate(net, [id], { pod: "pod" });
  functionsChanged(node.root);
  setLink(node.root, "ens1f0", "down");
  await node.kubelet.restart();
  await node.kubelet.waitFor((kubelet) => kubelet.resource(net).connected, "the kubelet listens again");
  node.configure({ resourceList: [config.resourceList[0]] });
  // By then the kubelet was queried: what it listed once and lists no more is free.
  await node.plugin.waitForLine(/stopped serving the pool/);
  node.kubelet.release("pod");
  await node.plugin.stop();
}

const straceWorks = Bun.which("strace") !== null && Bun.spawnSync(["strace", "-o", "/dev/null", "true"]).success;

/** The calls by which something outside of the process changes, and where in their arguments paths stand. */
const writing =
  "openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat,chmod,fchmodat,chown,lchown,fchownat,truncate,mknod,mknodat,utimensat,bind";

describe("a complete run", () => {
  test.skipIf(!straceWorks)(
    `writes to no other place by any system call${straceWorks ? "" : " (skipped: strace is missing, or not allowed)"}`,
    async () => {
      await using node = aNode();
      const trace = `${node.root}/trace`;
      await live(node, ["strace", "-D", "-f", "-s", "4096", "-o", trace, "-e", `trace=${writing}`]);
      // The tracer is a process of its own, and writes on for a moment.
      await until("the trace is whole", () => readFileSync(trace, "utf8").endsWith("+++ exited with 0 +++\n"));
      const allowed = [
        node.kubelet.devicePlugins,
        node.kubelet.registry,
        `${node.root}/var/run/k8s.cni.cncf.io`,
        node.cdiFolder,
        `${node.root}/run/sriovdp`,
        `${node.root}/var/log/sriovdp`,
      ];
      // Folders above these are made where they are missing.
      const makes = (path: string) => allowed.some((each) => each.startsWith(`${path}/`));
      const lines = readFileSync(trace, "utf8").split("\n");
      const calls = lines.flatMap((line) => {
        const [, name = "", rest = ""] = /^\d+\s+(\w+)\((.*)$/.exec(line) ?? [];
        if (name.startsWith("open") && !/O_(WRONLY|RDWR|CREAT|TRUNC)/.test(rest)) return [];
        if (name === "bind" && !rest.includes("AF_UNIX")) return [];
        const paths = [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, path = ""]) => path);
        return paths.map((path) => ({ name, path }));
      });
      expect(calls.length).toBeGreaterThan(20);
      const unexpected = calls.filter(
        ({ name, path }) =>
          !allowed.some((each) => path === each || path.startsWith(`${each}/`)) &&
          !(/^(mkdir|chmod)/.test(name) && makes(path)) &&
          !["/dev/null", "/proc/self/oom_score_adj"].includes(path),
      );
      expect(unexpected).toEqual([]);
    },
  );

  test("leaves a node without pods as it was, but for folders that were made", async () => {
    await using node = aNode();
    const before = contentOf(node.root);
    await live(node);
    const after = contentOf(node.root);
    const changedByTest =
      /^(netlink\.json|uevent|etc\/pcidp\/.*|var\/log\/sriovdp\/.*|var\/lib\/kubelet\/(device-plugins|pod-resources)\/(kubelet.*))$/;
    const differing = [...new Set([...before.keys(), ...after.keys()])].filter(
      (path) => before.get(path) !== after.get(path) && after.get(path) !== "folder" && !changedByTest.test(path),
    );
    expect(differing).toEqual([]);
  });
});

/** Everything below a folder: what it is, and what a file holds. */
function contentOf(root: string, below = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(`${root}/${below}`, { withFileTypes: true })) {
    const name = `${below}${entry.name}`;
    const path = `${root}/${name}`;
    if (entry.isDirectory()) {
      found.set(name, "folder");
      for (const [inside, what] of contentOf(root, `${name}/`)) found.set(inside, what);
    } else if (entry.isSymbolicLink()) found.set(name, `link to ${readlinkSync(path)}`);
    else
      found.set(
        name,
        entry.isFile() ? `file ${lstatSync(path).mode} ${readFileSync(path, "latin1")}` : "something else",
      );
  }
  return found;
}

describe.concurrent.each(modes)("what is in the place of a pool's socket (%s)", (mode) => {
  const folderOf = (node: TestNode) => (mode === "watcher" ? node.kubelet.registry : node.kubelet.devicePlugins);
  const plants = {
    "a link to another program's file": (path: string, root: string) => {
      writeFileSync(`${root}/victim`, "kept");
      symlinkSync(`${root}/victim`, path);
    },
    "a link to nothing": (path: string, root: string) => symlinkSync(`${root}/new`, path),
    "a file": (path: string) => writeFileSync(path, ""),
    "a FIFO": (path: string) => void Bun.spawnSync(["mkfifo", path]),
  } as const;

  for (const [what, plant] of Object.entries(plants)) {
    test(`is replaced and not followed when it is ${what}`, async () => {
      await using node = aNode(mode);
      mkdirSync(folderOf(node), { recursive: true });
      const path = `${folderOf(node)}/intel.com_net.sock`;
      plant(path, node.root);
      // The kubelet removes sockets only; other files block only the plugin.
      await node.start([net, other]);
      expect(lstatSync(path).isSocket()).toBe(true);
      expect(node.names(node.root)).not.toContain("new");
      if (what.includes("another program")) expect(readFileSync(`${node.root}/victim`, "utf8")).toBe("kept");
    });
  }

  test("blocks only that pool while it is a folder", async () => {
    await using node = aNode(mode);
    const path = `${folderOf(node)}/intel.com_net.sock`;
    mkdirSync(`${path}/inside`, { recursive: true });
    await node.kubelet.start();
    node.startPlugin("-v=5");
    await node.listed(other);
    await node.plugin.waitForLine(/ WARN .*cannot register the pool.*resource=intel\.com\/net .*EISDIR/);
    expect(node.names(path)).toEqual(["inside"]);
    rmSync(path, { recursive: true });
    await node.kubelet.waitFor((kubelet) => kubelet.resource(net).connected, "the pool is registered", 30_000);
    expect(node.names(folderOf(node)).filter((name) => /^\.[0-9a-f]{8}$/.test(name))).toEqual([]);
  });
});
