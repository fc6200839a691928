// What the commands show: the config file, the node, and the pools that follow from both, read once.

import { readConfigFile } from "../config/file.ts";
import type { Loaded, LoadOptions } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { oneLine } from "../text.ts";
import type { Device } from "../host/device.ts";
import { scanNode } from "../host/scan.ts";
import { kubeletPaths, socketNameLimit } from "../kubelet/kubelet-paths.ts";
import { exclusionsOf } from "../pools/device-types.ts";
import { optionalFactsOf } from "../pools/optional-facts.ts";
import { assignPools } from "../pools/assign.ts";
import type { Withheld } from "../pools/explanation.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { type PluginView, poolsOf, withoutValues } from "../telemetry/node-view.ts";
import type { AllocationStatus, FullStatus } from "../telemetry/plugin-status.ts";
import { askNode } from "./plugin-socket.ts";
import type { Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";

/** What the command line says about all entries of the config file. */
export const loadOptionsOf = (line: CommandLine): LoadOptions => ({
  resourcePrefix: line.options["resource-prefix"],
  useCdi: line.options["use-cdi"],
  socketNameLimit: socketNameLimit(kubeletPaths(pathsOf(line).kubeletRoot)),
});

/** Loads the config file and prints its problems. */
export function loadConfigFile(line: CommandLine, { err }: Output): Loaded {
  const { configFile } = pathsOf(line);
  const loaded = readConfigFile(configFile, loadOptionsOf(line));
  for (const problem of loaded.problems) err(`${formatProblem(configFile, problem)}\n`);
  return loaded;
}

/** A node and its pools. */
export interface View {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
  /** What the running plugin says of itself; null for a scan of the command's own, which has no data about pods. */
  readonly status: FullStatus | null;
  /** Devices that are allocated to pods, by id. */
  readonly allocations: ReadonlyMap<string, AllocationStatus>;
  /** Devices that are in no pool while a pod has them, by id; none where the pools are not those that are served. */
  readonly withheld: Withheld;
}

/** Where a device is, and how it is, as `discover` and `explain` print it; `owner` is the pool that has it. */
export function deviceState(device: Device, owner: Pool | undefined, { allocations, withheld }: View) {
  const unhealthyReason = owner?.unhealthy.get(device.id) ?? null;
  return {
    pool: owner?.spec.resource ?? null,
    health: owner ? healthOf(unhealthyReason) : null,
    unhealthyReason,
    /** Sentences. */
    excluded: exclusionsOf(device).map(({ sentence }) => sentence),
    allocation: allocations.get(device.id) ?? null,
    withheld: withheld.has(device.id),
  };
}

/** The health of a device that is in a pool. */
export const healthOf = (unhealthyReason: string | null): "Healthy" | "Unhealthy" =>
  unhealthyReason === null ? "Healthy" : "Unhealthy";

/** Options that name a config other than the running one. */
const namesConfig = ["config-file", "resource-prefix", "use-cdi"] as const;

/** Whether the command line names a config of its own, instead of the running plugin's. */
export const isConfigNamed = ({ given }: CommandLine): boolean => namesConfig.some((name) => given.has(name));

/**
 * The node and its pools as the running plugin has them, or why none answers. Nothing is read from disk, so that it works with a config
 * file that is broken, elsewhere, or not mounted where the command runs.
 */
export async function runningView(line: CommandLine): Promise<View | string> {
  const running = await askNode(line);
  if (typeof running === "string") return running;
  const pools = poolsOf(running);
  if (!line.given.has("link-health")) return viewOf(running, pools, true);
  return viewOf(
    running,
    assignPools(
      counting(
        line,
        pools.map(({ spec }) => spec),
      ),
      running.devices,
    ),
    false,
  );
}

const counting = (line: CommandLine, specs: readonly PoolSpec[]): PoolSpec[] =>
  specs.map((spec) => ({ ...spec, linkHealth: spec.linkHealth && line.options["link-health"] }));

function viewOf({ devices, status }: PluginView, pools: readonly Pool[], areServed: boolean): View {
  const withheld = areServed ? status.retentions.filter(({ kind }) => kind === "withheld") : [];
  return {
    devices,
    pools,
    status,
    allocations: new Map((status.allocated ?? []).map(({ id, ...allocation }) => [id, allocation])),
    withheld: new Map(withheld.map((each) => [each.device, each])),
  };
}

/**
 * The node, and the pools that a config would make of it. The running plugin is queried first: it has exclusions that outlast their reason, and what
 * pods have. Notes, and what could not be read, are printed.
 */
export async function viewNode(line: CommandLine, specs: readonly PoolSpec[], output: Output): Promise<View> {
  const running = await askNode(line);
  if (typeof running === "string") return scan(line, specs, running, output);
  const pools = poolsOf(running);
  const comparable = (spec: PoolSpec) => ({ ...withoutValues(spec), linkHealth: true });
  const isSame = Bun.deepEquals(
    specs.map(comparable),
    pools.map(({ spec }) => comparable(spec)),
  );
  if (isSame && !line.given.has("link-health")) return viewOf(running, pools, true);
  if (!isSame)
    output.err("note: the running plugin has another config; showing the pools that this config would make\n");
  return viewOf(running, assignPools(counting(line, specs), running.devices), false);
}

/** A scan of the command's own, with the pools that a config would make of it; `why` no running plugin answers is a note. */
export async function scan(line: CommandLine, specs: readonly PoolSpec[], why: string, { err }: Output): Promise<View> {
  const { root } = pathsOf(line);
  // Below another root no plugin is expected.
  if (root === "") err(`note: ${oneLine(why)}; this is a scan of the node, without what a running plugin remembers\n`);
  const { devices, problems } = await scanNode(root, optionalFactsOf(specs), null);
  for (const { message } of problems) err(`warning: ${oneLine(message)}\n`);
  const pools = assignPools(counting(line, specs), devices);
  return { devices, pools, status: null, allocations: new Map(), withheld: new Map() };
}
