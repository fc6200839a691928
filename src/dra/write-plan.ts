// Which slices are written now, and which ones later? What is needed, each by its own pace. Pure.

import type { ResourceSlice, SliceDevice } from "./resource-slice.ts";
import {
  sliceContent,
  type DesiredSlice,
  isLoss,
  type SliceContext,
  sliceWrites,
  type SliceWrite,
  desiredContent,
} from "./slices.ts";
import {
  dueOf,
  newPace,
  type PacingTimes,
  restingPace,
  settledPace,
  type SlicePace,
  type WriteReason,
} from "./write-pacing.ts";

/** What a plan depends on. */
export interface PlanInput {
  readonly desired: readonly DesiredSlice[];
  readonly found: readonly ResourceSlice[];
  /** UIDs whose deletion the API server has accepted. */
  readonly deleted: ReadonlySet<string>;
  readonly context: SliceContext;
  readonly annotations: Readonly<Record<string, string>>;
  readonly lastDevices: ReadonlyMap<string, readonly SliceDevice[]>;
  readonly paces: ReadonlyMap<string, SlicePace>;
  /** Nothing is created before; Infinity while it is not known when. */
  readonly createsFrom: number;
  readonly now: number;
  readonly times: PacingTimes;
}

/** A write that may be done now. */
export interface DueWrite extends SliceWrite {
  /** Its key in `paces`. */
  readonly key: string;
  readonly want: string;
  readonly reason: WriteReason;
  /** Whether it takes a slice away, or is the first step to that. */
  readonly removes: boolean;
}

/** What to do. */
export interface WritePlan {
  /** In this order: all removals, then the rest. */
  readonly due: readonly DueWrite[];
  /** When the next write is due; null when none waits for a time. */
  readonly next: number | null;
  readonly waiting: number;
  readonly paces: ReadonlyMap<string, SlicePace>;
}

/** The key of all slices whose names are none of ours: who makes one can make many. */
const unknownNames = "";

/** What is wanted of a slice that should not be there, and of one that is emptied before. */
const absent = "absent";
const emptied = "emptied";

/**
 * The write that removes a slice. That of another instance is emptied first: a deletion bears no stamp, and that instance, if it
 * still lives, would restore the slice.
 */
function removalOf(slice: ResourceSlice, annotations: Readonly<Record<string, string>>): SliceWrite {
  const { metadata, spec } = slice;
  const known = metadata.annotations ?? {};
  const isOthers = Object.entries(annotations).some(([key, value]) => (known[key] ?? value) !== value);
  if (!isOthers) return { action: "delete", slice };
  const claimed = { ...metadata, managedFields: undefined, annotations: { ...known, ...annotations } };
  return { action: "update", slice: { ...slice, metadata: claimed, spec: { ...spec, devices: [] } } };
}

/** The writes that remove slices, whatever was written to them. */
export const removalsOf = (
  slices: readonly ResourceSlice[],
  annotations: Readonly<Record<string, string>>,
): DueWrite[] =>
  slices.map((slice) => {
    const write = removalOf(slice, annotations);
    const want = write.action === "delete" ? absent : emptied;
    return { ...write, key: slice.metadata.name, want, reason: "loss", removes: true };
  });

/** Plans the writes. */
export function planWrites(input: PlanInput): WritePlan {
  const { desired, found, deleted, context, annotations, lastDevices, now, times, createsFrom } = input;
  const contents = new Map(desired.map((slice) => [slice.name, desiredContent(slice, context)]));
  const paceOf = (key: string): SlicePace => input.paces.get(key) ?? newPace(times);
  const pools = new Map(desired.map(({ name, pool }) => [name, pool]));
  // What was deleted can't be kept; but as long as another slice of a pool is there, its generation counts.
  const counted = found.filter(
    ({ metadata: { name, uid = "" }, spec }) => !deleted.has(uid) || pools.get(name) !== spec.pool.name,
  );
  const foundByName = new Map(counted.map((slice) => [slice.metadata.name, slice]));
  const needed = sliceWrites(desired, counted, context, annotations, lastDevices)
    .filter(({ action, slice }) => action !== "delete" || !deleted.has(slice.metadata.uid ?? ""))
    .map((planned): DueWrite => {
      const removes = planned.action === "delete";
      const write = removes ? removalOf(planned.slice, annotations) : planned;
      const { name } = write.slice.metadata;
      const key = contents.has(name) || input.paces.has(name) ? name : unknownNames;
      const want = removes && write.action === "update" ? emptied : (contents.get(name) ?? absent);
      const before = foundByName.get(name);
      return { ...write, key, want, reason: reasonOf(write, before, want, paceOf(key)), removes };
    })
    .filter(
      ({ action, slice, key, want }) =>
        action === "delete" || !isReceived(foundByName.get(slice.metadata.name), paceOf(key), want),
    );
  const keys = new Set(needed.map(({ key }) => key));
  const paces = new Map<string, SlicePace>();
  for (const [key, pace] of input.paces)
    if (keys.has(key) || foundByName.has(key) || isRecent(pace, now, times)) paces.set(key, restingPace(pace));
  for (const [name, want] of contents) if (!keys.has(name)) paces.set(name, settledPace(paceOf(name), want));
  for (const key of keys) paces.set(key, { ...paceOf(key), neededSince: paceOf(key).neededSince ?? now });

  const dueTimes = needed.map(({ action, key, reason }) => {
    const due = dueOf(paces.get(key) ?? newPace(times), reason, now, times);
    return action === "create" ? Math.max(due, createsFrom) : due;
  });
  const later = dueTimes.filter((due) => due > now);
  const next = Math.min(...later);
  return {
    due: needed.filter((_, index) => (dueTimes[index] ?? now) <= now),
    next: Number.isFinite(next) ? next : null,
    waiting: later.length,
    paces,
  };
}

function reasonOf(
  { action, slice }: SliceWrite,
  before: ResourceSlice | undefined,
  want: string,
  { settled }: SlicePace,
): WriteReason {
  if (settled === want) return "repair";
  if (action === "delete") return "loss";
  return isLoss(before?.spec.devices ?? [], slice.spec.devices ?? []) ? "loss" : "gain";
}

/** Whether a slice is what the API server made of the same desired one. */
const isReceived = (found: ResourceSlice | undefined, { settled, received }: SlicePace, want: string): boolean =>
  found !== undefined && settled === want && received !== null && received === sliceContent(found);

/** Whether a pace still counts for a slice that is neither desired nor there. */
const isRecent = ({ lastWrite, lastRepair }: SlicePace, now: number, { calm, repairCalm }: PacingTimes): boolean =>
  (lastWrite !== null && now - lastWrite < calm) || (lastRepair !== null && now - lastRepair < repairCalm);
