// What changed since the last look? Running pools against desired ones gives effects.

import type { Pool } from "./pool.ts";

export type Effect =
  | { readonly kind: "start"; readonly pool: Pool }
  | { readonly kind: "update"; readonly pool: Pool }
  | { readonly kind: "stop"; readonly resource: string };

/**
 * Compares the pools that are served with those that should be.
 *
 * A pool that never had a device is not started (as the upstream plugin: the resource is then absent from the node); one
 * that lost its last device goes on with an empty list, so that the kubelet keeps the resource at 0.
 */
export function diff(
  running: ReadonlyMap<string, Pool>,
  desired: readonly Pool[],
  equal: (a: Pool, b: Pool) => boolean,
): Effect[] {
  const wanted = new Set(desired.map((pool) => pool.spec.resource));
  const stops = [...running.keys()]
    .filter((resource) => !wanted.has(resource))
    .map((resource): Effect => ({ kind: "stop", resource }));
  const changes = desired.flatMap((pool): Effect[] => {
    const before = running.get(pool.spec.resource);
    if (!before) return pool.claims.size === 0 ? [] : [{ kind: "start", pool }];
    return equal(before, pool) ? [] : [{ kind: "update", pool }];
  });
  return [...stops, ...changes];
}
