// What may a pool be made of? One row per device type: its candidates, its selectors, how it is handed out.

import { counted } from "../text.ts";
import type { Device } from "../host/device.ts";
import type { SelectorName } from "./selectors.ts";

/** Why a device must not be offered: in a few words for tables, and as a sentence. */
export interface ExclusionReason {
  readonly brief: string;
  readonly sentence: string;
}

type ExclusionCheck = (device: Device) => ExclusionReason | null;

/** A device type of the config file. */
export interface DeviceType {
  readonly help: string;
  /** Whether the device is of this type. */
  readonly isOfType: (device: Device) => boolean;
  /** What can keep a device of this type from being offered at all. */
  readonly exclusionChecks: readonly ExclusionCheck[];
  readonly selectors: readonly SelectorName[];
  /** Selectors that are accepted, have no effect, and are warned about. */
  readonly ignoredSelectors: readonly SelectorName[];
  /** Selectors that must be there and not be empty. */
  readonly requiredSelectors: readonly SelectorName[];
  /** The class part of a CDI kind: "<prefix>/<class>". */
  readonly cdiClass: string;
  /** Whether Allocate writes device-info files for multus; as the upstream plugin, netDevice only. */
  readonly deviceInfo: boolean;
}

const identity = ["vendors", "devices", "drivers"] as const;
const parent = ["pfNames", "rootDevices", "linkTypes", "isRdma", "needVhostNet"] as const;

const unbound: ExclusionCheck = ({ driver }) =>
  driver === null ? { brief: "no driver", sentence: "no driver is bound to it" } : null;

// The upstream plugin's guard never fires (it expects a nil destination); this one also covers IPv6, bonds, bridges and vlans.
const neededByHost: ExclusionCheck = ({ host: { defaultRoute } }) =>
  defaultRoute === null
    ? null
    : {
        brief: `carries the default route (${defaultRoute})`,
        sentence: `the host's default route leaves through it (${defaultRoute})`,
      };

const mayBeNeededByHost: ExclusionCheck = ({ host: { awaitsRoute } }) =>
  awaitsRoute === true
    ? {
        brief: "no default route yet",
        sentence: "the node has just booted and has no default route yet, so this may become the host's uplink",
      }
    : null;

const ownsVfs: ExclusionCheck = ({ host: { vfs } }) =>
  vfs === 0 ? null : { brief: `PF with ${counted(vfs, "VF")}`, sentence: `it is a PF with ${counted(vfs, "VF")}` };

/** Every device type. */
export const deviceTypes = {
  netDevice: {
    help: "VFs and PFs of network controllers (PCI class 02)",
    isOfType: (d) => d.bus === "pci" && d.pciClass === 0x02,
    exclusionChecks: [neededByHost, mayBeNeededByHost, ownsVfs, unbound],
    selectors: [...identity, "pciAddresses", "acpiIndexes", ...parent, "ddpProfiles", "pKeys", "vdpaType"],
    ignoredSelectors: [],
    requiredSelectors: [],
    cdiClass: "net-pci",
    deviceInfo: true,
  },
  accelerator: {
    help: "Processing accelerators (PCI class 12)",
    isOfType: (d) => d.bus === "pci" && d.pciClass === 0x12,
    exclusionChecks: [unbound],
    selectors: [...identity, "pciAddresses", "acpiIndexes"],
    ignoredSelectors: [],
    requiredSelectors: [],
    cdiClass: "net-accel",
    deviceInfo: false,
  },
  auxNetDevice: {
    help: "Sub-functions: auxiliary devices of network controllers",
    isOfType: (d) => d.bus === "auxiliary" && d.pciClass === 0x02,
    exclusionChecks: [neededByHost, unbound],
    selectors: [...identity, "auxTypes", ...parent],
    ignoredSelectors: ["acpiIndexes"],
    requiredSelectors: ["auxTypes"],
    cdiClass: "net-sf",
    deviceInfo: false,
  },
} as const satisfies Record<string, DeviceType>;

export type DeviceTypeName = keyof typeof deviceTypes;
export const deviceTypeNames = Object.keys(deviceTypes) as readonly DeviceTypeName[];

/** The device type that a device is of; null when there is none for it. */
const typeOf = (device: Device): DeviceTypeName | null =>
  deviceTypeNames.find((name) => deviceTypes[name].isOfType(device)) ?? null;

/** Whether anything keeps a device of this type from being offered. */
export const isExcluded = (device: Device, { exclusionChecks }: DeviceType): boolean =>
  exclusionChecks.some((check) => check(device) !== null);

/** Why the host needs a device of this type, in a pool or not; null when it does not. A missing driver is not such a reason. */
export const hostExclusionOf = (device: Device, { exclusionChecks }: DeviceType): ExclusionReason | null =>
  exclusionChecks.filter((check) => check !== unbound).find((check) => check(device) !== null)?.(device) ?? null;

/** Every reason why a device is not offered; none when it may be, or when no device type has it. */
export function exclusionsOf(device: Device): ExclusionReason[] {
  const type = typeOf(device);
  if (type === null) return [];
  return deviceTypes[type].exclusionChecks.map((check) => check(device)).filter((exclusion) => exclusion !== null);
}
