// The nouns of selection: a pool spec is a list of selector objects, a device that one of them selected is a claim.

import type { Device } from "../host/device.ts";
import type { DeviceTypeName } from "./device-types.ts";
import type { SelectorObject } from "./selectors.ts";

/** How the kubelet's choice among free devices is guided. */
export const preferences = ["packed", "spread"] as const;
export type Preference = (typeof preferences)[number];

/** An entry of resourceList. */
export interface PoolSpec {
  /** The extended resource's full name: "intel.com/sriov_net_A". */
  readonly resource: string;
  readonly prefix: string;
  readonly name: string;
  readonly deviceType: DeviceTypeName;
  readonly excludeTopology: boolean;
  /** Whether the state of links counts for health. */
  readonly linkHealth: boolean;
  /** Whether VFIO devices are also handed out by their own node and /dev/iommu. */
  readonly iommufd: boolean;
  /** null: the kubelet chooses by itself. */
  readonly preferredAllocation: Preference | null;
  readonly selectors: readonly SelectorObject[];
  /** For each selector object the keys in it that no device of this type has and that were ignored; missing when there are none. */
  readonly ignoredKeys?: readonly (readonly string[])[];
  /** Device id or "*", then key, then value. Values may be secrets and are never logged. */
  readonly additionalInfo: Readonly<Record<string, Readonly<Record<string, string>>>> | null;
}

/** A device together with the selector object that selected it. */
export interface Claim {
  readonly device: Device;
  readonly selectorObject: SelectorObject;
  readonly basis: ClaimBasis;
}

/**
 * Why a device is in its pool. "selected": a selector matches. "retained": it is allocated, and what a selector would match
 * is hidden in the pod. "draining": it is allocated, and the config gives it to another pool or to none now.
 */
export const claimBases = ["selected", "retained", "draining"] as const;
export type ClaimBasis = (typeof claimBases)[number];

/** A pool spec and what it won, by device id. */
export interface Pool {
  readonly spec: PoolSpec;
  readonly claims: ReadonlyMap<string, Claim>;
  /** Why devices are not healthy, by device id; those that are healthy are missing. */
  readonly unhealthy: ReadonlyMap<string, string>;
}
