// Does the plugin run for months? Rounds of random events on a simulated node; after each the kubelet's lists must
// equal the truth within the settle time, and nothing may grow once it is warm.

import { readFileSync } from "node:fs";
import { settings } from "../../scripts/build/environment.ts";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import { buildNode } from "../support/node.ts";
import { runCommand, TestNode } from "../support/plugin.ts";
import { Random } from "../support/random.ts";
import { actions, chooseAction } from "./actions.ts";
import { restingMemory } from "../support/memory.ts";
import { growthOf, type Sample, sample } from "./growth.ts";
import { configText, someConfig } from "./configs.ts";
import { bond, endPod, makeVf, pfs, type World } from "./world.ts";
import { type Truth, Truth as NewTruth } from "./truth.ts";
import { parse } from "yaml";

/** A soak's parameters. */
export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly mode: RegistrationMode;
  readonly cdi: boolean;
  readonly say: (line: string) => void;
}

/** What a soak found; `failures` is by invariant, each with the first findings. */
export interface SoakResult {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly failures: ReadonlyMap<Invariant, readonly string[]>;
}

export const invariants = {
  lists: "after every round the kubelet's lists equal the node's truth within the settle time",
  twice: "no device is offered by two pools at once, or given to two pods",
  files:
    "sockets, device-info files and CDI specs are those of the pools and of what pods hold, and no temporary file is left",
  descriptors: "open files and threads don't grow after warm-up",
  memory: "memory doesn't grow after warm-up",
  log: "the plugin never ended by itself, and its log has no program error",
} as const;

export type Invariant = keyof typeof invariants;

/** The time until lists equal the truth again: registrations that were refused wait, and what pods gave back is checked every 10 s. */
const settleLimit = 45_000;

/** A device may be in two lists for the time in which one stream's next list is held back, and a busy machine's delay. */
const overlapLimit = 1500;

/** The minutes in which growth shows; before, everything is still warming up. */
const shortest = 5;

/** What stays resident may differ so much, in MiB, from one rest to the other: less than 16 MiB more than before is not released. */
const memorySlack = 32;

const descriptorSlack = 6;

/** At which shares of the time the plugin rests, so that what stays resident can be measured: warmed up, and before it is restarted. */
const rests = [0.25, 0.75] as const;

/** Soaks one node. `restarts` come in the last fifth: what grows can be seen only in a process that lives on. */
export async function soak({ seed, minutes, mode, cdi, say }: SoakOptions): Promise<SoakResult> {
  const random = new Random(seed);
  const failures = new Map<Invariant, string[]>();
  const fail = (invariant: Invariant, what: string) => {
    const known = failures.get(invariant) ?? [];
    failures.set(invariant, known);
    if (known.length < 5) known.push(what);
    say(`FAILED ${invariant}: ${what}`);
  };
  await using node = new TestNode({
    entries: buildNode({
      pfs: pfs.map(({ name, address, plan }) => ({ ...plan, name, address, vfs: [] })),
      uppers: [{ name: bond.name, kind: "bond", over: bond.ports }],
    }),
    config: null,
    mode,
    inMemory: true,
  });
  const truth = new NewTruth();
  for (const { name, fabric } of pfs) truth.pfs.set(name, { fabric, link: "up", downOnClose: false, portDown: false });
  truth.config = someConfig(random);
  node.configure(configText(truth.config));
  for (const { name } of pfs) for (let count = 0; count < 6; count++) makeVf({ node, truth, random }, name);
  const args = ["-v=5", "--resync-interval=60", ...(cdi ? ["--use-cdi"] : [])];
  const world: World = {
    node,
    truth,
    random,
    counts: new Map(),
    startPlugin: () => void node.startPluginUnder(["env", ...settings], ...args),
    restarts: false,
    pods: 0,
  };
  await node.kubelet.start();
  world.startPlugin();
  await node.plugin.waitUntilReady();

  const started = performance.now();
  const share = () => (performance.now() - started) / (minutes * 60_000);
  const doubles = watchForDoubles(node, (what) => fail("twice", what));
  const settles: number[] = [];
  const samples: Sample[] = [];
  const rested: number[] = [];
  const actionCounts = new Map<string, number>();
  /** What was done in the last rounds. */
  const latest: string[] = [];
  let round = 0;
  try {
    for (; share() < 1 && failures.size === 0; round++) {
      const here: World = Object.assign(world, { restarts: share() > 0.8 });
      const did: string[] = [];
      for (let events = random.between(1, 5); events > 0; events--) {
        const name = chooseAction(here);
        did.push(name);
        actionCounts.set(name, (actionCounts.get(name) ?? 0) + 1);
        await actions[name].run(here);
        if (random.once(2)) await Bun.sleep(random.below(400));
      }
      const began = performance.now();
      const differences = await settled(node, truth);
      settles.push(performance.now() - began);
      if (differences.length > 0) {
        fail("lists", `round ${round} of seed ${seed}, after ${did.join("; ")}: ${differences.slice(0, 5).join("; ")}`);
      }
      const stray = await settledFiles(node, truth, cdi);
      if (stray.length > 0)
        fail("files", `round ${round} of seed ${seed}, after ${did.join("; ")}: ${stray.join("; ")}`);
      if (!node.plugin.isRunning) fail("log", `the plugin ended: ${node.plugin.log.slice(-2000)}`);
      const errors = node.plugin.lines.filter(isProgramError);
      if (errors.length > 0) fail("log", errors.slice(0, 5).join("\n"));
      latest.push(`round ${round}: ${did.join("; ")}`);
      if (failures.size > 0) {
        const { stdout } = runCommand(["status", "-o", "yaml", "--root", node.root]);
        say([...latest, ...node.plugin.lines.slice(-100), node.kubelet.transcript().slice(-4000), stdout].join("\n"));
      }
      latest.splice(0, latest.length - 5);
      node.plugin.lines.splice(0, Math.max(0, node.plugin.lines.length - 200));
      node.kubelet.events.splice(0);
      if (!here.restarts && failures.size === 0) samples.push(sample(node, round));
      const nextRest = rests[rested.length];
      if (nextRest !== undefined && !here.restarts && share() >= nextRest) rested.push(await restingMemory(node));
      if (round % 50 === 0)
        say(`${mode}: round ${round}, ${(share() * 100).toFixed(0)} %, ${samples.at(-1)?.rss.toFixed(1)} MiB`);
    }
  } catch (error) {
    fail("twice", `round ${round} of seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
  } finally {
    doubles.close();
  }
  const growth = growthOf(samples);
  const isLong = minutes >= shortest;
  if (!isLong) say(`growth is not judged in less than ${shortest} minutes`);
  if (isLong && growth.descriptors > descriptorSlack)
    fail("descriptors", `${growth.descriptors} more than before, those of pools not counted`);
  if (isLong && growth.threads > 2) fail("descriptors", `${growth.threads} threads more than before`);
  const [warm = 0, last = 0] = rested;
  if (isLong && failures.size === 0 && rested.length < rests.length) fail("memory", "the plugin did not rest");
  if (isLong && last - warm > memorySlack)
    fail("memory", `${(last - warm).toFixed(1)} MiB more stay than after warm-up`);
  for (const pod of new Set([...truth.held.values()].map((each) => each.pod))) endPod(node, truth, pod);
  // How long an allocation counts as held though the kubelet does not report it: it may be late.
  await Bun.sleep(11_000);
  const status = await node.plugin.stop();
  if (status !== 0) fail("log", `the exit status at SIGTERM is ${status}`);
  const left = leftovers(node, truth);
  if (left.length > 0) fail("files", `left at the end: ${left.join(", ")}`);
  settles.sort((a, b) => a - b);
  const at = (part: number) =>
    Math.round(settles[Math.min(settles.length - 1, Math.floor(settles.length * part))] ?? 0);
  return {
    failures,
    figures: {
      mode,
      cdi,
      seed,
      minutes: Number(((performance.now() - started) / 60_000).toFixed(1)),
      rounds: round,
      events: Object.fromEntries(actionCounts),
      counts: Object.fromEntries(world.counts),
      settleMilliseconds: { median: at(0.5), p99: at(0.99), most: at(1) },
      memoryMiB: { ...growth.memories, rested: rested.map((each) => Number(each.toFixed(1))) },
      descriptors: { last: samples.at(-1)?.descriptors ?? null, growth: growth.descriptors },
      threads: { last: samples.at(-1)?.threads ?? null, growth: growth.threads },
    },
  };
}

/** The devices of each resource of the kubelet, by its lists. */
function listsOf({ kubelet }: TestNode): Map<string, Map<string, string> | null> {
  return new Map(
    kubelet.resources.map((name) => {
      const { connected, devices } = kubelet.resource(name);
      return [name, connected ? new Map([...devices.values()].map(({ ID, health }) => [ID, health])) : null];
    }),
  );
}

/** What the kubelet has cached answers of, and no running pod holds. */
const cachedIn = ({ kubelet }: TestNode): Set<string> =>
  new Set(kubelet.endedRecords.flatMap(({ resource, ids }) => ids.map((id) => `${resource} ${id}`)));

/** Waits until the lists are right; returns what is wrong at the end of the limit. */
async function settled(node: TestNode, truth: Truth): Promise<string[]> {
  const end = performance.now() + settleLimit;
  for (;;) {
    const differences = truth.differences(listsOf(node), cachedIn(node));
    if (differences.length === 0 || performance.now() > end || !node.plugin.isRunning) return differences;
    await Bun.sleep(10);
  }
}

/** Waits until the files are right; returns what is wrong at the end. */
async function settledFiles(node: TestNode, truth: Truth, cdi: boolean): Promise<string[]> {
  const end = performance.now() + settleLimit;
  for (;;) {
    const stray = strayFiles(node, truth, cdi);
    if (stray.length === 0 || performance.now() > end) return stray;
    await Bun.sleep(20);
  }
}

/** A file that went since its name was read is null. */
function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function strayFiles(node: TestNode, truth: Truth, cdi: boolean): string[] {
  const stray: string[] = [];
  const names = truth.config.map(({ name }) => name);
  const { devicePlugins, registry, mode } = node.kubelet;
  for (const folder of [devicePlugins, registry]) {
    for (const name of node.names(folder)) {
      const pool = /^intel\.com_(.*)\.sock$/.exec(name)?.[1];
      const isOurs = pool !== undefined && names.includes(pool) && (folder === registry) === (mode === "watcher");
      const isKubelets = name === "kubelet.sock" || name === "kubelet_internal_checkpoint";
      if (!isOurs && !isKubelets && name !== ".sriovdp-status.sock") stray.push(`${folder}/${name}`);
    }
  }
  for (const folder of [node.deviceInfoFolder, node.cdiFolder]) {
    stray.push(...node.names(folder).filter((name) => name.endsWith(".tmp")));
  }
  if (!cdi) return stray;
  const described = new Map<string, string>();
  for (const name of node.names(node.cdiFolder)) {
    const text = textOf(`${node.cdiFolder}/${name}`);
    if (text === null) continue;
    for (const device of (parse(text) as { devices: { name: string }[] }).devices) {
      const other = described.get(device.name);
      const held = truth.held.has(device.name);
      if (other !== undefined && !held) stray.push(`${device.name} is in ${other} and ${name}`);
      described.set(device.name, name);
    }
  }
  for (const vf of truth.vfs.values()) {
    const expected = truth.held.get(vf.address)?.resource ?? truth.resourceFor(vf);
    if (
      vf.driver === "vfio-pci" &&
      expected !== null &&
      names.includes(expected.split("/")[1] ?? "") &&
      !described.has(vf.address)
    ) {
      stray.push(`${vf.address} of ${expected} is in no CDI spec`);
    }
  }
  return stray;
}

/**
 * What is left after the plugin ended and no pod has a device. Of a resource that left the config before the plugin's
 * last start it has no record: device-info files of such a one stay, since they could be another program's.
 */
function leftovers(node: TestNode, { config }: Truth): string[] {
  const prefixes = config.map(({ name }) => `intel.com-${name}-`);
  return [
    ...node.pluginSockets(),
    ...node.names(node.deviceInfoFolder).filter((name) => prefixes.some((start) => name.startsWith(start))),
    ...node.names(node.cdiFolder),
  ];
}

/** Checks all the time whether a device is healthy in two lists for longer than two lists can be apart. */
function watchForDoubles(node: TestNode, found: (what: string) => void): { close(): void } {
  const since = new Map<string, number>();
  const timer = setInterval(() => {
    const places = new Map<string, string>();
    const now = performance.now();
    const seen = new Set<string>();
    for (const [resource, devices] of listsOf(node)) {
      for (const [id, health] of devices ?? []) {
        if (health !== "Healthy") continue;
        const other = places.get(id);
        places.set(id, resource);
        if (other === undefined) continue;
        seen.add(id);
        const first = since.get(id) ?? now;
        since.set(id, first);
        if (now - first > overlapLimit)
          found(`${id} is Healthy in ${other} and in ${resource} for ${Math.round(now - first)} ms`);
      }
    }
    for (const id of since.keys()) if (!seen.has(id)) since.delete(id);
  }, 25);
  return { close: () => clearInterval(timer) };
}

const isProgramError = (line: string) =>
  /TypeError|RangeError|ReferenceError|undefined is not|is not a function|\bat .*\(.*:\d+:\d+\)|unhandled/i.test(line);
