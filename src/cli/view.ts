// What do the commands look at? The config file, the node, and the pools that both make, once.

import { readConfigFile } from "../config/file.ts";
import type { Loaded, LoadOptions } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { oneLine } from "../text.ts";
import type { Device } from "../host/device.ts";
import { scanNode } from "../host/scan.ts";
import { kubeletPaths, socketNameLimit } from "../kubelet/kubelet-paths.ts";
import { optionalFactsOf } from "../pools/optional-facts.ts";
import { assignPools } from "../pools/assign.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { poolsOf, withoutValues } from "../telemetry/node-view.ts";
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

/** A node and its pools: as the running plugin has them, or, where none answers, by a scan without what one remembers. */
export interface View {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
}

/**
 * The node and its pools. The running plugin is asked first: it knows exclusions that outlast their reason, and what pods have. Its pools are shown
 * where it runs this config; else what this config would make of its devices. Notes, and what could not be read, are printed.
 */
export async function look(line: CommandLine, specs: readonly PoolSpec[], { err }: Output): Promise<View> {
  const { root } = pathsOf(line);
  const counting = specs.map((spec) => ({ ...spec, linkHealth: spec.linkHealth && line.options["link-health"] }));
  const running = await askNode(line);
  if (typeof running !== "string") {
    const pools = poolsOf(running);
    const comparable = (spec: PoolSpec) => ({ ...withoutValues(spec), linkHealth: true });
    const isSame = Bun.deepEquals(
      specs.map(comparable),
      pools.map(({ spec }) => comparable(spec)),
    );
    if (isSame && !line.given.has("link-health")) return { devices: running.devices, pools };
    if (!isSame) err("note: the running plugin has another config; pools are shown as this config would make them\n");
    return { devices: running.devices, pools: assignPools(counting, running.devices) };
  }
  // Below another root nobody expects a plugin.
  if (root === "")
    err(`note: ${oneLine(running)}; this is a scan of the node, without what a running plugin remembers\n`);
  const { devices, troubles } = await scanNode(root, optionalFactsOf(specs), null);
  for (const { message } of troubles) err(`warning: ${oneLine(message)}\n`);
  return { devices, pools: assignPools(counting, devices) };
}
