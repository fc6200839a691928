// How long does the publisher wait? All its intervals in one table, in milliseconds. Pure.

import type { WatchTimes } from "../kube/watch.ts";
import { hashOf } from "../pools/names.ts";
import type { StandbyTimes } from "./newer-instances.ts";
import type { PacingTimes } from "./write-pacing.ts";

/** The publisher's intervals. */
export interface PublisherTimes {
  readonly pacing: PacingTimes;
  readonly standby: StandbyTimes;
  /** null: those of every watch. */
  readonly watch: WatchTimes | null;
  /** Where a node has no slice yet, the first ones are created within this time, at a moment that depends on its name. */
  readonly firstPublication: number;
  /** The waits between attempts to read the Node and to find out about taints: the first, and the longest one. */
  readonly firstAttempt: number;
  readonly longestAttempt: number;
}

export const publisherTimes: PublisherTimes = {
  pacing: {
    window: 1000,
    lossGap: 500,
    firstInterval: 2000,
    longestInterval: 60_000,
    calm: 120_000,
    firstRepair: 1000,
    longestRepair: 30_000,
    repairCalm: 60_000,
    firstRetry: 500,
    staleRetry: 20,
    longestRetry: 30_000,
  },
  standby: { first: 60_000, longest: 3_600_000 },
  watch: null,
  firstPublication: 30_000,
  firstAttempt: 500,
  longestAttempt: 30_000,
};

/** When a node creates its first slices, in milliseconds from the list that shows none: a fleet does not do it at once. */
export const firstDelay = (node: string, within: number): number =>
  Number.parseInt(hashOf(node).slice(-8), 36) % (within + 1);
