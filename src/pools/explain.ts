// Why is a device where it is? The same decision as assign.ts, told step by step.

import type { Device } from "../host/device.ts";
import { deviceTypes } from "./device-types.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import { type Selector, selectors, unfulfilled } from "./selectors.ts";

/** What one pool says of one device. */
export interface Verdict {
  readonly resource: string;
  readonly outcome: "taken" | "refused";
  /** A sentence each, in the order in which they were found. */
  readonly reasons: readonly string[];
}

/** Explains, pool by pool in the order of the file, why the device is or isn't in it. */
export function explain(device: Device, pools: readonly Pool[]): Verdict[] {
  const owner = pools.find((pool) => pool.claims.has(device.id));
  return pools.map(({ spec, unhealthy }) => {
    if (owner?.spec === spec) {
      const reason = unhealthy.get(device.id);
      return {
        resource: spec.resource,
        outcome: "taken",
        reasons: reason === undefined ? [] : [`reported as Unhealthy: ${reason}`],
      };
    }
    return { resource: spec.resource, outcome: "refused", reasons: refusals(device, spec, owner) };
  });
}

function refusals(device: Device, spec: PoolSpec, owner: Pool | undefined): string[] {
  const type = deviceTypes[spec.deviceType];
  if (!type.isOne(device)) return [`it is not of type ${spec.deviceType}: ${type.help}`];
  const barred = type.barred(device);
  if (barred !== null) return [barred];
  const misses = spec.selectors.map((wanted, index) => {
    const failed = unfulfilled(device, wanted);
    return failed.length === 0
      ? null
      : `selectors[${index}]: ${failed.map((name) => `${name}: it has ${(selectors[name] as Selector<unknown>).has(device)}`).join("; ")}`;
  });
  if (misses.includes(null))
    return [`${owner?.spec.resource ?? "another pool"} stands before it in the file and took it`];
  return misses.filter((miss) => miss !== null);
}
