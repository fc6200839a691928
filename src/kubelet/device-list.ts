// What does the kubelet hear of a pool? The list of its devices, as ListAndWatch sends it.

import type { Pool } from "../pools/pool.ts";
import type { Device } from "./api/deviceplugin.ts";

/** The list of a pool: ids, health, and the NUMA node unless the pool excludes topology. */
export function deviceList(pool: Pool): Device[] {
  return [...pool.claims.values()].map(({ device: { id, numaNode } }) => ({
    ID: id,
    health: pool.unhealthy.has(id) ? "Unhealthy" : "Healthy",
    topology: numaNode === null || pool.spec.excludeTopology ? undefined : { nodes: [{ ID: numaNode }] },
  }));
}

/** Tells whether two lists say the same, in the same order. */
export function sameList(a: readonly Device[], b: readonly Device[]): boolean {
  return (
    a.length === b.length &&
    a.every((device, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        device.ID === other.ID &&
        device.health === other.health &&
        device.topology?.nodes[0]?.ID === other.topology?.nodes[0]?.ID
      );
    })
  );
}

/** The size of the list's message in bytes, to within a few bytes a device. */
export const listBytes = (devices: readonly Device[]): number =>
  devices.reduce(
    (sum, { ID, health, topology }) => sum + Buffer.byteLength(ID) + health.length + (topology ? 12 : 6),
    0,
  );
