// Which of the free devices should a container be given? A pure function of the pool and the kubelet's request
// (v1beta1 GetPreferredAllocation); the order in which the kubelet lists devices never counts, that of the node does.

import type { Pool, Preference } from "../pools/pool.ts";
import { shownId } from "./allocate.ts";

/** What the kubelet requests for one container. */
export interface PreferredRequest {
  /** What may be given; those that must be given are among them. */
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  /** How many devices the container gets in all. */
  readonly size: number;
}

/** A device and the places that it shares with others, from the largest to the smallest. */
interface Placed {
  readonly id: string;
  readonly numaNode: string;
  readonly pcieRoot: string;
  /** The PF; a device without one is a group of its own. */
  readonly pf: string;
}

type Level = "numaNode" | "pcieRoot";

/** What a container's devices should share, where they can. */
const levels: readonly Level[] = ["numaNode", "pcieRoot"];

/** Why a request is refused, as a sentence; null when it is not. The kubelet fails the pod for it, so few are. */
export function refusePreferred(resource: string, { available, mustInclude, size }: PreferredRequest): string | null {
  const of = `GetPreferredAllocation of ${resource}`;
  if (size < 0) return `${of}: ${size} devices can't be given`;
  const offered = new Set(available);
  const must = new Set(mustInclude);
  const unavailable = mustInclude.find((id) => !offered.has(id));
  if (unavailable !== undefined) return `${of}: device ${shownId(unavailable)} must be included and is not available`;
  if (must.size > size) return `${of}: ${must.size} devices must be included in ${size}`;
  if (size > offered.size) return `${of}: ${size} devices requested, ${offered.size} available`;
  return null;
}

/**
 * The devices that a container should be given: those that must be included first, then the chosen ones.
 *
 * Devices that have left the pool are skipped, which can leave fewer than requested; the kubelet then fills up
 * by itself (kubernetes pkg/kubelet/cm/devicemanager/manager.go devicesToAllocate).
 */
export function preferredDevices({ claims }: Pool, preference: Preference, request: PreferredRequest): string[] {
  const offered = new Set(request.available);
  const must = new Set(request.mustInclude);
  const all = [...claims.values()].map(({ device }): Placed => ({
    id: device.id,
    numaNode: String(device.numaNode),
    pcieRoot: String(device.pcieRoot),
    pf: device.pf?.address ?? device.id,
  }));
  const given = all.filter(({ id }) => must.has(id));
  const free = all.filter(({ id }) => offered.has(id) && !must.has(id));
  const foreign = [...must].filter((id) => !claims.has(id)).toSorted();
  const chosen = choose(free, given, request.size - must.size, preference, levels);
  return [...given.map(({ id }) => id), ...foreign, ...chosen.map(({ id }) => id)];
}

/** Chooses so many, or all there are, from as few groups of each level as possible; groups of `given` come first. */
function choose(
  free: readonly Placed[],
  given: readonly Placed[],
  count: number,
  preference: Preference,
  [level, ...finer]: readonly Level[],
): Placed[] {
  if (level === undefined) return chooseByPf(free, given, count, preference);
  const groups = Map.groupBy(free, (each) => each[level]);
  const chosen: Placed[] = [];
  while (chosen.length < count && groups.size > 0) {
    const missing = count - chosen.length;
    const [place, group] = first([...groups], ([place, group]) => {
      const beside = given.filter((each) => each[level] === place).length;
      const fit = group.length < missing ? [1, -group.length] : [0, ...rankOf(group, missing, preference, finer)];
      return [-beside, ...fit];
    });
    groups.delete(place);
    const here = given.filter((each) => each[level] === place);
    chosen.push(...choose(group, here, Math.min(missing, group.length), preference, finer));
  }
  return chosen;
}

/**
 * What a group that has enough is worth, the lowest best: one that has enough in one group of a finer level, then for
 * packed the one with the emptiest PF, for spread the one with the fullest, then the smaller, or the larger one.
 */
function rankOf(
  group: readonly Placed[],
  count: number,
  preference: Preference,
  [level, ...finer]: readonly Level[],
): number[] {
  if (level === undefined) {
    const sizes = [...Map.groupBy(group, ({ pf }) => pf).values()].map(({ length }) => length);
    return preference === "packed" ? [Math.min(...sizes), group.length] : [-Math.max(...sizes), -group.length];
  }
  const enough = [...Map.groupBy(group, (each) => each[level]).values()].filter(({ length }) => length >= count);
  if (enough.length === 0) return [1, ...rankOf(group, count, preference, [])];
  const ranks = enough.map((each) => rankOf(each, count, preference, finer));
  return [0, ...first(ranks, (rank) => rank)];
}

/** One after the other from the PF with the fewest, or the most, free devices; of equal ones packed stays, spread moves on. */
function chooseByPf(
  free: readonly Placed[],
  given: readonly Placed[],
  count: number,
  preference: Preference,
): Placed[] {
  const sign = preference === "packed" ? 1 : -1;
  const groups = Map.groupBy(free, ({ pf }) => pf);
  const beside = new Map([...Map.groupBy(given, ({ pf }) => pf)].map(([pf, { length }]) => [pf, length]));
  const chosen: Placed[] = [];
  while (chosen.length < count && groups.size > 0) {
    const [pf, [next, ...rest]] = first([...groups], ([key, group]) => [
      sign * group.length,
      -sign * (beside.get(key) ?? 0),
    ]);
    if (next) chosen.push(next);
    beside.set(pf, (beside.get(pf) ?? 0) + 1);
    if (rest.length > 0) groups.set(pf, rest);
    else groups.delete(pf);
  }
  return chosen;
}

/** The one with the lowest rank, compared number by number; of equals the first. */
function first<T>(all: readonly T[], rank: (one: T) => readonly number[]): T {
  const ranked = all.map((one) => ({ one, rank: rank(one) }));
  return ranked.reduce((best, other) => (isLower(other.rank, best.rank) ? other : best)).one;
}

function isLower(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((number, index) => number !== b[index]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}
