// What is the kubelet sent of a pool? The list of its devices, as ListAndWatch sends it.

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

/** Whether two lists have the same devices in the same order. */
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

/** The size of a device in the list's message in bytes, when it is not healthy, to within a few bytes. */
const bytesOf = ({ ID, topology }: Device): number => Buffer.byteLength(ID) + "Unhealthy".length + (topology ? 12 : 6);

/** The size of the list's message in bytes, to within a few bytes a device; health does not count, since it changes. */
export const listBytes = (devices: readonly Device[]): number =>
  devices.reduce((sum, device) => sum + bytesOf(device), 0);

/**
 * As much of a list as a message may hold, in its order: devices of the lower ranks before those of the higher, those of one
 * rank in the order of the list. What is left out is not offered.
 */
export function truncateToBytes(
  devices: readonly Device[],
  most: number,
  rank: (id: string) => number,
): readonly Device[] {
  if (listBytes(devices) <= most) return devices;
  let room = most;
  const chosen = new Set<Device>();
  for (const device of devices.toSorted((a, b) => rank(a.ID) - rank(b.ID))) {
    room -= bytesOf(device);
    if (room < 0) break;
    chosen.add(device);
  }
  return devices.filter((device) => chosen.has(device));
}
