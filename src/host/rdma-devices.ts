// Which RDMA devices does a function have, and by which character devices are they used? From sysfs alone: the device
// folders of the function hold them all (drivers/infiniband/core/device.c, uverbs_main.c, user_mad.c).

import { commonNodes, deviceNode } from "./node-paths.ts";
import { listDirectory, readAttribute } from "../../native/files.ts";
import type { InfinibandState } from "./device.ts";
import { orUnknown } from "./read-problem.ts";
import { charDevice, type Folder } from "./userspace.ts";

/** A character device of an RDMA device: its kind, as the key in INFO, and its path. */
export interface RdmaNode {
  readonly kind: "ucm" | "issm" | "umad" | "uverbs" | "rdma_cm";
  readonly path: string;
}

/** The RDMA devices of a function that the host sees now, sorted. */
export function readRdmaNames({ folder, entries }: Folder): readonly string[] {
  return entries.has("infiniband") ? (listDirectory(`${folder}/infiniband`) ?? []) : [];
}

/**
 * The RDMA devices of a function that are in another network namespace, sorted: their own folder is empty then, those of
 * their character devices are not (drivers/infiniband/core/uverbs_main.c: the class is of no namespace).
 */
export function readHiddenRdmaNames({ folder, entries }: Folder): readonly string[] {
  if (!entries.has("infiniband") || !entries.has("infiniband_verbs")) return [];
  const verbs = `${folder}/infiniband_verbs`;
  const names = (listDirectory(verbs) ?? []).flatMap((node) => readAttribute(`${verbs}/${node}/ibdev`) ?? []);
  return [...new Set(names)].toSorted();
}

/** Where each kind of node is found, in the order in which they are handed out. */
const kinds = [
  { kind: "ucm", subsystem: "infiniband_cm" },
  { kind: "issm", subsystem: "infiniband_mad" },
  { kind: "umad", subsystem: "infiniband_mad" },
  { kind: "uverbs", subsystem: "infiniband_verbs" },
] as const;

/**
 * Reads the character devices of a function's RDMA devices, device by device, each kind at most once per device.
 *
 * Numbers may change when a device goes to a network namespace and comes back, so they are read when needed and
 * never kept.
 */
export function readRdmaNodes(root: string, { folder, entries }: Folder, names: readonly string[]): RdmaNode[] {
  const listings = new Map<string, readonly string[]>();
  for (const { subsystem } of kinds) {
    if (!listings.has(subsystem) && entries.has(subsystem)) {
      listings.set(subsystem, listDirectory(`${folder}/${subsystem}`) ?? []);
    }
  }
  const nodes: RdmaNode[] = [];
  for (const name of names) {
    for (const { kind, subsystem } of kinds) {
      const node = (listings.get(subsystem) ?? []).find(
        (entry) => entry.startsWith(kind) && readAttribute(`${folder}/${subsystem}/${entry}/ibdev`) === name,
      );
      if (node !== undefined) nodes.push({ kind, path: deviceNode(`infiniband/${node}`) });
    }
    const shared = commonNodes.rdmaCm;
    if (charDevice(root, shared, "misc/rdma_cm").present) nodes.push({ kind: "rdma_cm", path: shared });
  }
  return nodes;
}

/** Reads the P_Key at index 0 of port 1 of an RDMA device, as "0x7fff"; null when it has none. */
export function readPKey({ folder }: Folder, name: string): string | null {
  return readAttribute(`${folder}/infiniband/${name}/ports/1/pkeys/0`);
}

/** A port of an RDMA device. */
export interface RdmaPort {
  readonly rdma: string;
  readonly number: number;
}

/**
 * The InfiniBand ports of a function's RDMA devices, of which `state` shows whether they carry traffic: with an Ethernet port (RoCE)
 * the interface does. Documentation/ABI/stable/sysfs-class-infiniband; the answer of link_layer does not change while the device is
 * there, and needs no question to the NIC.
 */
export function readInfinibandPorts({ folder }: Folder, names: readonly string[]): RdmaPort[] {
  return names.flatMap((rdma) => {
    const ports = `${folder}/infiniband/${rdma}/ports`;
    return (orUnknown(() => listDirectory(ports)) ?? []).flatMap((name) => {
      const number = Number(name);
      const layer = orUnknown(() => readAttribute(`${ports}/${name}/link_layer`));
      const isInfiniband = Number.isInteger(number) && layer === "InfiniBand";
      return isInfiniband ? [{ rdma, number }] : [];
    });
  });
}

const states: ReadonlySet<string> = new Set([
  "DOWN",
  "INIT",
  "ARMED",
  "ACTIVE",
  "ACTIVE_DEFER",
] satisfies InfinibandState[]);

/**
 * Reads the state of an InfiniBand port, "4: ACTIVE" (state_show in drivers/infiniband/core/sysfs.c). The driver queries the NIC and may
 * be slow. Null when it can't be read, or is not a state.
 */
export function readPortState({ folder }: Folder, { rdma, number }: RdmaPort): InfinibandState | null {
  // A driver in recovery refuses with EIO, EAGAIN, ETIMEDOUT: not worth a warning each time.
  const text = orUnknown(() => readAttribute(`${folder}/infiniband/${rdma}/ports/${number}/state`));
  const word = /^\d+: ([A-Z_]+)$/.exec(text ?? "")?.[1] ?? "";
  return states.has(word) ? (word as InfinibandState) : null;
}

/** The GUID that all functions of a NIC share; null when its RDMA devices are not visible (ib_device_attr; no question to the NIC). */
export const readSystemImageGuid = ({ folder }: Folder, name: string): string | null =>
  readAttribute(`${folder}/infiniband/${name}/sys_image_guid`);
