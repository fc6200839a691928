// The node and its pools as the running plugin has them: what explain and discover show, so that they agree with it. A value for JSON; nothing in it
// is a value of additionalInfo.

import type { Device } from "../host/device.ts";
import { namedForSelection } from "../pools/pf-names.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";
import type { FullStatus } from "./plugin-status.ts";

/** A pool for JSON: each claim with the index of the selector object that won it, -1 where none did. */
interface PoolView {
  readonly spec: PoolSpec;
  readonly claims: readonly (readonly [id: string, selector: number, basis: Claim["basis"]])[];
  readonly unhealthy: readonly (readonly [id: string, reason: string])[];
}

/** The node at one moment, for JSON. */
export interface NodeView {
  readonly devices: readonly Device[];
  readonly pools: readonly PoolView[];
}

/** What the running plugin answers at /node: the node, its pools, and its status at the same moment. */
export interface PluginView extends NodeView {
  readonly status: FullStatus;
}

/** Makes the view of these devices, and of the pools in the order of the config file. */
export const nodeViewOf = (devices: readonly Device[], pools: readonly Pool[]): NodeView => ({
  devices,
  pools: pools.map(({ spec, claims, unhealthy }) => ({
    spec: withoutValues(spec),
    claims: [...claims].map(
      ([id, { selectorObject, basis }]) => [id, spec.selectors.indexOf(selectorObject), basis] as const,
    ),
    unhealthy: [...unhealthy],
  })),
});

/** A pool spec without what may be secret. */
export const withoutValues = (spec: PoolSpec): PoolSpec => ({ ...spec, additionalInfo: null });

/** The pools of a view again, each claim with its device. */
export function poolsOf({ devices, pools }: NodeView): Pool[] {
  // As assignPools does: a claim has the name by which its PF was selected.
  const named = namedForSelection(
    pools.map(({ spec }) => spec),
    devices,
  );
  const known = new Map(named.map((device) => [device.id, device]));
  return pools.map(({ spec, claims, unhealthy }) => ({
    spec,
    claims: new Map(
      claims.flatMap(([id, selector, basis]) => {
        const device = known.get(id);
        return device ? [[id, { device, selectorObject: spec.selectors[selector] ?? {}, basis }] as const] : [];
      }),
    ),
    unhealthy: new Map(unhealthy),
  }));
}
