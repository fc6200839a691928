// Which devices are not where the config would have them, since a pod has them? For the log and for status.

import type { Device } from "../host/device.ts";
import { deviceTypes, hostExclusionOf } from "./device-types.ts";
import type { Pool } from "./pool.ts";

/** A device that its pod keeps where it is. */
export interface Retention {
  readonly device: string;
  /** The resource under which the pod has it. */
  readonly resource: string;
  /** "namespace/name", or the pod's UID; "claim NAMESPACE/NAME"; "another plugin" while one offers the device. */
  readonly pod: string;
  /**
   * "retained": it is in its pod's pool, Unhealthy. "withheld": it is in no pool, since its pod's pool is not configured or is of
   * another device type.
   */
  readonly kind: "retained" | "withheld";
  /** The pool that gets it when the pod ends; null when none does. */
  readonly nextPool: string | null;
}

/**
 * The devices that pods keep from where the config would have them, in the order of the node's devices. `pools` are the pools as
 * they are, `free` has the pool of each device without pods.
 */
export function retentionsOf(
  devices: readonly Device[],
  allocations: ReadonlyMap<string, Pick<Retention, "resource" | "pod">>,
  pools: readonly Pool[],
  free: ReadonlyMap<string, string>,
): Retention[] {
  const byResource = new Map(pools.map((pool) => [pool.spec.resource, pool]));
  return devices.flatMap((device): Retention[] => {
    const allocated = allocations.get(device.id);
    if (!allocated) return [];
    const { resource, pod } = allocated;
    const nextPool = free.get(device.id) ?? null;
    const pool = byResource.get(resource);
    const claim = pool?.claims.get(device.id);
    const common = { device: device.id, resource, pod, nextPool };
    if (!claim || !pool) return nextPool === null ? [] : [{ ...common, kind: "withheld" }];
    const isExcluded = hostExclusionOf(device, deviceTypes[pool.spec.deviceType]) !== null;
    return claim.basis === "draining" || isExcluded ? [{ ...common, kind: "retained" }] : [];
  });
}
