// What did the last look know that this one can't see? Facts are hidden while a pod holds a device: its interface,
// or its RDMA device, is in the pod's network namespace.

import type { Device } from "../host/device.ts";

/**
 * Carries over what was seen before and can't be seen now, as long as the function is there with the same driver: a
 * device bound to another driver is another device.
 *
 * Not so RDMA devices: those in another namespace leave an empty folder that says so (see host/rdma.ts), and those that
 * were removed are gone.
 *
 * A function that left and came back is another one, whatever its id. What excludes a device is remembered by exclusions.ts.
 */
export function recall(now: Device, before: Device | undefined): Device {
  if (!before || before.driver !== now.driver || before.instance !== now.instance) return now;
  return {
    ...now,
    linkType: now.linkType ?? before.linkType,
    pKey: now.pKey ?? before.pKey,
    ddpProfile: now.ddpProfile ?? before.ddpProfile,
    pf: recallParent(now.pf, before.pf),
  };
}

function recallParent(now: Device["pf"], before: Device["pf"]): Device["pf"] {
  if (!now || !before || now.address !== before.address || now.interfaceName !== null) return now;
  return { ...now, interfaceName: before.interfaceName };
}

/** Recalls every device of a look from the one before; devices that left are forgotten. */
export function recallAll(now: readonly Device[], before: readonly Device[]): Device[] {
  const known = new Map(before.map((device) => [device.id, device]));
  return now.map((device) => recall(device, known.get(device.id)));
}
