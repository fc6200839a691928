// Figures of ours and of another plugin side by side, in one run: both in namespaces in which the same simulated node is the machine,
// with the same kubelet, the same caller and the same log level.

import { resolve } from "node:path";
import { executable, type Plugin, TestNode } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { settings } from "../build/environment.ts";
import { allocate, type Figures, timed } from "./measure.ts";
import { NodeNamespace } from "./node-namespace.ts";
import { cpuByThread, cpuSince, memoryOf } from "./process.ts";
import { quantile } from "./quantile.ts";
import { nodeOf, type Shape } from "./shapes.ts";
import type { PairedRuns } from "./targets.ts";

/** What is run: an executable, with the variables ("NAME=VALUE") that its image sets. */
interface Program {
  readonly file: string;
  readonly variables: readonly string[];
}

/** How a run is done. */
export interface Plan {
  readonly repeats: number;
  /** How long after the start memory is read and calls begin, in milliseconds. */
  readonly settleMs: number;
  /** For how many seconds idle CPU is measured from the second minute on; 0 for not at all. */
  readonly idleSeconds: number;
}

const patience = { within: 90_000 };

/** A plugin that runs on a node of its own; disposing of it ends it. */
class StartedPlugin implements AsyncDisposable {
  readonly node: TestNode;
  readonly resources: readonly string[];
  readonly plugin: Plugin;
  /** When it was started, by `performance.now()`. */
  readonly started = performance.now();
  readonly #namespace: NodeNamespace;
  readonly #vfs: number;

  private constructor(
    node: TestNode,
    resources: readonly string[],
    vfs: number,
    space: NodeNamespace,
    program: Program,
  ) {
    this.node = node;
    this.resources = resources;
    this.#vfs = vfs;
    this.#namespace = space;
    // The arguments that both have; ours are those of the upstream plugin.
    const args = ["-logtostderr", "-v", "5", "-config-file", space.configFile];
    this.plugin = node.startOther(space.under(program.variables), [program.file, ...args]);
  }

  /** Starts a plugin; namespaces and interfaces are made before. */
  static async on(shape: Shape, program: Program): Promise<StartedPlugin> {
    const { entries, config, resources } = nodeOf(shape);
    const node = new TestNode({ entries, config, mode: "legacy", inMemory: true });
    await node.kubelet.start();
    return new StartedPlugin(node, resources, shape.vfs, await NodeNamespace.of(node), program);
  }

  /** Waits until the kubelet may allocate all devices of all pools. */
  offered(): Promise<void> {
    const { kubelet } = this.node;
    const sum = () => this.resources.reduce((sum, name) => sum + kubelet.resource(name).allocatable, 0);
    return until("all devices are offered", () => sum() === this.#vfs, { ...patience, found: () => this.plugin.log });
  }

  /** Waits until so many milliseconds after the start. */
  settled(milliseconds: number): Promise<void> {
    return Bun.sleep(Math.max(0, this.started + milliseconds - performance.now()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#namespace[Symbol.asyncDispose]();
    await this.node.close();
  }
}

/** Measures a plugin once: its start, its memory at rest, then its calls. */
async function measureProgram(shape: Shape, program: Program, settleMs: number): Promise<Figures> {
  const figures: Record<string, number> = {};
  await using started = await StartedPlugin.on(shape, program);
  const { node, resources, plugin } = started;
  figures["ready ms"] = await timed(() => started.offered());
  await started.settled(settleMs);
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
  const callers = [0, 1, 2, 3];
  const concurrent = await timed(() =>
    Promise.all(callers.map((number) => allocate(node, resources, 1, 500, { number, of: callers.length }))),
  );
  figures["4 callers calls/s"] = 2000 / (concurrent / 1000);
  return figures;
}

/** Measures the CPU time of plugins that do nothing, side by side: from one minute after the last start, for so many seconds. */
async function measureIdle(shape: Shape, programs: readonly Program[], seconds: number): Promise<Figures[]> {
  await using ended = new AsyncDisposableStack();
  const all: StartedPlugin[] = [];
  for (const program of programs) all.push(ended.use(await StartedPlugin.on(shape, program)));
  for (const each of all) await each.offered();
  await all.at(-1)?.settled(60_000);
  const before = all.map(({ plugin }) => cpuByThread(plugin.pid));
  await Bun.sleep(seconds * 1000);
  return all.map(({ plugin }, place) => ({
    "idle CPU ms/min": (cpuSince(plugin.pid, before[place] ?? new Map()) * 60) / seconds,
  }));
}

/** Measures ours and the executable at `peer` in turn, on nodes of these shapes. Needs root. */
export async function measurePaired(shapes: readonly Shape[], peer: string, plan: Plan): Promise<PairedRuns[]> {
  const our: Program = { file: resolve(executable), variables: settings };
  const their: Program = { file: resolve(peer), variables: [] };
  const paired: PairedRuns[] = [];
  for (const shape of shapes) {
    const [ours, other]: [Figures[], Figures[]] = [[], []];
    for (let run = 0; run < plan.repeats; run++) {
      ours.push(await measureProgram(shape, our, plan.settleMs));
      other.push(await measureProgram(shape, their, plan.settleMs));
    }
    if (plan.idleSeconds > 0) {
      const [one, two] = await measureIdle(shape, [our, their], plan.idleSeconds);
      if (one) ours.push(one);
      if (two) other.push(two);
    }
    paired.push({ shape, ours, other });
  }
  return paired;
}
