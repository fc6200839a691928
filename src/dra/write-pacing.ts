// When is a slice written? A device that must not be allocated any more can't wait; one that can be allocated again waits, the longer
// the more its link flaps, since each write goes to the scheduler and all who watch. What others change is restored at once, and
// then ever more slowly. Pure: the pace of each slice is a value. Times are milliseconds of one monotonic clock.

import type { KubeErrorKind } from "../kube/errors.ts";

/** Intervals of writes. */
export interface PacingTimes {
  /** Devices that can be allocated again are collected for so long. */
  readonly window: number;
  /** Two writes of a slice have at least this distance, even for losses. */
  readonly lossGap: number;
  /** How long gains wait after the last write: at first, and at most while losses keep coming. */
  readonly firstInterval: number;
  readonly longestInterval: number;
  /** After so long without a write a loss is the first one again. */
  readonly calm: number;
  /** The wait after the first restoration, and the longest one; after `repairCalm` the next one is the first again. */
  readonly firstRepair: number;
  readonly longestRepair: number;
  readonly repairCalm: number;
  /** The wait after a refusal; after one that only says that the slice has changed meanwhile; and the longest one. */
  readonly firstRetry: number;
  readonly staleRetry: number;
  readonly longestRetry: number;
}

/**
 * Why a slice is written.
 * - `repair`: it was as desired, or was written so, and is no longer: another client changed it.
 * - `loss`: a device must not be allocated any more, or is another one.
 * - `gain`: anything else.
 */
export type WriteReason = "repair" | "loss" | "gain";

/** What is remembered of a slice's writes. */
export interface SlicePace {
  /** What it was last known to be, or written as; null: nothing yet. */
  readonly settled: string | null;
  /** What the API server made of the last write: fields that it drops are not written again. */
  readonly received: string | null;
  /** Since when a write is needed; null: none is. */
  readonly neededSince: number | null;
  readonly lastWrite: number | null;
  /** How long gains wait after the last write. */
  readonly interval: number;
  readonly lastRepair: number | null;
  readonly repairs: number;
  /** When a failed write is tried again; null: the last one did not fail. */
  readonly retryAt: number | null;
  readonly failures: number;
  /** Whether it failed since the API server could not be reached, or did not know us. */
  readonly isOutage: boolean;
}

/** The pace of a slice that was never written. */
export const newPace = ({ firstInterval }: PacingTimes): SlicePace => ({
  settled: null,
  received: null,
  neededSince: null,
  lastWrite: null,
  // The first loss doubles it.
  interval: firstInterval / 2,
  lastRepair: null,
  repairs: 0,
  retryAt: null,
  failures: 0,
  isOutage: false,
});

/** `wait`, doubled for each time after the first, up to `longest`. */
const grown = (wait: number, times: number, longest: number): number => Math.min(longest, wait * 2 ** (times - 1));

/** When a slice that needs a write since now or before may be written. */
export function dueOf(pace: SlicePace, reason: WriteReason, now: number, times: PacingTimes): number {
  const { settled, lastWrite, lastRepair, repairs, interval, retryAt, neededSince } = pace;
  const earliest: Readonly<Record<WriteReason, () => number>> = {
    repair: () => (lastRepair === null ? now : lastRepair + grown(times.firstRepair, repairs, times.longestRepair)),
    loss: () => (lastWrite === null ? now : lastWrite + times.lossGap),
    gain: () =>
      // A new slice does not wait: its devices were debounced by the scan.
      settled === null ? now : Math.max((neededSince ?? now) + times.window, (lastWrite ?? now - interval) + interval),
  };
  return Math.max(earliest[reason](), retryAt ?? 0);
}

/** The pace of a slice that needs no write. */
export const restingPace = (pace: SlicePace): SlicePace => ({
  ...pace,
  neededSince: null,
  retryAt: null,
  failures: 0,
  isOutage: false,
});

/** The pace of a slice that is as desired. */
export const settledPace = (pace: SlicePace, want: string): SlicePace => ({ ...restingPace(pace), settled: want });

/** The pace after a write. `received` is what the API server made of it. */
export function writtenPace(
  pace: SlicePace,
  { want, reason, received }: { readonly want: string; readonly reason: WriteReason; readonly received: string | null },
  now: number,
  times: PacingTimes,
): SlicePace {
  const { lastWrite, lastRepair, repairs, interval } = pace;
  const isFlapping = lastWrite !== null && now - lastWrite < times.calm;
  const isFight = lastRepair !== null && now - lastRepair < times.repairCalm;
  return {
    ...settledPace(pace, want),
    received,
    lastWrite: now,
    ...(reason === "loss" && {
      interval: isFlapping ? Math.min(times.longestInterval, interval * 2) : times.firstInterval,
    }),
    ...(reason === "repair" && { lastRepair: now, repairs: isFight ? repairs + 1 : 1 }),
  };
}

/** Refusals that only say that the slice has changed meanwhile: its event is on the way. */
const staleKinds: ReadonlySet<KubeErrorKind> = new Set(["conflict", "notFound", "alreadyExists"]);

/** Whether a refusal says that the slice is not as it was known. */
export const isStale = (kind: KubeErrorKind): boolean => staleKinds.has(kind);

/** How many of them in a row are a race between clients, and no problem. */
const usualRaces = 4;

/** Whether a failure that many others of its kind preceded is worth a report. */
export const isProblem = (kind: KubeErrorKind, failures: number): boolean => !isStale(kind) || failures > usualRaces;

const outageKinds: ReadonlySet<KubeErrorKind> = new Set(["unavailable", "unauthorized", "untrusted", "unconfigured"]);

/** The pace after a failed write; `retryAfter` is what the server said, and `chance` from 0 to 1 keeps a fleet out of step. */
export function failedPace(
  pace: SlicePace,
  { kind, retryAfter }: { readonly kind: KubeErrorKind; readonly retryAfter: number | null },
  now: number,
  chance: number,
  times: PacingTimes,
): SlicePace {
  const failures = pace.failures + 1;
  const first = isStale(kind) ? times.staleRetry : times.firstRetry;
  const wait = Math.max(grown(first, failures, times.longestRetry), retryAfter ?? 0) * (1 + chance / 4);
  return { ...pace, failures, retryAt: now + wait, isOutage: outageKinds.has(kind) && retryAfter === null };
}

/** The pace once the API server can be reached again. */
export const reachablePace = (pace: SlicePace): SlicePace =>
  pace.isOutage ? { ...pace, retryAt: null, failures: 0, isOutage: false } : pace;
