// ResourceSlices of made-up devices, and what the API server has after they are written.

import { expect } from "bun:test";
import { type ResourceSlice, resourceSlices } from "../../src/dra/resource-slice.ts";
import { type DesiredSlice, type SliceContext, sliceWrites } from "../../src/dra/slices.ts";
import type { Device } from "../../src/host/device.ts";
import type { Pool, PoolSpec } from "../../src/pools/pool.ts";
import { aClaim, aDevice, aParent, aSpec, pciAddress } from "./device.ts";
import { sliceProblems } from "./resource-api.ts";

/** Of a node without devices held elsewhere. */
export const context: SliceContext = {
  driver: "sriovdp.example.com",
  node: { name: "node-a", uid: "3f2c1a00-0000-4000-8000-000000000001" },
  attributes: "default",
  hasTaints: true,
  heldElsewhere: new Set(),
};

/** A pool with these devices, some of them Unhealthy. */
export const aPool = (
  devices: readonly Device[],
  unhealthy: readonly string[] = [],
  spec: Partial<PoolSpec> = {},
): Pool => ({
  spec: aSpec(spec),
  claims: new Map(devices.map((device) => [device.id, aClaim(device)])),
  unhealthy: new Map(unhealthy.map((id) => [id, "the link of its PF is down"])),
});

/** VF `index` of the PF at 0000:3b:00.0, or of another one. */
export function aVf(index: number, pf = "0000:3b:00.0"): Device {
  const id = `${pf.slice(0, -4)}${(2 + (index >> 3)).toString(16).padStart(2, "0")}.${index & 7}`;
  return aDevice({ id, pci: pciAddress(id), functionIndex: index, pf: aParent({ address: pciAddress(pf) }) });
}

/** The first VFs of a PF. */
export const vfs = (count: number, pf?: string) => Array.from({ length: count }, (_, index) => aVf(index, pf));

/** What the API server has after the writes; each of them is one that it takes. */
export function written(
  found: readonly ResourceSlice[],
  desired: readonly DesiredSlice[],
  own: SliceContext = context,
): ResourceSlice[] {
  const now = new Map(found.map((slice) => [slice.metadata.name, slice]));
  for (const { action, slice } of sliceWrites(desired, found, own)) {
    const { name } = slice.metadata;
    const before = now.get(name);
    if (action === "delete") {
      expect(now.delete(name)).toBe(true);
      continue;
    }
    expect(before === undefined).toBe(action === "create");
    expect(sliceProblems(slice, before)).toEqual([]);
    now.set(name, served(slice));
  }
  return [...now.values()];
}

let version = 0;

/** The slice as the API server gives it after a write. */
export function served(slice: ResourceSlice): ResourceSlice {
  const devices = (slice.spec.devices ?? []).map((device) => ({
    ...device,
    ...(device.taints && { taints: device.taints.map((taint) => ({ timeAdded: "2026-11-28T09:00:00Z", ...taint })) }),
  }));
  const metadata = {
    uid: "3f2c1a00-0000-4000-8000-00000000000a",
    ...slice.metadata,
    resourceVersion: String(++version),
    managedFields: [{ manager: "sriovdp" }],
  };
  return resourceSlices.parse(JSON.parse(JSON.stringify({ ...slice, metadata, spec: { ...slice.spec, devices } })));
}
