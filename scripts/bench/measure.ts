// How does the plugin do on one node? Starts the executable on a simulated node with a kubelet played by the test support, and
// gives its figures by name.

import type { ListAndWatchResponse } from "../../src/kubelet/api/deviceplugin.ts";
import { pluginClient } from "../../test/support/grpc.ts";
import type { KubeletDouble } from "../../test/support/kubelet.ts";
import { addVf, removeFunction, setLink } from "../../test/support/live.ts";
import { vfAddress } from "../../test/support/node-entries.ts";
import { executable, TestNode } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { settings } from "../build/environment.ts";
import { Caller } from "./caller.ts";
import { callsOf, cpuByThread, cpuSince, memoryOf, sumOf } from "./process.ts";
import { quantile } from "./quantile.ts";
import { nameOf, nodeOf, pfAddress, pfName, type Shape } from "./shapes.ts";

/** What is measured beside the short figures. */
export interface Wanted {
  /** 10,000 Allocates and 5,000 cancelled streams, and the memory after them. */
  readonly load: boolean;
  /** Seconds of doing nothing; 0 for none. */
  readonly idleSeconds: number;
}

/** Figures by name; the unit is part of the name. */
export type Figures = Readonly<Record<string, number>>;

/** Nothing that is waited for takes so long, on a busy machine either. */
export const patience = { within: 120_000 };

/** Runs something, and gives how long it took in milliseconds. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}

/** Measures one shape; names of figures begin with the shape's. */
export async function measure(shape: Shape, wanted: Wanted): Promise<Figures> {
  const figures: Record<string, number> = {};
  const note = (name: string, value: number) => (figures[`${nameOf(shape)} ${name}`] = value);
  const { entries, config, resources } = nodeOf(shape);
  const [resource = ""] = resources;
  await using node = new TestNode({ entries, config, mode: "legacy", inMemory: true });
  const { kubelet } = node;
  const offered = () => resources.reduce((sum, name) => sum + kubelet.resource(name).allocatable, 0);
  const allOffered = () => until("all devices are offered", () => offered() === shape.vfs, patience);
  const discover = [executable, "discover", "--root", node.root, "--config-file", node.configFile];
  const calls = callsOf(discover, `${node.root}/strace.txt`);

  await kubelet.start();
  note(
    "ready ms",
    await timed(async () => {
      node.startPluginUnder(["env", ...settings], "-v=5", `--config-file=${node.configFile}`);
      await allOffered();
    }),
  );
  const { plugin } = node;
  note("CPU at ready ms", cpuSince(plugin.pid, new Map()));
  await plugin.waitUntilReady();
  if (calls) note("system calls of discover", sumOf(calls));

  if (!wanted.load) {
    await rested(node, 0);
    const memory = memoryOf(plugin.pid);
    note("idle RSS MiB", memory.rss);
    note("idle PSS MiB", memory.pss);
    note("idle private MiB", memory.private);
  }
  if (wanted.idleSeconds > 0) {
    const before = cpuByThread(plugin.pid);
    await Bun.sleep(wanted.idleSeconds * 1000);
    note("idle CPU ms/min", (cpuSince(plugin.pid, before) * 60) / wanted.idleSeconds);
  }
  const scans = [await rescan(node), await rescan(node), await rescan(node)];
  note("scan ms", quantile(scans, 0.5));
  await allocate(node, resources, 1, 200);
  for (const count of [1, 8].filter((count) => count * shape.pools <= shape.vfs)) {
    const before = cpuByThread(plugin.pid);
    const calls = count === 1 ? 2000 : 1000;
    const times = await allocate(node, resources, count, calls);
    note(`Allocate ${count} p50 µs`, quantile(times, 0.5) * 1000);
    note(`Allocate ${count} p99 µs`, quantile(times, 0.99) * 1000);
    note(`Allocate ${count} CPU µs`, (cpuSince(plugin.pid, before) * 1000) / calls);
  }
  const callers = [0, 1, 2, 3];
  const concurrent = await timed(() =>
    Promise.all(callers.map((number) => allocate(node, resources, 1, 500, { number, of: callers.length }))),
  );
  note("4 callers calls/s", 2000 / (concurrent / 1000));

  if (wanted.load) {
    const from = plugin.lines.length;
    note("most RSS under load MiB", await load(node, resource, resources));
    await rested(node, from);
    note("RSS after load MiB", memoryOf(plugin.pid).rss);
  }

  note(
    "link loss ms",
    await timed(() => {
      setLink(node.root, pfName(0), "down");
      return until("VFs are Unhealthy", () => offered() < shape.vfs, patience);
    }),
  );
  setLink(node.root, pfName(0), "up");
  await allOffered();
  const lastVf = vfAddress(pfAddress(0), shape.vfs / shape.pfs - 1);
  removeFunction(node.root, lastVf);
  await until("the VF is gone", () => offered() === shape.vfs - 1, patience);
  note(
    "late VF ms",
    await timed(() => {
      addVf(node.root, pfAddress(0));
      return allOffered();
    }),
  );
  note(
    "kubelet back to registered ms",
    await timed(async () => {
      await kubelet.restart();
      await allOffered();
    }),
  );
  note("SIGTERM to exit ms", await timed(() => plugin.stop()));
  return figures;
}

/** Makes the plugin scan the node again; gives the time that it logs for it, in milliseconds. */
async function rescan({ plugin }: TestNode): Promise<number> {
  const from = plugin.lines.length;
  plugin.signal("SIGHUP");
  const line = await plugin.waitForLine(/ scanned the node stale=\S*config/, from);
  return Number(/ ms=(\d+)/.exec(line)?.[1]);
}

/** Where a pool is called. */
const socketOf = (kubelet: KubeletDouble, resource: string): string =>
  `${kubelet.devicePlugins}/${resource.replace("/", "_")}.sock`;

/** Which of several callers at once this is, from 0. */
interface CallerPlace {
  readonly number: number;
  readonly of: number;
}

/**
 * Allocates so many devices again and again, of all pools in turn; the time of each call, in milliseconds.
 *
 * Callers at once have devices of their own, as pods have: the upstream plugin refuses a device that another call is writing the
 * device-info file of.
 */
export async function allocate(
  { kubelet }: TestNode,
  resources: readonly string[],
  count: number,
  calls: number,
  caller: CallerPlace = { number: 0, of: 1 },
): Promise<number[]> {
  const times: number[] = [];
  const pools = resources.map((name) => ({
    connection: new Caller(socketOf(kubelet, name)),
    ids: [...kubelet.resource(name).devices.keys()].filter((_, place) => place % caller.of === caller.number),
  }));
  for (let call = 0; call < calls; call++) {
    const pool = pools[(caller.number + call) % pools.length];
    if (!pool) throw new Error("there is no pool");
    const { connection, ids } = pool;
    const devices = Array.from({ length: count }, (_, index) => ids[(7 * call + index) % ids.length] ?? "");
    times.push(await connection.allocate(devices));
  }
  for (const { connection } of pools) connection.close();
  return times;
}

/** 10,000 Allocates, and 5,000 streams that are cancelled after their first list; the most memory that was seen, in MiB. */
async function load(node: TestNode, resource: string, resources: readonly string[]): Promise<number> {
  let most = 0;
  for (let round = 0; round < 10; round++) {
    await allocate(node, resources, 1, 1000);
    most = Math.max(most, memoryOf(node.plugin.pid).rss);
  }
  for (let round = 0; round < 100; round++) {
    // As a kubelet: a connection for each registration.
    const client = pluginClient(socketOf(node.kubelet, resource));
    const lists = Array.from({ length: 50 }, () => {
      const stream = client.listAndWatch({});
      stream.on("error", () => {});
      const first = new Promise<ListAndWatchResponse>((resolve) => stream.once("data", resolve));
      return { stream, first };
    });
    await Promise.all(lists.map(({ first }) => first));
    for (const { stream } of lists) stream.cancel();
    client.close();
    most = Math.max(most, memoryOf(node.plugin.pid).rss);
  }
  return most;
}

/** Waits until the plugin has given memory back, after line `from` of its log; a busy machine keeps it from seeing that it is idle. */
export async function rested({ plugin }: TestNode, from: number): Promise<void> {
  const isReleased = () => plugin.lines.slice(from).some((line) => line.includes("memory released"));
  await until("the plugin gives memory back", isReleased, patience);
}
