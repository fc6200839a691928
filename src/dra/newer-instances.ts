// Does a newer instance of the plugin publish this node's slices? Then this one is on standby. The newer one may have ended without
// a word, so a standby ends when nothing was seen of it for a while. Pure: a state, and what is seen next. Times are milliseconds.

import { type InstanceStamp, isNewerStamp, stampOf } from "./instance-stamp.ts";
import type { ResourceSlice } from "./resource-slice.ts";

/** For how long after a write of a newer instance nothing is written: at first, and at most. */
export interface StandbyTimes {
  readonly first: number;
  readonly longest: number;
}

/** What was seen of newer instances. */
export interface NewerInstances {
  /** Their slices by UID and version. */
  readonly seen: ReadonlySet<string>;
  /** When their last write was seen; null: never. */
  readonly lastWrite: number | null;
  /** How long the standby lasts after it. */
  readonly standby: number;
  /** The newest of them. */
  readonly newest: InstanceStamp | null;
}

/** Nothing was seen yet. */
export const noNewerInstances = (times: StandbyTimes): NewerInstances => ({
  seen: new Set(),
  lastWrite: null,
  standby: times.first,
  newest: null,
});

/**
 * Takes account of the slices that are there now. `ownWrite` is when this instance last wrote, null when it never did: a newer one
 * that writes after we did is alive and disagrees, and the next standby is twice as long.
 */
export function seeInstances(
  before: NewerInstances,
  found: readonly ResourceSlice[],
  own: { readonly driver: string; readonly stamp: InstanceStamp; readonly lastWrite: number | null },
  now: number,
  times: StandbyTimes,
): NewerInstances {
  const newer = found.flatMap((slice) => {
    const stamp = stampOf(slice, own.driver);
    const { uid = "", resourceVersion = "" } = slice.metadata;
    return stamp && isNewerStamp(stamp, own.stamp) ? [{ stamp, version: `${uid}@${resourceVersion}` }] : [];
  });
  const seen = new Set(newer.map(({ version }) => version));
  const fresh = newer.filter(({ version }) => !before.seen.has(version));
  if (fresh.length === 0) return { ...before, seen };
  const disagrees = before.lastWrite !== null && own.lastWrite !== null && own.lastWrite > before.lastWrite;
  return {
    seen,
    lastWrite: now,
    standby: disagrees ? Math.min(before.standby * 2, times.longest) : before.standby,
    newest: fresh.map(({ stamp }) => stamp).reduce((a, b) => (isNewerStamp(b, a) ? b : a)),
  };
}

/** Until when this instance is on standby; null when it is not. */
export function standbyEnd({ lastWrite, standby }: NewerInstances, now: number): number | null {
  const end = lastWrite === null ? null : lastWrite + standby;
  return end !== null && end > now ? end : null;
}
