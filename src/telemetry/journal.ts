// What happened since the start? Plain counters: the agent counts, status and metrics read.

import type { Problem } from "../config/problem.ts";
import { messageOf } from "../text.ts";
import { brokenLink } from "../pools/health.ts";
import type { Pool } from "../pools/pool.ts";

/** How many values were at most as large as each bound, in the bounds' order; those above all come last. */
export interface Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum: number;
}

/** A histogram without values; its bounds are in ascending order. */
export const histogram = (bounds: readonly number[]): Histogram => ({
  bounds,
  counts: bounds.map(() => 0).concat(0),
  sum: 0,
});

/** Adds a value; costs some comparisons, so that it can be done in every call of Allocate. */
export function observe(into: Histogram, value: number): void {
  const { bounds, counts } = into;
  let bucket = 0;
  while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
  counts[bucket] = (counts[bucket] as number) + 1;
  into.sum += value;
}

/** What happened, since the start. Times of day are milliseconds since 1970, others milliseconds of performance.now(). */
export interface Journal {
  readonly started: number;
  readonly config: {
    generation: number;
    successes: number;
    failures: number;
    last: { readonly at: number; readonly success: boolean; readonly problems: readonly Problem[] } | null;
  };
  readonly scans: {
    count: number;
    failures: number;
    /** Why the last one failed; null when it did not. */
    failure: string | null;
    /** When the one of now began; null between scans. */
    began: number | null;
    last: { readonly at: number; readonly ms: number } | null;
    readonly ms: Histogram;
  };
  /** How long Allocate took, of all pools. */
  readonly allocateMs: Histogram;
  /** How long it took to prepare claims, those included that failed. */
  readonly prepare: { failures: number; readonly ms: Histogram };
}

/** What happened to a pool since it is served. */
export interface PoolCounts {
  /** Calls of Allocate, those that were refused included. */
  calls: number;
  failures: number;
  /** Devices that Allocate handed out. */
  devices: number;
  lastAt: number | null;
  /** Devices that turned Unhealthy, and that turned Healthy again. */
  toUnhealthy: number;
  toHealthy: number;
  /** Links that went away below its devices: a PF counts once, however many of its VFs are in the pool. */
  linkFlaps: number;
}

/** Bounds of the time that Allocate takes, in milliseconds. */
const allocateBounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 100, 1000] as const;

/** Bounds of the time that preparing a claim takes, in milliseconds. */
const prepareBounds = [1, 2.5, 5, 10, 25, 50, 100, 500, 2500, 10_000, 40_000] as const;

/** Bounds of the time that a scan takes, in milliseconds. */
const scanBounds = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000] as const;

/** A journal that starts now. */
export const newJournal = (): Journal => ({
  started: Date.now(),
  config: { generation: 0, successes: 0, failures: 0, last: null },
  scans: { count: 0, failures: 0, failure: null, began: null, last: null, ms: histogram(scanBounds) },
  allocateMs: histogram(allocateBounds),
  prepare: { failures: 0, ms: histogram(prepareBounds) },
});

/** The counts of a pool that is served from now on. */
export const newPoolCounts = (): PoolCounts => ({
  calls: 0,
  failures: 0,
  devices: 0,
  lastAt: null,
  toUnhealthy: 0,
  toHealthy: 0,
  linkFlaps: 0,
});

/** Notes that the config file has changed, and whether it was accepted. */
export function noteConfig({ config }: Journal, success: boolean, problems: readonly Problem[]): void {
  config.last = { at: Date.now(), success, problems };
  if (success) {
    config.generation++;
    config.successes++;
  } else config.failures++;
}

/** Scans the node, and notes how long it took and whether it failed. */
export async function countScan({ scans }: Journal, pass: () => Promise<void>): Promise<void> {
  const began = performance.now();
  scans.began = began;
  scans.count++;
  try {
    await pass();
    scans.failure = null;
  } catch (error) {
    scans.failures++;
    scans.failure = messageOf(error);
    throw error;
  } finally {
    const ms = performance.now() - began;
    scans.began = null;
    scans.last = { at: Date.now(), ms };
    observe(scans.ms, ms);
  }
}

/** Answers a call of Allocate for this many devices, and counts it. */
export function countAllocate<Answer>(
  { allocateMs }: Journal,
  counts: PoolCounts,
  devices: number,
  answer: () => Answer,
): Answer {
  const began = performance.now();
  counts.calls++;
  counts.lastAt = Date.now();
  try {
    const given = answer();
    counts.devices += devices;
    return given;
  } catch (error) {
    counts.failures++;
    throw error;
  } finally {
    observe(allocateMs, performance.now() - began);
  }
}

/** Prepares a claim, and notes how long it took and whether it failed. */
export async function countPrepare<Answer>({ prepare }: Journal, answer: () => Promise<Answer>): Promise<Answer> {
  const began = performance.now();
  try {
    return await answer();
  } catch (error) {
    prepare.failures++;
    throw error;
  } finally {
    observe(prepare.ms, performance.now() - began);
  }
}

/** Counts what changed in the health of a pool's devices. */
export function countChanges(counts: PoolCounts, before: Pool, now: Pool): void {
  const links = new Set<string>();
  for (const [id, { device }] of now.claims) {
    if (!before.claims.has(id)) continue;
    const reason = now.unhealthy.get(id);
    if (before.unhealthy.has(id)) counts.toHealthy += reason === undefined ? 1 : 0;
    else if (reason !== undefined) {
      counts.toUnhealthy++;
      // The reason names the link, so that devices below one link have it in common.
      if (reason === brokenLink(device)) links.add(reason);
    }
  }
  counts.linkFlaps += links.size;
}
