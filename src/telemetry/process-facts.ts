// What does the process itself use? Read at a scrape, and at no other time.

import { readdirSync } from "node:fs";

/** What the process uses now. */
export interface ProcessFacts {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly openFiles: number;
}

/** Reads what this process uses now; throws where /proc is not mounted. */
export function processFacts(): ProcessFacts {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    // The listing itself has one open.
    openFiles: readdirSync("/proc/self/fd").length - 1,
  };
}
