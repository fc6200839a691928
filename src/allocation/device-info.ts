// What do multus and the CNIs read about an allocated device? One JSON file per device (device-info-spec 1.1.0).

import type { AllocationFacts } from "../host/allocation-facts.ts";
import { deviceTypes } from "../pools/device-types.ts";
import { deviceInfoName } from "../pools/names.ts";
import type { Claim, PoolSpec } from "../pools/pool.ts";

/** A file to be written: its name in the device-info folder, and its content. */
export interface DeviceInfoFile {
  readonly name: string;
  readonly content: string;
}

/** The device-info file of a claim; null for device types that have none. Keys are in the order of the spec. */
export function deviceInfoFile(claim: Claim, facts: AllocationFacts, spec: PoolSpec): DeviceInfoFile | null {
  if (!deviceTypes[spec.deviceType].deviceInfo) return null;
  const name = deviceInfoName(spec.resource, claim.device.id);
  const address = claim.device.pci;
  const { vdpa } = facts;
  if (claim.selectorObject.vdpaType && vdpa && vdpa.type !== null) {
    const path = vdpa.node === null ? {} : { path: vdpa.node.path };
    const body = { "parent-device": vdpa.name, driver: vdpa.type, ...path, "pci-address": address };
    return { name, content: JSON.stringify({ type: "vdpa", version: "1.1.0", vdpa: body }) };
  }
  const names = claim.selectorObject.isRdma === true ? facts.rdma.names : [];
  const rdma = names.length > 0 ? { "rdma-device": names.join(",") } : {};
  return { name, content: JSON.stringify({ type: "pci", version: "1.1.0", pci: { "pci-address": address, ...rdma } }) };
}
