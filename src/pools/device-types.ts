// What may a pool be made of? One row a device type: its candidates, its selectors, how it is handed out.

import type { Device } from "../host/device.ts";
import type { SelectorName } from "./selectors.ts";

/** A device type of the config file. */
export interface DeviceType {
  readonly help: string;
  /** Tells whether the device is of this type at all. */
  readonly isOne: (device: Device) => boolean;
  /** Why a device of this type must not be offered, as a sentence's end; null when it may. */
  readonly barred: (device: Device) => string | null;
  readonly selectors: readonly SelectorName[];
  /** Selectors that are accepted, have no effect, and are warned about. */
  readonly ignoredSelectors: readonly SelectorName[];
  /** Selectors that must be there and not be empty. */
  readonly requiredSelectors: readonly SelectorName[];
  /** The class part of a CDI kind: "<prefix>/<class>". */
  readonly cdiClass: string;
  /** Whether Allocate writes device-info files for multus; as the reference, netDevice only. */
  readonly deviceInfo: boolean;
}

const identity = ["vendors", "devices", "drivers"] as const;
const parent = ["pfNames", "rootDevices", "linkTypes", "isRdma", "needVhostNet"] as const;

const unbound = (device: Device) => (device.driver === null ? "no driver is bound to it" : null);

// The reference's guard never fires (it looks for a nil destination); ours also sees IPv6, bonds, bridges and vlans.
const neededByHost = (device: Device) =>
  device.host.defaultRoute === null ? null : `the host's default route leaves through it (${device.host.defaultRoute})`;

const ownsVfs = (device: Device) =>
  device.host.vfs === 0 ? null : `it is a PF with ${device.host.vfs} VF${device.host.vfs === 1 ? "" : "s"}`;

/** Every device type. */
export const deviceTypes = {
  netDevice: {
    help: "VFs and PFs of network controllers (PCI class 02)",
    isOne: (d) => d.bus === "pci" && d.pciClass === 0x02,
    barred: (d) => neededByHost(d) ?? ownsVfs(d) ?? unbound(d),
    selectors: [...identity, "pciAddresses", "acpiIndexes", ...parent, "ddpProfiles", "pKeys", "vdpaType"],
    ignoredSelectors: [],
    requiredSelectors: [],
    cdiClass: "net-pci",
    deviceInfo: true,
  },
  accelerator: {
    help: "Processing accelerators (PCI class 12)",
    isOne: (d) => d.bus === "pci" && d.pciClass === 0x12,
    barred: unbound,
    selectors: [...identity, "pciAddresses", "acpiIndexes"],
    ignoredSelectors: [],
    requiredSelectors: [],
    cdiClass: "net-accel",
    deviceInfo: false,
  },
  auxNetDevice: {
    help: "Sub-functions: auxiliary devices of network controllers",
    isOne: (d) => d.bus === "auxiliary" && d.pciClass === 0x02,
    barred: (d) => neededByHost(d) ?? unbound(d),
    selectors: [...identity, "auxTypes", ...parent],
    ignoredSelectors: ["acpiIndexes"],
    requiredSelectors: ["auxTypes"],
    cdiClass: "net-sf",
    deviceInfo: false,
  },
} as const satisfies Record<string, DeviceType>;

export type DeviceTypeName = keyof typeof deviceTypes;
export const deviceTypeNames = Object.keys(deviceTypes) as readonly DeviceTypeName[];
