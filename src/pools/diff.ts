// What changed since the last scan? Running pools against desired ones give effects, and devices that go from one pool to another.

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
  const configured = new Set(desired.map((pool) => pool.spec.resource));
  const stops = [...running.keys()]
    .filter((resource) => !configured.has(resource))
    .map((resource): Effect => ({ kind: "stop", resource }));
  const changes = desired.flatMap((pool): Effect[] => {
    const before = running.get(pool.spec.resource);
    if (!before) return pool.claims.size === 0 ? [] : [{ kind: "start", pool }];
    return equal(before, pool) ? [] : [{ kind: "update", pool }];
  });
  return [...stops, ...changes];
}

/** Effects in a safe order: pools that lose devices come first. */
export function inSafeOrder(effects: readonly Effect[], running: ReadonlyMap<string, Pool>): Effect[] {
  const loses = (effect: Effect) => {
    if (effect.kind !== "update") return effect.kind === "stop";
    const before = running.get(effect.pool.spec.resource)?.claims;
    return before !== undefined && [...before.keys()].some((id) => !effect.pool.claims.has(id));
  };
  return [...effects.filter(loses), ...effects.filter((effect) => !loses(effect))];
}

/** A device that goes from one pool to another. */
export interface Move {
  readonly id: string;
  /** The resources that lose and that gain it. */
  readonly from: string;
  readonly to: string;
}

/** The devices that are in another pool than in the one that serves them. */
export function movesBetween(running: ReadonlyMap<string, Pool>, desired: readonly Pool[]): Move[] {
  const places = new Map(
    [...running].flatMap(([resource, { claims }]) => [...claims.keys()].map((id) => [id, resource] as const)),
  );
  return desired.flatMap(({ spec: { resource }, claims }) =>
    [...claims.keys()].flatMap((id): Move[] => {
      const from = places.get(id);
      return from === undefined || from === resource ? [] : [{ id, from, to: resource }];
    }),
  );
}

/** A pool without the devices that it is to lose: what it serves before it gains any. */
export const withoutLost = (before: Pool, after: Pool): Pool => ({
  ...before,
  claims: new Map([...before.claims].filter(([id]) => after.claims.has(id))),
  unhealthy: new Map([...before.unhealthy].filter(([id]) => after.claims.has(id))),
});

/** A pool that gains nothing yet: the devices that it has and keeps, with their health of now. */
export const withoutGained = (before: Pool, after: Pool): Pool => {
  const { claims } = withoutLost(before, after);
  return { ...before, claims, unhealthy: new Map([...after.unhealthy].filter(([id]) => claims.has(id))) };
};

/** The moves whose loss the kubelet has not seen, by the devices that it has registered of each resource. */
export const unseenMoves = (
  moves: readonly Move[],
  registered: ReadonlyMap<string, ReadonlySet<string>>,
): readonly Move[] => moves.filter(({ id, from }) => registered.get(from)?.has(id) === true);
