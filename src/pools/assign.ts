// Which devices belong where? The first entry of the file, and the first selector object in it, that selects a device
// gets it; an allocated device stays in the pool that it was allocated from.

import type { Device } from "../host/device.ts";
import { deviceTypes, hostExclusionOf, isExcluded } from "./device-types.ts";
import { unhealthyReason } from "./health.ts";
import { namedForSelection } from "./pf-names.ts";
import type { Claim, Pool, PoolSpec, ClaimBasis } from "./pool.ts";
import { matches, type SelectorName, type SelectorObject } from "./selectors.ts";

/** What pods hold: the resource under which each device id was allocated. */
export type Held = ReadonlyMap<string, string>;

/** Devices that must not be handed out under a resource for now, by id: why, as the end of a sentence. */
export type Suspended = ReadonlyMap<string, { readonly resource: string; readonly reason: string }>;

/** The selector object of an allocated device that no selector matches any more. */
const anything: SelectorObject = {};

/**
 * Assigns every device to the pool that gets it.
 *
 * An allocated device never appears in another pool than the one it was allocated from, whatever the config
 * is now: it would be handed to a second pod. There it is Unhealthy when the host needs it, or when another pool would get it
 * now. `before` has the selector objects by which devices were claimed.
 */
export function assignPools(
  specs: readonly PoolSpec[],
  given: readonly Device[],
  held: Held = new Map(),
  before: ReadonlyMap<string, Pool> = new Map(),
  suspended: Suspended = new Map(),
): Pool[] {
  const devices = namedForSelection(specs, given);
  const taken = new Set<string>();
  return specs.map((spec, index) => {
    const type = deviceTypes[spec.deviceType];
    const candidates = devices.filter((device) => type.isOfType(device) && !taken.has(device.id));
    const claims = new Map<string, Claim>();
    const was = before.get(spec.resource)?.claims;
    const claim = (device: Device, selectorObject: SelectorObject, basis: ClaimBasis = "selected") => {
      taken.add(device.id);
      claims.set(device.id, { device, selectorObject, basis });
    };
    for (const device of candidates) {
      if (held.get(device.id) !== spec.resource) continue;
      const selectorObject =
        spec.selectors.find((each) => matches(device, each)) ??
        was?.get(device.id)?.selectorObject ??
        (spec.selectors.length === 1 ? spec.selectors[0] : undefined) ??
        anything;
      claim(device, selectorObject, basisOf(device, spec, specs.slice(0, index)));
    }
    // A device that lost its driver stays where it was, Unhealthy, until a driver is bound again and decides.
    for (const device of candidates) {
      const claimed = device.driver === null && !held.has(device.id) ? was?.get(device.id) : undefined;
      if (claimed && hostExclusionOf(device, type) === null) claim(device, claimed.selectorObject);
    }
    const free = candidates.filter((device) => !held.has(device.id) && !isExcluded(device, type));
    for (const selectorObject of spec.selectors) {
      for (const device of free) {
        if (!taken.has(device.id) && matches(device, selectorObject)) claim(device, selectorObject);
      }
    }
    // In the order of the node's devices, so that an unchanged pool is listed in an unchanged order.
    const ordered = new Map<string, Claim>();
    const unhealthy = new Map<string, string>();
    for (const device of candidates) {
      const { id } = device;
      const won = claims.get(id);
      if (!won) continue;
      ordered.set(id, won);
      const suspension = suspended.get(id);
      const reason =
        hostExclusionOf(device, type)?.sentence ??
        (suspension?.resource === spec.resource ? suspension.reason : null) ??
        unhealthyReason(won, spec);
      if (reason !== null) unhealthy.set(id, reason);
    }
    return { spec, claims: ordered, unhealthy };
  });
}

/** The resource that each device is assigned to. */
export const placements = (pools: readonly Pool[]): Map<string, string> =>
  new Map(pools.flatMap(({ spec, claims }) => [...claims.keys()].map((id) => [id, spec.resource])));

/** Facts that can't be seen while a device, or its PF, is in a pod's network namespace, by the selector that needs them. */
const hidden: Partial<Record<SelectorName, (device: Device) => boolean>> = {
  linkTypes: ({ linkType }) => linkType === null,
  pKeys: ({ pKey }) => pKey === null,
  pfNames: ({ pf }) => pf?.interfaceName === null,
  ddpProfiles: ({ ddpProfile }) => ddpProfile === null,
};

/** Why an allocated device is in its pool; one that the config gives to another pool, or to none, is draining. */
function basisOf(device: Device, spec: PoolSpec, earlier: readonly PoolSpec[]): ClaimBasis {
  const goesTo = ({ deviceType, selectors }: PoolSpec) =>
    deviceTypes[deviceType].isOfType(device) && selectors.some((selectorObject) => matches(device, selectorObject));
  if (earlier.some(goesTo)) return "draining";
  if (goesTo(spec)) return "selected";
  return spec.selectors.some((selectorObject) => mayMatch(device, selectorObject)) ? "retained" : "draining";
}

/** Whether a device fulfills every selector of a selector object that can be judged while a pod has it. */
const mayMatch = (device: Device, selectorObject: SelectorObject): boolean =>
  matches(
    device,
    Object.fromEntries(
      Object.entries(selectorObject).filter(([name]) => hidden[name as SelectorName]?.(device) !== true),
    ) as SelectorObject,
  );
