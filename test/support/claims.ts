// Claims of a DRA driver to test with, and the pools of node-a that they are allocated from.

import type { AllocatedClaim, AllocationResult } from "../../src/allocation/claim.ts";
import type { AllocationFacts } from "../../src/host/allocation-facts.ts";
import type { Device } from "../../src/host/device.ts";
import { sliceDeviceName } from "../../src/pools/names.ts";
import type { Pool, PoolSpec } from "../../src/pools/pool.ts";
import { aCharDevice, aClaim, aDevice, aSpec, pciAddress, someFacts } from "./device.ts";

export const driver = "sriovdp.example.com";
export const node = "node-a";
export const uid = "7d0e3a52-8f0d-4a51-9d3b-0f1f2d3c4b5a";

/** A pool of this resource, all devices of it Healthy. */
export const aPool = (resource: string, devices: readonly Device[], own: Partial<PoolSpec> = {}): Pool => {
  const [prefix = "", name = ""] = resource.split("/");
  return {
    spec: aSpec({ prefix, name, ...own }),
    claims: new Map(devices.map((device) => [device.id, aClaim(device)])),
    unhealthy: new Map(),
  };
};

export const aVf = (index: number, own: Partial<Device> = {}): Device => {
  const id = `0000:3b:02.${index}`;
  return aDevice({ id, pci: pciAddress(id), functionIndex: index, ...own });
};

/** The ids of VFs, joined by commas. */
export const ids = (...indexes: readonly number[]) => indexes.map((index) => aVf(index).id).join(",");

/** VFs 0 to 2. */
export const net = aPool("intel.com/net", [aVf(0), aVf(1), aVf(2)]);

/** VFs 4 and 5, which have VFIO nodes. */
export const dpdk = aPool("intel.com/dpdk", [aVf(4), aVf(5)]);

export const pools = [net, dpdk];

/** A device of node-a that was allocated for a request. */
export const aResult = (request: string, device: string, own: Partial<AllocationResult> = {}): AllocationResult => ({
  request,
  driver,
  pool: `${node}/0000-3b-00.0`,
  device: sliceDeviceName(device),
  adminAccess: false,
  shareId: null,
  ...own,
});

export const claimOf = (...results: readonly AllocationResult[]): AllocatedClaim => ({
  uid,
  namespace: "default",
  name: "pod-nics",
  pods: [{ name: "pod", uid: "uid-of-pod" }],
  results,
});

/** Devices of intel.com/dpdk have a VFIO node, all others none. */
export const factsOf = (id: string): AllocationFacts => {
  const group = id.slice(-1);
  if (!dpdk.claims.has(id)) return someFacts();
  return someFacts({ vfio: { group, noIommu: false, node: aCharDevice(`/dev/vfio/${group}`), cdev: null } });
};
