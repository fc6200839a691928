// Which devices belong where? The first entry of the file, and the first selector object in it, that wants a device
// gets it; a device that a pod holds stays where the pod got it from.

import type { Device } from "../host/device.ts";
import { deviceTypes, isBarred } from "./device-types.ts";
import { unhealthiness } from "./health.ts";
import { namedForSelection } from "./pf-names.ts";
import type { Claim, Pool, PoolSpec, Standing } from "./pool.ts";
import { matches, type Wanted } from "./selectors.ts";

/** What pods hold: the resource under which each device id was allocated. */
export type Held = ReadonlyMap<string, string>;

/** A wish for anything: what a held device that no selector recognises any more is claimed with. */
const anything: Wanted = {};

/**
 * Assigns every device to the pool that gets it.
 *
 * A device that a pod holds never appears in another pool than the one it was allocated from, whatever the config
 * says now: it would be handed to a second pod. `before` says by which wish it was claimed.
 */
export function assignPools(
  specs: readonly PoolSpec[],
  given: readonly Device[],
  held: Held = new Map(),
  before: ReadonlyMap<string, Pool> = new Map(),
): Pool[] {
  const devices = namedForSelection(specs, given);
  const placed = held.size === 0 ? null : placements(assignPools(specs, devices, new Map(), before));
  const taken = new Set<string>();
  return specs.map((spec) => {
    const type = deviceTypes[spec.deviceType];
    const ours = devices.filter((device) => type.isOne(device) && !taken.has(device.id));
    const claims = new Map<string, Claim>();
    const was = before.get(spec.resource)?.claims;
    const claim = (device: Device, wanted: Wanted, standing: Standing = "wished") => {
      taken.add(device.id);
      claims.set(device.id, { device, wanted, standing });
    };
    for (const device of ours) {
      if (held.get(device.id) !== spec.resource) continue;
      const wish =
        spec.selectors.find((wanted) => matches(device, wanted)) ??
        was?.get(device.id)?.wanted ??
        (spec.selectors.length === 1 ? spec.selectors[0] : undefined) ??
        anything;
      claim(device, wish, standingOf(placed?.get(device.id) === spec.resource, was?.get(device.id)?.standing));
    }
    // A device that lost its driver stays where it was, Unhealthy, until a driver is bound again and decides.
    for (const device of ours) {
      const claimed = device.driver === null && !held.has(device.id) ? was?.get(device.id) : undefined;
      if (claimed) claim(device, claimed.wanted);
    }
    const free = ours.filter((device) => !held.has(device.id) && !isBarred(device, type));
    for (const wanted of spec.selectors) {
      for (const device of free) {
        if (!taken.has(device.id) && matches(device, wanted)) claim(device, wanted);
      }
    }
    // In the order of the node's devices, so that an unchanged pool is listed in an unchanged order.
    const ordered = new Map<string, Claim>();
    const unhealthy = new Map<string, string>();
    for (const { id } of ours) {
      const won = claims.get(id);
      if (!won) continue;
      ordered.set(id, won);
      const reason = unhealthiness(won, spec);
      if (reason !== null) unhealthy.set(id, reason);
    }
    return { spec, claims: ordered, unhealthy };
  });
}

/** The resource that each device is assigned to. */
export const placements = (pools: readonly Pool[]): Map<string, string> =>
  new Map(pools.flatMap(({ spec, claims }) => [...claims.keys()].map((id) => [id, spec.resource])));

/** What a held device is to its pool: one that was wished for once, and is no longer, can only have been moved by the config. */
const standingOf = (isWished: boolean, before: Standing | undefined): Standing =>
  isWished ? "wished" : before === "wished" || before === "leaving" ? "leaving" : "kept";
