// What is resident, and how many files and threads are open, over the rounds of a soak: does it grow?

import { readdirSync, readFileSync } from "node:fs";
import { residentMemory } from "../support/memory.ts";
import type { TestNode } from "../support/plugin.ts";

/** The plugin's process at one quiet moment. */
export interface Sample {
  readonly round: number;
  /** Open listeners and streams, of which each has a descriptor. */
  readonly sockets: number;
  readonly rss: number;
  readonly descriptors: number;
  readonly threads: number;
}

/** The plugin's process as it is now, after a round. */
export function sample(node: TestNode, round: number): Sample {
  const { plugin, kubelet } = node;
  const status = readFileSync(`/proc/${plugin.pid}/status`, "utf8");
  return {
    round,
    sockets:
      node.pluginSockets().filter((name) => name.endsWith(".sock")).length +
      kubelet.resources.filter((name) => kubelet.resource(name).connected).length,
    rss: residentMemory(node),
    descriptors: readdirSync(`/proc/${plugin.pid}/fd`).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1]),
  };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** How much more there is at the end: medians of quarters, descriptors as those beside two a pool. */
export function growthOf(samples: readonly Sample[]) {
  const quarter = (index: number) =>
    samples.slice(Math.floor((samples.length * index) / 4), Math.floor((samples.length * (index + 1)) / 4));
  const of = (value: (each: Sample) => number) => median(quarter(3).map(value)) - median(quarter(1).map(value));
  return {
    descriptors: of(({ descriptors, sockets }) => descriptors - sockets),
    threads: of(({ threads }) => threads),
    memories: {
      first: Number((samples[0]?.rss ?? 0).toFixed(1)),
      second: Number(median(quarter(1).map(({ rss }) => rss)).toFixed(1)),
      last: Number(median(quarter(3).map(({ rss }) => rss)).toFixed(1)),
      most: Number(Math.max(0, ...samples.map(({ rss }) => rss)).toFixed(1)),
    },
  };
}
