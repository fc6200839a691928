// Why is a device where it is, and what is in a pool? The same decisions as in assign.ts, step by step.

import type { Device } from "../host/device.ts";
import { exclusionsOf, deviceTypes } from "./device-types.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import type { Retention } from "./retention.ts";
import {
  matches,
  type Selector,
  type SelectorName,
  selectorNames,
  selectors,
  type SelectorObject,
} from "./selectors.ts";

/** One selector put to one device. */
export interface Test {
  readonly selector: SelectorName;
  /** The values that would do, as the operator writes them. */
  readonly expected: readonly string[];
  readonly found: string;
  readonly passes: boolean;
}

/** A selector object tested against one device: it selects the device when all tests pass. */
export interface Trial {
  /** Its index in the entry's `selectors`. */
  readonly index: number;
  readonly passes: boolean;
  readonly tests: readonly Test[];
}

/** How one pool relates to one device. */
export interface PoolVerdict {
  readonly resource: string;
  readonly outcome: "taken" | "refused";
  /** A sentence each, in the order in which they were found. */
  readonly reasons: readonly string[];
  /** The other pool that has the device; null when none has, or this one. */
  readonly takenBy: string | null;
  /** The index of the selector object that won the device; null when none did. */
  readonly selector: number | null;
  /** Empty when the device is of another type. */
  readonly trials: readonly Trial[];
}

/** Devices that are in no pool while a pod has them, by id. */
export type Withheld = ReadonlyMap<string, Retention>;

/** Explains, pool by pool in the order of the file, why the device is or isn't in it. */
export function explain(device: Device, pools: readonly Pool[], withheld: Withheld = new Map()): PoolVerdict[] {
  const owner = pools.find((pool) => pool.claims.has(device.id));
  return pools.map((pool) => verdictOf(device, pool, owner, withheld.get(device.id)));
}

function verdictOf(device: Device, pool: Pool, owner: Pool | undefined, withheld: Retention | undefined): PoolVerdict {
  const { spec, unhealthy, claims } = pool;
  const type = deviceTypes[spec.deviceType];
  const isOfType = type.isOfType(device);
  const claim = claims.get(device.id);
  // Claimed by a later name of its PF, a device has that name in its claim.
  const known = claim?.device ?? device;
  const trials = isOfType ? spec.selectors.map((selectorObject, index) => trialOf(known, selectorObject, index)) : [];
  const winner = claim ? spec.selectors.indexOf(claim.selectorObject) : -1;
  const common = {
    resource: spec.resource,
    takenBy: owner && owner !== pool ? owner.spec.resource : null,
    selector: winner < 0 ? null : winner,
    trials,
  };
  if (claim) {
    const reason = unhealthy.get(device.id);
    return { ...common, outcome: "taken", reasons: reason === undefined ? [] : [`reported as Unhealthy: ${reason}`] };
  }
  if (!isOfType) return { ...common, outcome: "refused", reasons: [`it is not of type ${spec.deviceType}`] };
  const exclusions = exclusionsOf(device).map(({ sentence }) => sentence);
  if (exclusions.length > 0) return { ...common, outcome: "refused", reasons: exclusions };
  const misses = trials.filter(({ passes }) => !passes).map(missOf);
  const reasons = misses.length < trials.length ? [whoseItIs(device, owner, withheld)] : misses;
  return { ...common, outcome: "refused", reasons };
}

/** Why a pool that selects the device has not got it. */
function whoseItIs({ id }: Device, owner: Pool | undefined, withheld: Retention | undefined): string {
  if (!owner && withheld) return `withheld: allocated to ${withheld.pod} as ${withheld.resource}, until that pod ends`;
  const name = owner?.spec.resource ?? "another pool";
  // A pod's device is retained by the pool that it was allocated from, wherever that is in the file.
  return owner?.claims.get(id)?.basis === "draining"
    ? `${name} retains it until its pod ends`
    : `${name} claimed it already, listed earlier`;
}

/** Puts every selector of a selector object to the device. */
function trialOf(device: Device, selectorObject: SelectorObject, index: number): Trial {
  const tests = selectorNames
    .filter((name) => selectorObject[name] !== undefined && !("isNoCondition" in selectors[name]))
    .map((name): Test => {
      const selector = selectors[name] as Selector<unknown>;
      const value = selectorObject[name];
      return {
        selector: name,
        expected: selector.shows(value),
        found: selector.has(device),
        passes: selector.matches(device, value),
      };
    });
  return { index, passes: matches(device, selectorObject), tests };
}

const missOf = ({ index, tests }: Trial): string =>
  `selectors[${index}]: ${tests
    .filter(({ passes }) => !passes)
    .map(({ selector, found }) => `${selector}: it has ${found}`)
    .join("; ")}`;

/** Why some devices, all for the same reasons, are not in a pool. */
export interface Refusal {
  /** What keeps them from every pool, or the pool that took them; empty when selectors failed. */
  readonly reasons: readonly string[];
  readonly failed: readonly {
    readonly index: number;
    readonly selector: SelectorName;
    readonly expected: readonly string[];
    /** What they have instead, each value once. */
    readonly found: readonly string[];
  }[];
  readonly devices: readonly Device[];
}

/** A pool, what it has, and why each other device of its type isn't in it. */
export interface PoolExplanation {
  readonly spec: PoolSpec;
  readonly devices: readonly {
    readonly device: Device;
    readonly selector: number | null;
    readonly unhealthy: string | null;
  }[];
  /** Devices that it selects and that a pool listed earlier has. */
  readonly taken: readonly { readonly device: Device; readonly by: string }[];
  /** Devices that it selects and that are in no pool until the pod ends that has them. */
  readonly withheld: readonly { readonly device: Device; readonly retention: Retention }[];
  readonly refused: readonly Refusal[];
  /** How many devices are of another type. */
  readonly others: number;
}

/** Explains a pool: every device of its type is in exactly one of the lists. */
export function explainPool(
  pool: Pool,
  pools: readonly Pool[],
  devices: readonly Device[],
  withheld: Withheld = new Map(),
): PoolExplanation {
  const type = deviceTypes[pool.spec.deviceType];
  const candidates = devices.filter((device) => type.isOfType(device));
  const owners = new Map(pools.flatMap((each) => [...each.claims.keys()].map((id) => [id, each] as const)));
  const verdicts = candidates.map((device) => ({
    device,
    verdict: verdictOf(device, pool, owners.get(device.id), withheld.get(device.id)),
  }));
  const lost = verdicts.filter(({ verdict }) => verdict.outcome === "refused");
  const isSelected = ({ trials }: PoolVerdict) => trials.some(({ passes }) => passes);
  return {
    spec: pool.spec,
    devices: verdicts
      .filter(({ verdict }) => verdict.outcome === "taken")
      .map(({ device, verdict: { selector } }) => ({
        device,
        selector,
        unhealthy: pool.unhealthy.get(device.id) ?? null,
      })),
    taken: lost.flatMap(({ device, verdict }) =>
      verdict.takenBy !== null && isSelected(verdict) ? [{ device, by: verdict.takenBy }] : [],
    ),
    withheld: lost.flatMap(({ device, verdict }) => {
      const retention = withheld.get(device.id);
      return retention && verdict.takenBy === null && isSelected(verdict) ? [{ device, retention }] : [];
    }),
    refused: refusalsOf(
      lost.filter(
        ({ device, verdict }) => !isSelected(verdict) || (verdict.takenBy === null && !withheld.has(device.id)),
      ),
    ),
    others: devices.length - candidates.length,
  };
}

/** Sums up: devices that fail the same selectors of the same objects, or have the same exclusions, are summed up together. */
function refusalsOf(lost: readonly { readonly device: Device; readonly verdict: PoolVerdict }[]): Refusal[] {
  const groups = Map.groupBy(lost, ({ device, verdict }) => {
    const exclusions = exclusionsOf(device);
    const failed = verdict.trials.map(({ tests }) =>
      tests.filter(({ passes }) => !passes).map((test) => test.selector),
    );
    return JSON.stringify(exclusions.length > 0 ? verdict.reasons : failed);
  });
  return [...groups.values()].map((group) => {
    const [first] = group;
    const devices = group.map(({ device }) => device);
    if (first && exclusionsOf(first.device).length > 0) return { reasons: first.verdict.reasons, failed: [], devices };
    const failed = (first?.verdict.trials ?? []).flatMap(({ index, tests }) =>
      tests.flatMap(({ passes, selector, expected }, place) => {
        if (passes) return [];
        const found = new Set(group.map(({ verdict }) => verdict.trials[index]?.tests[place]?.found ?? "none"));
        return [{ index, selector, expected, found: [...found] }];
      }),
    );
    return { reasons: [], failed, devices };
  });
}
