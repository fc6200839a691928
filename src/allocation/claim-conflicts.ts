// May a claim have the devices that it was allocated? The scheduler says so; this is the last line of defence against one device in two
// pods, and against a device of another node or without what makes it usable. Pure.

import { isPoolOfNode } from "../pools/dra-names.ts";
import { unhealthyReason } from "../pools/health.ts";
import { sliceDeviceName } from "../pools/names.ts";
import type { AllocatedClaim, ClaimedDevice, ClaimRecord } from "./claim.ts";

/** The driver and the node that claims are prepared for. */
export interface ClaimPlace {
  readonly driver: string;
  readonly node: string;
}

/**
 * Why the results of an allocation are none to prepare here, as a sentence; null when they are. A pod that was bound to its node by
 * hand may share a claim that was allocated on another node, where the same PCI address is another device.
 */
export function refuseResults({ results }: AllocatedClaim, { driver, node }: ClaimPlace): string | null {
  const own = results.filter((result) => result.driver === driver);
  if (own.length === 0) return `the claim has no device of driver ${driver}`;
  const foreign = own.find(({ pool }) => !isPoolOfNode(pool, node));
  if (!foreign) return null;
  return `device ${JSON.stringify(foreign.device)} of pool ${JSON.stringify(foreign.pool)} is not on node ${node}`;
}

/**
 * Why devices must not be handed out, as a sentence; null when they may. `heldElsewhere` names the pod that has a device from the
 * device plugin or another driver; null for none. Devices with adminAccess are handed out in any case.
 *
 * A link that is down is no reason: the device's taint keeps the scheduler from it, a pod that tolerates the taint requests it
 * knowingly, and a pod whose link went down after scheduling would wait in ContainerCreating, bound to this device, until the link is
 * back. A device without its driver or device node is refused: the container would start without what it needs. So is one that its
 * pool no longer selects.
 */
export function refuseDevices(
  claimed: readonly ClaimedDevice[],
  heldElsewhere: (id: string) => string | null,
): string | null {
  for (const { id, claim, spec, result } of claimed) {
    if (result.adminAccess) continue;
    const pod = heldElsewhere(id);
    if (pod !== null)
      return `device ${id} is held by pod ${pod}, which got it from the device plugin or another driver, until that pod ends`;
    const reason = unhealthyReason(claim, { linkHealth: false });
    if (reason !== null) return `device ${id} of ${spec.resource} can't be used: ${reason}`;
  }
  return null;
}

/** A device that is prepared for another claim. */
export interface ClaimConflict {
  readonly id: string;
  readonly holder: ClaimRecord;
}

/** The first device that is prepared for another claim than this one; null when there is none. adminAccess conflicts with nothing. */
export function claimConflict(
  uid: string,
  claimed: readonly ClaimedDevice[],
  records: readonly ClaimRecord[],
): ClaimConflict | null {
  const used = new Set(claimed.filter(({ result }) => !result.adminAccess).map(({ id }) => id));
  for (const holder of records) {
    const device = holder.uid === uid ? undefined : holder.devices.find(({ id }) => used.has(id));
    if (device) return { id: device.id, holder };
  }
  return null;
}

/**
 * What keeps a claim from its devices though it is prepared no more: `reserved` are the records of claims that were unprepared while a
 * pod of theirs runs. The claim itself may get the same devices again, but not others, since it has one record.
 */
export function reservedConflict(
  uid: string,
  claimed: readonly ClaimedDevice[],
  reserved: readonly ClaimRecord[],
): ClaimConflict | null {
  const used = new Set(claimed.filter(({ result }) => !result.adminAccess).map(({ id }) => id));
  for (const holder of reserved) {
    const device = holder.devices.find(({ id }) => used.has(id) !== (holder.uid === uid));
    if (device) return { id: device.id, holder };
  }
  return null;
}

/**
 * Whether the claim that a device is prepared for still has it. `found` is that claim as it is now: null when it is gone or not
 * allocated. A claim whose unprepare was lost is one that does not.
 */
export const isStillAllocated = (
  { id, holder }: ClaimConflict,
  found: AllocatedClaim | null,
  { driver, node }: ClaimPlace,
): boolean =>
  found !== null &&
  found.uid === holder.uid &&
  found.results.some(
    (result) =>
      result.driver === driver &&
      result.device === sliceDeviceName(id) &&
      isPoolOfNode(result.pool, node) &&
      !result.adminAccess,
  );
