// Figures of ours and of another plugin beside each other, in one run: the same node, the same kubelet, the same caller. The other one
// reads /sys and asks the kernel itself, so it runs in namespaces of its own in which the node's tree is /sys.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { readFacts } from "../../test/support/node-changes.ts";
import { TestNode } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { settings } from "../build/environment.ts";
import { allocate, type Figures, quantile, timed } from "./measure.ts";
import { cpuByThread, cpuSince, memoryOf } from "./process.ts";
import { nameOf, nodeOf, type Shape } from "./shapes.ts";
import { shown, table } from "./table.ts";

/** How much of the other's figure ours may be; at least that much with `atLeast`. */
interface Target {
  readonly figure: string;
  readonly times: number;
  readonly atLeast?: true;
}

const targets: readonly Target[] = [
  { figure: "ready ms", times: 1.1 },
  { figure: "first 200 p99 µs", times: 3 },
  { figure: "Allocate 1 p50 µs", times: 1 },
  { figure: "Allocate 1 p99 µs", times: 1.2 },
  { figure: "Allocate 1 CPU µs", times: 0.9 },
  { figure: "Allocate 8 p50 µs", times: 1 },
  { figure: "Allocate 8 p99 µs", times: 1.2 },
  { figure: "Allocate 8 CPU µs", times: 0.9 },
  { figure: "4 callers calls/s", times: 0.8, atLeast: true },
  { figure: "idle PSS MiB", times: 1 },
  { figure: "idle private MiB", times: 1.6 },
];

/** The target of a figure; a pool's start costs the upstream plugin all devices again, so ours must be far ahead with many. */
const timesOf = ({ figure, times }: Target, { pools }: Shape): number =>
  figure === "ready ms" && pools >= 16 ? 1 / 50 : times;

const patience = { within: 90_000 };

/** When idle memory is read, in milliseconds after the start. */
const settled = 30_000;

/** A script that runs its arguments with the tree of a node as /sys and its kubelet's folder in place; needs root, unshare and ip. */
function namespace({ root, kubelet }: TestNode): string {
  const links = readFacts(root).links.filter(({ name }) => name !== "lo");
  const commands = links.flatMap(({ name }, index) => [
    `link add ${name} type veth peer name peer${index}`,
    `link set peer${index} up`,
    `link set ${name} up`,
  ]);
  writeFileSync(`${root}/links`, `${commands.join("\n")}\n`);
  mkdirSync("/var/lib/kubelet", { recursive: true });
  return [
    "set -eu",
    "mount --make-rprivate /",
    `ip -batch ${root}/links`,
    `mount --bind ${root}/sys /sys`,
    `mount --bind ${kubelet.root} /var/lib/kubelet`,
    'exec "$@"',
  ].join("\n");
}

/** Measures a plugin on a node of a shape: ours, or the executable at `peer`. */
export async function measurePlugin(shape: Shape, peer: string | null): Promise<Figures> {
  const figures: Record<string, number> = {};
  const { entries, config, resources } = nodeOf(shape);
  await using node = new TestNode({ entries, config, mode: "legacy", inMemory: true });
  const { kubelet } = node;
  const offered = () => resources.reduce((sum, name) => sum + kubelet.resource(name).allocatable, 0);
  await kubelet.start();
  const started = performance.now();
  const start = () =>
    peer === null
      ? node.startPluginUnder(["env", ...settings], "-v=5", `--config-file=${node.configFile}`)
      : node.startOther(
          ["unshare", "-m", "-n", "sh", "-c", namespace(node), "sh"],
          [peer, "-logtostderr", "-v", "5", "-config-file", node.configFile],
        );
  const plugin = start();
  figures["ready ms"] = await timed(() =>
    until("all devices are offered", () => offered() === shape.vfs, { ...patience, found: () => plugin.log }),
  );
  await Bun.sleep(Math.max(0, started + settled - performance.now()));
  const { pss, private: own } = memoryOf(plugin.pid);
  figures["idle PSS MiB"] = pss;
  figures["idle private MiB"] = own;
  figures["first 200 p99 µs"] = quantile(await allocate(node, resources, 1, 200), 0.99) * 1000;
  for (const count of [1, 8].filter((count) => count * shape.pools <= shape.vfs)) {
    const before = cpuByThread(plugin.pid);
    const calls = count === 1 ? 2000 : 1000;
    const times = await allocate(node, resources, count, calls);
    figures[`Allocate ${count} p50 µs`] = quantile(times, 0.5) * 1000;
    figures[`Allocate ${count} p99 µs`] = quantile(times, 0.99) * 1000;
    figures[`Allocate ${count} CPU µs`] = (cpuSince(plugin.pid, before) * 1000) / calls;
  }
  const concurrent = await timed(() =>
    Promise.all(Array.from({ length: 4 }, (_, caller) => allocate(node, resources, 1, 500, caller))),
  );
  figures["4 callers calls/s"] = 2000 / (concurrent / 1000);
  return figures;
}

/** Measures ours and the other one in turn, so many times, and gives the medians as a table with the targets. */
export async function pairedTable(shapes: readonly Shape[], peer: string, repeats: number): Promise<string> {
  if (!existsSync(peer)) throw new Error(`${peer} is not there`);
  const rows: string[][] = [];
  for (const shape of shapes) {
    const [ours, theirs]: [Figures[], Figures[]] = [[], []];
    for (let run = 0; run < repeats; run++) {
      ours.push(await measurePlugin(shape, null));
      theirs.push(await measurePlugin(shape, peer));
    }
    const median = (runs: readonly Figures[], figure: string) =>
      quantile(
        runs.map((run) => run[figure] ?? Number.NaN),
        0.5,
      );
    for (const target of targets) {
      const [one, other] = [median(ours, target.figure), median(theirs, target.figure)];
      const [ratio, times] = [one / other, timesOf(target, shape)];
      const isMet = target.atLeast ? ratio >= times : ratio <= times;
      const bound = `${target.atLeast ? "at least" : "at most"} ${shown(times)}`;
      rows.push([nameOf(shape), target.figure, shown(other), shown(one), shown(ratio), bound, isMet ? "yes" : "no"]);
    }
  }
  return table(["VFs/pools", "figure", "other", "ours", "times", "target", "met"], rows);
}
