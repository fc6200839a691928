// How much memory does the plugin's process have?

import { readFileSync } from "node:fs";
import type { TestNode } from "./plugin.ts";

/** Within so many milliseconds an idle plugin has released what is worth it. */
const restLimit = 25_000;

/** What is resident now, in MiB. */
export const residentMemory = ({ plugin }: TestNode): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${plugin.pid}/status`, "utf8"))?.[1]) / 1024;

/**
 * What stays resident, in MiB, once the plugin is idle: between releases garbage grows as long as it is busy, so that samples of a busy
 * plugin say when it was idle last. The plugin must log at level debug.
 */
export async function restingMemory(node: TestNode): Promise<number> {
  const from = node.plugin.lines.length;
  const isReleased = () => node.plugin.lines.slice(from).some((line) => line.includes("memory released"));
  const end = performance.now() + restLimit;
  while (!isReleased() && performance.now() < end) await Bun.sleep(200);
  return residentMemory(node);
}
