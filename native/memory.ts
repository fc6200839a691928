// Which pages of the executable are in use? Those that are not can be released: they are on disk, and are loaded again when touched.

import { readFileSync, readlinkSync } from "node:fs";
import { adviseUnneeded } from "./libc.ts";

/** A part of the address space, in bytes: from `start` to `end`, of which `resident` are in memory. */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly resident: number;
}

/**
 * The mappings of a file in the text of /proc/PID/smaps that are read-only and unchanged since they were loaded:
 * code and constants. Those with pages of their own, in memory or swapped out, were changed by the loader, and would be lost. A
 * page that is dirty but not anonymous is the file's: an executable that was just installed is not on disk yet (fs/proc/task_mmu.c).
 */
export function unchangedMappings(smaps: string, file: string): Mapping[] {
  const found: Mapping[] = [];
  for (const block of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const [, start, end, permissions, path] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)/.exec(block) ?? [];
    if (start === undefined || end === undefined || path !== file || !/^r-.p$/.test(permissions ?? "")) continue;
    const kilobytes = (field: string) =>
      Number(new RegExp(`^${field}: +(\\d+) kB`, "m").exec(block)?.[1] ?? Number.NaN);
    if (kilobytes("Anonymous") + kilobytes("Swap") === 0)
      found.push({ start: parseInt(start, 16), end: parseInt(end, 16), resident: kilobytes("Rss") * 1024 });
  }
  return found;
}

/** Returns the executable's code and constants to the page cache; the number of bytes that were in memory of them. */
export function releaseExecutable(): number {
  const mappings = unchangedMappings(readFileSync("/proc/self/smaps", "utf8"), readlinkSync("/proc/self/exe"));
  for (const { start, end } of mappings) adviseUnneeded(start, end - start);
  return mappings.reduce((sum, { resident }) => sum + resident, 0);
}
