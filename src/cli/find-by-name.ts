// What does a word of the operator name? A device by its id, PCI address, interface or RDMA device; a range of neighbors as the
// tables print it; the devices of a pod; or a pool.

import { didYouMean } from "../config/problem.ts";
import type { Device } from "../host/device.ts";
import type { Pool } from "../pools/pool.ts";
import type { AllocationStatus } from "../telemetry/plugin-status.ts";
import { span } from "./describe.ts";

/** Where names are searched. */
export interface Names {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
  /** Allocated devices by id. */
  readonly allocations: ReadonlyMap<string, Pick<AllocationStatus, "pod">>;
}

/** What a word names; nothing when both lists are empty. */
export interface Named {
  readonly devices: readonly Device[];
  readonly pools: readonly Pool[];
}

/** The names of a device, the kubelet's id first; "3b:02.1" is short for "0000:3b:02.1", as for lspci. */
const namesOf = ({ id, interfaces, rdma }: Device): string[] => [
  id,
  ...(id.startsWith("0000:") ? [id.slice("0000:".length)] : []),
  ...interfaces,
  ...(rdma?.names ?? []),
];

/** The names of a pool: the resource's full name, and the part that the config file gives. */
const poolNames = ({ spec }: Pool): string[] => [spec.resource, spec.name];

/** Every name that a device, a pool or a pod has, each once. */
export const allNames = ({ devices, pools, allocations }: Names): string[] => [
  ...new Set([
    ...pools.flatMap(poolNames),
    ...devices.flatMap(namesOf),
    ...[...allocations.values()].map(({ pod }) => pod).filter((pod) => pod !== ""),
  ]),
];

/** Addresses may be in upper case. */
const isMeant = (word: string) => (name: string) =>
  name === word || (name.includes(":") && name === word.toLowerCase());

/** Finds what a word names. */
export function named(word: string, names: Names): Named {
  const { devices, pools, allocations } = names;
  const found = {
    devices: devices.filter(
      (device) => namesOf(device).some(isMeant(word)) || (word !== "" && allocations.get(device.id)?.pod === word),
    ),
    pools: pools.filter((pool) => poolNames(pool).some(isMeant(word))),
  };
  return found.devices.length + found.pools.length > 0 ? found : { devices: inRange(word, devices), pools: [] };
}

/** The devices of a range as tables print it: "0000:3b:01.0-01.3", "ens1f0v0-3", or with both names in full. */
function inRange(word: string, devices: readonly Device[]): Device[] {
  // Names may have dashes themselves.
  for (let dash = word.indexOf("-"); dash > 0; dash = word.indexOf("-", dash + 1)) {
    const from = word.slice(0, dash);
    const to = word.slice(dash + 1);
    const first = devices.find((device) => namesOf(device).some(isMeant(from)));
    if (!first) continue;
    const neighbors = devices.filter(
      ({ pf, bus }) => pf !== null && pf.address === first.pf?.address && bus === first.bus,
    );
    const last = neighbors.find((device) =>
      namesOf(device).some(
        (name) => isMeant(to)(name) || isMeant(word)(span(from.toLowerCase(), name)) || span(from, name) === word,
      ),
    );
    const [start, end] = [first.functionIndex, last?.functionIndex ?? null];
    if (start === null || end === null || end < start) continue;
    return neighbors.filter(
      ({ functionIndex }) => functionIndex !== null && start <= functionIndex && functionIndex <= end,
    );
  }
  return [];
}

/** The name that was probably meant; null when none is near. */
export const nearMiss = (word: string, names: Names): string | null => didYouMean(word, allNames(names));
