// What does a word of the operator name? A device by its id, PCI address, interface or RDMA device; or a pool.

import { didYouMean } from "../config/problem.ts";
import type { Device } from "../host/device.ts";
import type { Pool } from "../pools/pool.ts";

/** What a word names; nothing when both lists are empty. */
export interface Named {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
}

/** The names of a device, the one that the kubelet knows first; "3b:02.1" is short for "0000:3b:02.1", as for lspci. */
const namesOf = ({ id, interfaces, rdma }: Device): string[] => [
  id,
  ...(id.startsWith("0000:") ? [id.slice("0000:".length)] : []),
  ...interfaces,
  ...(rdma?.names ?? []),
];

/** The names of a pool: the resource's full name, and the part that the config file gives. */
const poolNames = ({ spec }: Pool): string[] => [spec.resource, spec.name];

/** Every name that a device or a pool has, each once. */
export const allNames = (devices: readonly Device[], pools: readonly Pool[]): string[] => [
  ...new Set([...pools.flatMap(poolNames), ...devices.flatMap(namesOf)]),
];

/** Finds what a word names; addresses may be in upper case. */
export function named(word: string, devices: readonly Device[], pools: readonly Pool[]): Named {
  const isMeant = (name: string) => name === word || (name.includes(":") && name === word.toLowerCase());
  return {
    devices: devices.filter((device) => namesOf(device).some(isMeant)),
    pools: pools.filter((pool) => poolNames(pool).some(isMeant)),
  };
}

/** The name that was probably meant; null when none is near. */
export const nearMiss = (word: string, devices: readonly Device[], pools: readonly Pool[]): string | null =>
  didYouMean(word, allNames(devices, pools));
