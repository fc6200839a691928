// What does the kubelet's health stream say of the devices? Those of the slices, by the same names: a pod's status shows it. Pure.

import { sliceDeviceName } from "../pools/names.ts";
import type { Pool } from "../pools/pool.ts";
import { desiredSlices, type SliceContext } from "./slices.ts";

/** The health of a published device. */
export interface PublishedHealth {
  readonly pool: string;
  readonly device: string;
  /** Why the device is not healthy, as a sentence's end; null when it is. */
  readonly unhealthy: string | null;
}

/**
 * The health of all devices in the order of the slices, those included that are left out of slices where there are no taints: pods have
 * some of them. A device that is gone is not among them; to the kubelet its health becomes unknown.
 */
export function publishedHealth(pools: readonly Pool[], context: SliceContext): PublishedHealth[] {
  const reasons = new Map(
    pools.flatMap(({ unhealthy }) => [...unhealthy].map(([id, reason]) => [sliceDeviceName(id), reason])),
  );
  return desiredSlices(pools, { ...context, hasTaints: true }).flatMap(({ pool, devices }) =>
    devices.map(({ name }) => ({ pool, device: name, unhealthy: reasons.get(name) ?? null })),
  );
}
