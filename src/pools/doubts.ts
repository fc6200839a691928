// Which entries of a config file are doubtful, though every one is well-formed? Selector objects that can't win anything
// because of those before them, and, on a given node, those that select nothing and PFs that aren't there.

import type { Device } from "../host/device.ts";
import { deviceTypes } from "./device-types.ts";
import { explainPool } from "./explain.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import { covers, type FunctionRange, matches, type Wanted } from "./selectors.ts";

/** A doubt, and what it is about: a pool, one of its selector objects, or one value in that. */
export interface Doubt {
  /** Indexes of the spec and of the selector object. */
  readonly spec: number;
  readonly wanted?: number;
  readonly value?: { readonly selector: "pfNames" | "rootDevices"; readonly index: number };
  readonly message: string;
}

/** Where an earlier selector object stands that wants all that a later one wants. */
interface Cover {
  readonly spec: PoolSpec;
  readonly wanted: number;
}

/** The earlier selector object, of the same or an earlier entry of the type, that leaves nothing to this one. */
function coverOf(specs: readonly PoolSpec[], index: number, place: number): Cover | null {
  const narrow = specs[index]?.selectors[place];
  for (const [earlier, spec] of specs.slice(0, index + 1).entries()) {
    if (narrow === undefined || spec.deviceType !== specs[index]?.deviceType) continue;
    const before = earlier === index ? spec.selectors.slice(0, place) : spec.selectors;
    const wanted = before.findIndex((wide) => covers(wide, narrow));
    if (wanted >= 0) return { spec, wanted };
  }
  return null;
}

const shadowed = (spec: PoolSpec, { spec: by, wanted }: Cover): string =>
  by === spec
    ? `selectors[${wanted}] before it wants every device that this wants, so it gets none`
    : `${by.resource} stands before it and wants (selectors[${wanted}]) every device that this wants, so it gets none`;

/** Doubts that hold on every node: selector objects and entries that are shadowed by those before them. */
export function doubtsOnEveryNode(specs: readonly PoolSpec[]): Doubt[] {
  return specs.flatMap((spec, index): Doubt[] =>
    spec.selectors.flatMap((_, place): Doubt[] => {
      const cover = coverOf(specs, index, place);
      return cover ? [{ spec: index, wanted: place, message: shadowed(spec, cover) }] : [];
    }),
  );
}

/** Doubts on the node that has these devices. What is shadowed on every node is not told again. */
export function doubtsOnNode(pools: readonly Pool[], devices: readonly Device[]): Doubt[] {
  const specs = pools.map(({ spec }) => spec);
  return pools.flatMap((pool, index): Doubt[] => {
    const { spec } = pool;
    const open = spec.selectors.flatMap((_, place) => (coverOf(specs, index, place) ? [] : [place]));
    const unknown = open.flatMap((place) =>
      doubtsOnPfs(spec.selectors[place] ?? {}, spec, devices).map((doubt) => ({
        spec: index,
        wanted: place,
        ...doubt,
      })),
    );
    if (open.length === 0) return [];
    if (pool.claims.size === 0) return [{ spec: index, message: nothingFor(pool, pools, devices) }, ...unknown];
    const idle = open
      .filter((place) => ![...pool.claims.values()].some(({ wanted }) => wanted === spec.selectors[place]))
      .filter((place) => !unknown.some(({ wanted }) => wanted === place))
      .map((place) => ({ spec: index, wanted: place, message: nothingBy(spec, spec.selectors[place] ?? {}, devices) }));
    return [...unknown, ...idle];
  });
}

function nothingFor(pool: Pool, pools: readonly Pool[], devices: readonly Device[]): string {
  const { taken, refused } = explainPool(pool, pools, devices);
  if (taken.length > 0) {
    const takers = [...new Set(taken.map(({ by }) => by))].join(", ");
    return `gets nothing on this node: ${takers} before it took all that it wants (${taken.length})`;
  }
  return refused.length === 0
    ? `selects nothing on this node: it has no ${pool.spec.deviceType}`
    : `selects nothing on this node; "sriovdp explain ${pool.spec.resource}" says why`;
}

function nothingBy(spec: PoolSpec, wanted: Wanted, devices: readonly Device[]): string {
  const type = deviceTypes[spec.deviceType];
  return devices.some((device) => type.isOne(device) && matches(device, wanted))
    ? "gets nothing on this node: all that it wants is taken before, or never offered"
    : "selects nothing on this node";
}

/** By which fact a selector knows a PF. */
const pfFacts = {
  pfNames: {
    ofFunction: ({ pf }: Device) => (pf?.interfaceName == null ? [] : [pf.interfaceName, ...pf.laterNames]),
    ofPf: ({ interfaces }: Device) => interfaces,
  },
  rootDevices: {
    ofFunction: ({ pf }: Device) => (pf === null ? [] : [pf.address]),
    ofPf: ({ id }: Device) => [id],
  },
} satisfies Record<string, Record<string, (device: Device) => readonly string[]>>;

type PfDoubt = Required<Pick<Doubt, "value">> & Pick<Doubt, "message">;

/** Doubts about the PFs that a selector object names, and the indexes below them. */
function doubtsOnPfs(wanted: Wanted, { deviceType }: PoolSpec, devices: readonly Device[]): PfDoubt[] {
  const candidates = devices.filter((device) => deviceTypes[deviceType].isOne(device));
  const functions = deviceType === "auxNetDevice" ? "SFs" : "VFs";
  return (["pfNames", "rootDevices"] as const).flatMap((selector) =>
    (wanted[selector] ?? []).flatMap((entry: FunctionRange, index): PfDoubt[] => {
      if (entry.wrong !== undefined) return [];
      const { ofFunction, ofPf } = pfFacts[selector];
      const isMeant = (name: string) => name.toLowerCase() === entry.pf.toLowerCase();
      const below = candidates.filter((device) => ofFunction(device).some(isMeant));
      const message =
        below.length > 0
          ? beyond(entry, below, functions)
          : absent(
              entry.pf,
              devices.find((device) => ofPf(device).some(isMeant)),
              functions,
              [...new Set(candidates.flatMap((device) => ofFunction(device)))],
            );
      return message === null ? [] : [{ value: { selector, index }, message }];
    }),
  );
}

function absent(name: string, found: Device | undefined, functions: string, others: readonly string[]): string {
  if (!found) {
    const known = others.length === 0 ? `none has ${functions}` : `those with ${functions} are ${others.join(", ")}`;
    return `no PF of this node is called ${JSON.stringify(name)}; ${known}`;
  }
  if (found.pf === null) return `${name} has no ${functions} on this node`;
  const above = found.pf.interfaceName ?? found.pf.address;
  return `${name} belongs to a function of ${above}, not to a PF`;
}

/** The parts of the ranges in which the PF has no function; SFs are numbered as their maker likes, so for them only whole ranges count. */
function beyond({ pf, ranges }: FunctionRange, below: readonly Device[], functions: string): string | null {
  const indexes = below.flatMap(({ functionIndex }) => (functionIndex === null ? [] : [functionIndex]));
  const last = Math.max(...indexes);
  const empty = (ranges ?? []).flatMap(([from, to]) => {
    if (functions === "VFs") return to <= last ? [] : [[Math.max(from, last + 1), to] as const];
    return indexes.some((index) => from <= index && index <= to) ? [] : [[from, to] as const];
  });
  if (empty.length === 0 || indexes.length === 0) return null;
  const told = empty.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(",");
  return functions === "VFs"
    ? `${pf} has the VFs 0-${last} on this node; #${told} selects nothing`
    : `${pf} has no SF ${told} on this node`;
}
