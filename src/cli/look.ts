// What do the commands look at? The config file, the node, and the pools that both make, once.

import { readConfigFile } from "../config/file.ts";
import type { Loaded, LoadOptions } from "../config/load.ts";
import { formatProblem, oneLine } from "../config/problem.ts";
import type { Device } from "../host/device.ts";
import { lookAtNode } from "../host/look.ts";
import { kubeletPaths, socketNameLimit } from "../kubelet/paths.ts";
import { askedBy } from "../pools/asked.ts";
import { assignPools } from "../pools/assign.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
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

/** A node and its pools as they are now, without what a running plugin remembers. */
export interface View {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
}

/** Looks at the node; what could not be read is printed as warnings. */
export async function look(line: CommandLine, specs: readonly PoolSpec[], { err }: Output): Promise<View> {
  const { devices, troubles } = await lookAtNode(pathsOf(line).root, askedBy(specs), null);
  for (const { message } of troubles) err(`warning: ${oneLine(message)}\n`);
  const counting = specs.map((spec) => ({ ...spec, linkHealth: spec.linkHealth && line.options["link-health"] }));
  return { devices, pools: assignPools(counting, devices) };
}
