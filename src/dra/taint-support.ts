// Does the API server keep taints of devices? Before 1.36 the feature is off, and they are dropped without a word. A slice that is
// only validated and not stored (dryRun=All) shows it. Pure.

import type { Pool } from "../pools/pool.ts";
import { apiLimits, shortened } from "./api-names.ts";
import type { ResourceSlice } from "./resource-slice.ts";
import type { SliceContext } from "./slices.ts";

/** Whether some device would need a taint. */
export const needsTaints = (pools: readonly Pool[], heldElsewhere: ReadonlySet<string>): boolean =>
  pools.some(({ claims, unhealthy }) => [...claims.keys()].some((id) => unhealthy.has(id) || heldElsewhere.has(id)));

/** Whether a slice has a taint: the API server that has it keeps them. */
export const isTainted = ({ spec }: ResourceSlice): boolean =>
  (spec.devices ?? []).some(({ taints = [] }) => taints.length > 0);

/** Whether an API server dropped all taints of a slice that it received: the feature is off there, as before 1.36. */
export const dropsTaints = (sent: ResourceSlice, received: ResourceSlice): boolean =>
  isTainted(sent) && !isTainted(received);

/** A slice with a taint, to be validated and not stored. */
export function taintProbe({ driver, node }: Pick<SliceContext, "driver" | "node">): ResourceSlice {
  const name = shortened(`${node.name}-${driver}-taint-probe`, apiLimits.objectName);
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name },
    spec: {
      driver,
      nodeName: node.name,
      pool: {
        name: `${shortened(node.name, apiLimits.poolName - 12)}/taint-probe`,
        generation: 1,
        resourceSliceCount: 1,
      },
      devices: [{ name: "probe", attributes: {}, taints: [{ key: `${driver}/unhealthy`, effect: "NoSchedule" }] }],
    },
  };
}
