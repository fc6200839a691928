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
 * Reasons to keep a device for the host latch as long as the function is there at all: they must not lapse in the
 * instant in which a route is replaced, VFs are made anew, or the uplink's driver is bound anew and its addresses are
 * not yet back.
 */
export function recall(now: Device, before: Device | undefined): Device {
  if (!before) return now;
  const host = {
    defaultRoute: now.host.defaultRoute ?? before.host.defaultRoute,
    vfs: now.host.vfs || before.host.vfs,
  };
  if (before.driver !== now.driver) return { ...now, host };
  return {
    ...now,
    linkType: now.linkType ?? before.linkType,
    pKey: now.pKey ?? before.pKey,
    ddpProfile: now.ddpProfile ?? before.ddpProfile,
    pf: recallParent(now.pf, before.pf),
    host,
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
