// The publisher's state, for status and metrics. Pure.

import type { ResourceSlice } from "./resource-slice.ts";

/** Whether slices are written, and if not, why. */
export const publisherModes = ["starting", "publishing", "standby", "withdrawn", "closed"] as const;
export type PublisherMode = (typeof publisherModes)[number];

/** How often slices were written since the start. */
export interface WriteCounts {
  create: number;
  update: number;
  delete: number;
  /** Of these, how many restored what another client had changed or deleted. */
  repair: number;
  failed: number;
}

/** The publisher at one moment. */
export interface PublisherState {
  readonly mode: PublisherMode;
  /** The newer instance that it is on standby for; null when it is not. */
  readonly reason: string | null;
  /** Whether the API server has all slices as they should be. */
  readonly isCurrent: boolean;
  /** Writes that are needed and wait: for their interval, or to be tried again. */
  readonly waiting: number;
  /** What the API server has: null before the first list. */
  readonly published: PublishedCounts | null;
  /** Whether the API server keeps taints of devices; null: that was not needed yet. */
  readonly hasTaints: boolean | null;
  /** What does not work now, as a sentence with what to do; null: all works. */
  readonly problem: string | null;
  readonly writes: Readonly<WriteCounts>;
}

/** Numbers of slices, of their devices, and of devices with a taint. */
export interface PublishedCounts {
  readonly slices: number;
  readonly devices: number;
  readonly tainted: number;
}

/** Counts what slices have. */
export function countPublished(slices: readonly ResourceSlice[]): PublishedCounts {
  const devices = slices.flatMap(({ spec }) => spec.devices ?? []);
  return {
    slices: slices.length,
    devices: devices.length,
    tainted: devices.filter(({ taints = [] }) => taints.length > 0).length,
  };
}
