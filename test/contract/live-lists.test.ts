import type { ClientReadableStream } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, readdirSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import type { ListAndWatchResponse } from "../../src/kubelet/api/deviceplugin.ts";
import { type DevicePluginClient, pluginClient } from "../support/grpc.ts";
import { removeFunction, setLink } from "../support/live.ts";
import type { Plugin, TestNode } from "../support/plugin.ts";
import { residentMemory } from "../support/memory.ts";
import { until } from "../support/until.ts";
import { listed, modes, onceRegistered, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(120_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
const start = () => running({ node: "iavf-vfs", config, resources: [net] });
const socketOf = ({ kubelet }: TestNode) => `${kubelet.registry}/intel.com_net.sock`;
const clientOf = (node: TestNode) => pluginClient(socketOf(node));

/** A ListAndWatch stream and the lists that it was sent. */
function listen(client: DevicePluginClient): {
  readonly stream: ClientReadableStream<ListAndWatchResponse>;
  readonly lists: ListAndWatchResponse[];
} {
  const lists: ListAndWatchResponse[] = [];
  const stream = client.listAndWatch({});
  stream.on("data", (list: ListAndWatchResponse) => lists.push(list));
  stream.on("error", () => {});
  return { stream, lists };
}

/** Calls ListAndWatch with a window of no bytes: the plugin may send headers, and never a list. */
function listenWithoutReading(node: TestNode): ClientHttp2Session {
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect({ path: socketOf(node) }),
    settings: { initialWindowSize: 0 },
  });
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": "/v1beta1.DevicePlugin/ListAndWatch",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {});
  stream.end(new Uint8Array(5));
  return session;
}

const openFiles = ({ pid }: Plugin) => readdirSync(`/proc/${pid}/fd`).length;

describe.concurrent("many listeners", () => {
  test("at once all get the same lists, and each only what changed", async () => {
    await using node = await start();
    const clients = Array.from({ length: 8 }, () => clientOf(node));
    try {
      const listeners = clients.flatMap((client) => Array.from({ length: 8 }, () => listen(client)));
      await until("all have a list", () => listeners.every(({ lists }) => lists.length === 1));
      setLink(node.root, "ens1f0", "down");
      await until("all have a second list", () => listeners.every(({ lists }) => lists.length === 2));
      removeFunction(node.root, "0000:3b:01.3");
      await until("all have a third list", () => listeners.every(({ lists }) => lists.length === 3));
      for (const { lists } of listeners) {
        expect(lists.map(({ devices }) => devices.length)).toEqual([4, 4, 3]);
        expect(lists[1]?.devices.every(({ health }) => health === "Unhealthy")).toBeTrue();
      }
      await node.kubelet.waitFor((kubelet) => kubelet.resource(net).lists === 3, "the kubelet has a third list");
      expect(touches(node, net)).toEqual(onceRegistered(3));
    } finally {
      for (const client of clients) client.close();
    }
  });

  test("that come and go 5,000 times leave no memory and no open file behind", async () => {
    await using node = await start();
    // Each round has a connection of its own, as each registration of a kubelet has.
    const files = openFiles(node.plugin);
    const before = residentMemory(node);
    for (let round = 0; round < 100; round++) {
      const client = clientOf(node);
      const listeners = Array.from({ length: 50 }, () => listen(client));
      await until("all have a list", () => listeners.every(({ lists }) => lists.length > 0));
      for (const { stream } of listeners) stream.cancel();
      client.close();
    }
    // Garbage is collected when the plugin is idle, in some seconds.
    let grown = Infinity;
    await until(
      "there is as much memory as before, but for 20 MiB",
      () => (grown = residentMemory(node) - before) < 20,
      { within: 60_000, found: () => `${grown.toFixed(1)} MiB more than ${before.toFixed(1)}` },
    );
    console.log(`memory after 5,000 cancelled streams: ${grown.toFixed(1)} MiB more than ${before.toFixed(1)}`);
    await until("all connections are closed", () => openFiles(node.plugin) <= files);
    // Only the kubelet gets the next list, and gets it once.
    removeFunction(node.root, "0000:3b:01.3");
    await node.kubelet.waitForAllocatable(net, 3);
    expect(touches(node, net)).toEqual(onceRegistered(2));
  });

  test("that stop reading are given up after a while, and the kubelet's own stream is not", async () => {
    await using node = await start();
    const session = listenWithoutReading(node);
    try {
      await node.plugin.waitForLine(/ WARN .*ListAndWatch stream stalled; closing it/);
    } finally {
      session.destroy();
    }
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(net, 0);
    expect(touches(node, net)).toEqual(onceRegistered(2));
  });

  test("that stop reading and are the only one lose their connection", async () => {
    await using node = await start();
    node.kubelet.stop();
    const session = listenWithoutReading(node);
    let closed = false;
    session.on("close", () => (closed = true));
    await until("the connection is cut", () => closed, { within: 30_000, found: () => node.plugin.log });
  });
});

describe("large pools", () => {
  const isSizeWarning = (line: string) => line.includes("more devices than a list can hold");
  const sizes = [
    ["intel.com/small", 1024],
    ["intel.com/large", 2048],
  ] as const;
  let node: TestNode;
  beforeAll(async () => {
    node = await running({
      // The VFs have no netdev, which leaves a smaller tree to write.
      node: { pfs: [{ nic: "x520", name: "ens1f0", vfs: [{ count: 3072 }] }] },
      config: {
        resourceList: [
          { resourceName: "small", selectors: { pfNames: ["ens1f0#0-1023"] } },
          { resourceName: "large", selectors: { pfNames: ["ens1f0#1024-3071"] } },
        ],
      },
      resources: sizes.map(([resource]) => resource),
      inMemory: true,
    });
  }, 60_000);
  afterAll(() => node.close());

  test("of 1,024 and 2,048 devices arrive whole, again and again", async () => {
    const wait = async (available: boolean) => {
      for (const [resource, count] of sizes) await node.kubelet.waitForAllocatable(resource, available ? count : 0);
    };
    await wait(true);
    for (let times = 0; times < 5; times++) {
      setLink(node.root, "ens1f0", "down");
      await wait(false);
      setLink(node.root, "ens1f0", "up");
      await wait(true);
    }
    for (const [resource, count] of sizes) {
      expect(new Set(listed(node, resource)).size).toBe(count);
      expect(touches(node, resource)).toEqual(onceRegistered(11));
    }
    expect(node.plugin.lines.filter(isSizeWarning)).toEqual([]);
  });

  test("beyond what a list can safely hold are offered in part, with an error, and split pools are complete", async () => {
    const config = (split: number) => ({
      resourceList: [
        { resourceName: "other", selectors: { pfNames: [`ens1f0#0-${split - 1}`] } },
        { resourceName: "all", selectors: {} },
      ],
    });
    node.configure(config(4));
    expect(await node.plugin.waitForLine(/more devices than a list can hold/)).toMatch(
      / ERROR .*split it resource=intel.com\/all devices=3068 offered=\d+/,
    );
    await node.kubelet.waitForAllocatable("intel.com/other", 4);
    await until("the large pool has a list", () => listed(node, "intel.com/all").length > 2900);
    const offered = listed(node, "intel.com/all");
    expect(offered.length).toBeLessThan(3068);
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable("intel.com/all", 0);
    // Health does not change a device's position in the list.
    expect(listed(node, "intel.com/all")).toEqual(offered);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitForAllocatable("intel.com/all", offered.length);
    node.configure(config(1024));
    await node.kubelet.waitForAllocatable("intel.com/all", 2048);
    await node.kubelet.waitForAllocatable("intel.com/other", 1024);
    expect(node.plugin.lines.filter(isSizeWarning)).toHaveLength(1);
  });
});

describe.concurrent("a node on which nothing changes", () => {
  /** Everything below a folder, links not followed, with the attributes that change when it is written. */
  const written = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((name) => {
        const { ino, mtimeNs, ctimeNs } = lstatSync(`${folder}/${name}`, { bigint: true });
        return `${name} ${ino} ${mtimeNs} ${ctimeNs}`;
      })
      .toSorted();

  test("is scanned again and again without a log line above debug, a list, or a write", async () => {
    await using node = await running({
      node: "mixed",
      config: {
        resourceList: [
          { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } },
          { resourceName: "net", selectors: { drivers: ["iavf"] } },
          { resourceName: "sf", deviceType: "auxNetDevice", selectors: { auxTypes: ["sf"] } },
        ],
      },
      resources: ["intel.com/dpdk", net, "intel.com/sf"],
      args: ["--resync-interval=1", "--use-cdi"],
    });
    await node.kubelet.allocate(net, 1);
    await node.plugin.waitForLine(/ INFO {2}allocated/);
    await until("the kubelet listens", () => node.plugin.log.match(/kubelet connected/g)?.length === 3);
    await until("all is registered", () => node.plugin.log.match(/registered the pool/g)?.length === 3);
    const files = written(`${node.root}/var`);
    const from = node.plugin.lines.length;
    for (let scans = 0, at = from; scans < 3; scans++) {
      await node.plugin.waitForLine(/scanned the node stale=\S*functions/, at);
      at = node.plugin.lines.length;
    }
    expect(node.plugin.lines.slice(from).filter((line) => !line.includes(" DEBUG "))).toEqual([]);
    expect(written(`${node.root}/var`)).toEqual(files);
    for (const resource of ["intel.com/dpdk", net, "intel.com/sf"]) {
      expect(touches(node, resource)).toEqual(onceRegistered(1));
    }
  });
});

describe.concurrent.each(modes)("16 pools (%s)", (mode) => {
  test("end at SIGTERM with all streams open: status 0, no socket left", async () => {
    const names = Array.from({ length: 16 }, (_, index) => `pool${index}`);
    await using node = await running({
      node: { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 32 }] }] },
      config: {
        resourceList: names.map((resourceName, index) => ({
          resourceName,
          selectors: { pfNames: [`ens1f0#${2 * index}-${2 * index + 1}`] },
        })),
      },
      resources: names.map((name) => `intel.com/${name}`),
      mode,
    });
    expect(node.pluginSockets()).toHaveLength(16);
    expect(await node.plugin.stop()).toBe(0);
    expect(node.pluginSockets()).toEqual([]);
    await node.kubelet.waitFor(
      (kubelet) => names.every((name) => !kubelet.resource(`intel.com/${name}`).connected),
      "all streams end",
    );
  });
});

describe.concurrent("pools that swap their devices", () => {
  const [one, other] = ["intel.com/one", "intel.com/other"] as const;
  const entryOf = (resourceName: string, index: number) => ({
    resourceName,
    selectors: { pfNames: [`ens1f0#${index}`] },
  });
  const configOf = (first: number, second: number) => ({
    resourceList: [entryOf("one", first), entryOf("other", second)],
  });

  /** A node whose kubelet notes each device that is in two of its lists at once. */
  async function swapping(mode: "watcher" | "legacy"): Promise<{ readonly node: TestNode; readonly twice: string[] }> {
    const node = await running({ node: "iavf-vfs", config: configOf(0, 1), resources: [one, other], mode });
    const twice: string[] = [];
    node.kubelet.onList = () => {
      const ids = [one, other].flatMap((resource) => listed(node, resource));
      twice.push(...ids.filter((id, place) => ids.indexOf(id) !== place));
    };
    return { node, twice };
  }
  const isSwapped = (node: TestNode, before: readonly [string, string]) =>
    node.kubelet.waitFor(
      () => listed(node, one).join() === before[1] && listed(node, other).join() === before[0],
      "the devices are swapped",
    );
  const idsOf = (node: TestNode): [string, string] => [listed(node, one).join(), listed(node, other).join()];

  test.each(modes)("are never seen with a device in two lists, also by a kubelet that is slow (%s)", async (mode) => {
    const { node, twice } = await swapping(mode);
    await using _ = node;
    const before = idsOf(node);
    node.kubelet.listDelay = 300;
    node.configure(configOf(1, 0));
    await isSwapped(node, before);
    expect(twice).toEqual([]);
    expect(node.plugin.lines.filter((line) => line.includes("the pool's devices changed"))).toHaveLength(2);
  });

  test("are held up for a second at most by a kubelet that does not read its lists", async () => {
    const { node } = await swapping("watcher");
    await using _ = node;
    const before = idsOf(node);
    node.kubelet.listDelay = 5000;
    const began = performance.now();
    node.configure(configOf(1, 0));
    const from = node.plugin.lines.length;
    await node.plugin.waitForLine(/the pool's devices changed .*intel.com\/other/, from);
    expect(performance.now() - began).toBeLessThan(4000);
    await isSwapped(node, before);
  });

  test("a device that left a pool is refused by it at once", async () => {
    const { node } = await swapping("watcher");
    await using _ = node;
    const before = idsOf(node);
    node.configure(configOf(1, 0));
    await isSwapped(node, before);
    const refusal: unknown = await node.kubelet.callAllocate(one, [[before[0]]]).catch((error: unknown) => error);
    expect(String(refusal)).toContain("is not in pool");
  });
});
