// What does the scheduler see of a device? One row an attribute. Pure.

import type { Device } from "../host/device.ts";
import { apiLimits, bytesOf } from "./api-names.ts";

/** An attribute's value (resource.k8s.io/v1, DeviceAttribute). */
export type DeviceAttribute = { readonly string: string } | { readonly int: number } | { readonly bool: boolean };

/**
 * Which attributes are published. "default": those that scheduling and multus need; each costs the scheduler of a large fleet
 * hundreds of MiB. "extended": also those of dra-driver-sriov, under its names where they mean the same, so that CEL expressions
 * written for it can be used.
 */
export const attributeSets = ["default", "extended"] as const;
export type AttributeSet = (typeof attributeSets)[number];

interface Row {
  readonly set: AttributeSet;
  readonly value: (device: Device, resource: string) => DeviceAttribute | null;
}

// The API refuses the whole slice for one value that is too long.
const text = (value: string | null): DeviceAttribute | null =>
  value === null || bytesOf(value) > apiLimits.attributeValue ? null : { string: value };

const integer = (value: number | null): DeviceAttribute | null => (value === null ? null : { int: value });

const isVf = ({ bus, pf }: Device): boolean => bus === "pci" && pf !== null;

/** dra-driver-sriov's names of link types (pkg/consts). */
const linkTypes: Readonly<Record<string, string>> = { ether: "ethernet", infiniband: "infiniband" };

/**
 * Every attribute by its qualified name; one without a domain is in the driver's. The default ones never change while a device is
 * there, so that no pod's start or end rewrites a slice. None is a capacity: no fact of a device is a quantity that pods share.
 */
export const attributes = {
  // k8s.io/dynamic-resource-allocation/deviceattribute
  "resource.kubernetes.io/pciBusID": {
    set: "default",
    value: ({ bus, pci }) => (bus === "pci" ? text(pci) : null),
  },
  "resource.kubernetes.io/pcieRoot": { set: "default", value: ({ pcieRoot }) => text(pcieRoot) },
  "resource.kubernetes.io/numaNode": { set: "default", value: ({ numaNode }) => integer(numaNode) },
  // multus, pkg/draclient: the deviceID that a CNI receives, and the resource of a NetworkAttachmentDefinition.
  "k8s.cni.cncf.io/deviceID": { set: "default", value: ({ id }) => text(id) },
  "k8s.cni.cncf.io/resourceName": { set: "default", value: (_, resource) => text(resource) },
  // dra-driver-sriov, pkg/consts and pkg/devicestate/discovery.go. Its pfDeviceID is missing: no fact has it.
  resourceName: { set: "extended", value: (_, resource) => text(resource) },
  pciAddress: { set: "extended", value: ({ bus, pci }) => (bus === "pci" ? text(pci) : null) },
  PFName: { set: "extended", value: ({ pf }) => text(pf?.interfaceName ?? null) },
  pfPciAddress: { set: "extended", value: ({ pf }) => text(pf?.address ?? null) },
  vfID: { set: "extended", value: (device) => (isVf(device) ? integer(device.functionIndex) : null) },
  vendor: { set: "extended", value: ({ vendor }) => text(vendor) },
  deviceID: { set: "extended", value: ({ product }) => text(product) },
  EswitchMode: { set: "extended", value: ({ pf }) => text(pf && (pf.isSwitchdev ? "switchdev" : "legacy")) },
  linkType: { set: "extended", value: ({ linkType }) => text(linkType && (linkTypes[linkType] ?? "unknown")) },
  rdmaCapable: { set: "extended", value: ({ rdma }) => ({ bool: rdma !== null }) },
  "dra.net/numaNode": { set: "extended", value: ({ numaNode }) => integer(numaNode) },
  // sriovdp's own.
  driver: { set: "extended", value: ({ driver }) => text(driver) },
  sfNumber: { set: "extended", value: ({ bus, functionIndex }) => (bus === "pci" ? null : integer(functionIndex)) },
} as const satisfies Record<string, Row>;

/** The attributes of a device that is published under a resource; those that do not apply are missing. */
export function attributesOf(device: Device, resource: string, set: AttributeSet): Record<string, DeviceAttribute> {
  const rows = Object.entries(attributes as Readonly<Record<string, Row>>);
  return Object.fromEntries(
    rows.flatMap(([name, row]) => {
      const value = set === "extended" || row.set === "default" ? row.value(device, resource) : null;
      return value === null ? [] : [[name, value]];
    }),
  );
}
