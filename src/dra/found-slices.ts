// Which slices does the API server have? What the watch last showed, and what answers to our own writes say already that the watch
// has not shown yet. Pure: a state, and what is learned next.

import type { ResourceSlice, SliceDevice } from "./resource-slice.ts";

/** What is known of the slices of one node and driver. */
export interface FoundSlices {
  /** The version that `watched` is the state of. */
  readonly version: string;
  readonly watched: ReadonlyMap<string, ResourceSlice>;
  /** Answers to writes that the watch has not reached. */
  readonly answers: ReadonlyMap<string, ResourceSlice>;
  /** UIDs that were deleted and that the watch still shows. */
  readonly deleted: ReadonlySet<string>;
}

/** Whose slices. */
export interface SliceOwner {
  readonly driver: string;
  readonly node: string;
}

/** Whether a resource version is later than another one (KEP-5504: decimal numbers that can be compared). */
export function isLaterVersion(a: string, b: string): boolean {
  if (!/^[1-9]\d*$/.test(a) || !/^(?:0|[1-9]\d*)$/.test(b)) return false;
  return a.length === b.length ? a > b : a.length > b.length;
}

/** What a list or an event shows. Slices of other nodes and drivers are never ours to change, whatever a server selects. */
export function watchedSlices(
  before: FoundSlices | null,
  slices: ReadonlyMap<string, ResourceSlice>,
  version: string,
  { driver, node }: SliceOwner,
): FoundSlices {
  const watched = new Map([...slices].filter(([, { spec }]) => spec.driver === driver && spec.nodeName === node));
  const uids = new Set([...watched.values()].map(({ metadata }) => metadata.uid));
  const answers = [...(before?.answers ?? [])].filter(([, answer]) => isAhead(answer, version));
  const deleted = [...(before?.deleted ?? [])].filter((uid) => uids.has(uid));
  return { version, watched, answers: new Map(answers), deleted: new Set(deleted) };
}

const isAhead = ({ metadata }: ResourceSlice, version: string): boolean =>
  isLaterVersion(metadata.resourceVersion ?? "", version);

/** Adds the answer to a write. */
export function answeredSlice(before: FoundSlices, answer: ResourceSlice): FoundSlices {
  if (!isAhead(answer, before.version)) return before;
  return { ...before, answers: new Map([...before.answers, [answer.metadata.name, answer]]) };
}

/** Adds a deletion that the API server accepted. */
export function deletedSlice(before: FoundSlices, { metadata: { name, uid } }: ResourceSlice): FoundSlices {
  const answers = new Map(before.answers);
  answers.delete(name);
  return { ...before, answers, deleted: uid === undefined ? before.deleted : new Set([...before.deleted, uid]) };
}

/** The slices as they are now, as far as is known. Those that were deleted are there until the watch shows that they are gone. */
export const currentSlices = ({ watched, answers }: FoundSlices): readonly ResourceSlice[] => [
  ...new Map([...watched, ...answers]).values(),
];

/** Those that were not deleted. */
export const remainingSlices = (found: FoundSlices): readonly ResourceSlice[] =>
  currentSlices(found).filter(({ metadata }) => !found.deleted.has(metadata.uid ?? ""));

/** The devices that each slice last had, of those that are there and those that were. */
export const lastDevicesOf = (
  before: ReadonlyMap<string, readonly SliceDevice[]>,
  slices: readonly ResourceSlice[],
  names: ReadonlySet<string>,
): Map<string, readonly SliceDevice[]> =>
  new Map([
    ...[...before].filter(([name]) => names.has(name)),
    ...slices.flatMap(({ metadata: { name }, spec }) => (names.has(name) ? [[name, spec.devices ?? []] as const] : [])),
  ]);
