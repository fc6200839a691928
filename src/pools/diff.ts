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

/** Effects in an order in which no two lists name a device at the same time: pools that lose devices come first. */
export function inSafeOrder(effects: readonly Effect[], running: ReadonlyMap<string, Pool>): Effect[] {
  const loses = (effect: Effect) => {
    if (effect.kind !== "update") return effect.kind === "stop";
    const before = running.get(effect.pool.spec.resource)?.claims;
    return before !== undefined && [...before.keys()].some((id) => !effect.pool.claims.has(id));
  };
  return [...effects.filter(loses), ...effects.filter((effect) => !loses(effect))];
}
