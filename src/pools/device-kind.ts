// What is a device called? A function without SR-IOV counts as a PF.

import type { Device } from "../host/device.ts";

/** What a device can be. */
export const deviceKinds = ["PF", "VF", "SF", "auxiliary", "accelerator"] as const;
export type DeviceKind = (typeof deviceKinds)[number];

/** What a device is; a function without SR-IOV counts as a PF. */
export function kindOf({
  bus,
  auxType,
  pf,
  pciClass,
}: Pick<Device, "bus" | "auxType" | "pf" | "pciClass">): DeviceKind {
  if (bus === "auxiliary") return auxType === "sf" ? "SF" : "auxiliary";
  if (pf) return "VF";
  return pciClass === 0x12 ? "accelerator" : "PF";
}
