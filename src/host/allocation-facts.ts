// By which nodes is one device used right now? Read again at every Allocate, for the requested devices only: numbers
// of VFIO, UIO and RDMA nodes change when a device is bound again or is returned by a pod.

import { busDevice } from "./node-paths.ts";
import { listDirectory } from "../../native/files.ts";
import type { Device, Vdpa, Vfio, CharDevice } from "./device.ts";
import { readHiddenRdmaNames, type RdmaNode, readRdmaNames, readRdmaNodes } from "./rdma-devices.ts";
import { readIommufd, readUio, readVdpa, readVfio, readVhostNet } from "./userspace.ts";

/** Everything that a container may be given of a device. */
export interface AllocationFacts {
  readonly vfio: Vfio | null;
  readonly uio: CharDevice | null;
  readonly vdpa: Vdpa | null;
  readonly rdma: { readonly names: readonly string[]; readonly nodes: readonly RdmaNode[] };
  readonly vhostNet: boolean;
  readonly iommufd: boolean;
}

/** What is needed beside the device's own nodes; what is not needed is not read. */
export interface NeededFacts {
  readonly rdma: boolean;
  readonly vhostNet: boolean;
  readonly iommufd: boolean;
}

/** Reads the allocation facts of a device below `root`; throws when its function has left. */
export function readAllocationFacts(root: string, device: Device, needed: NeededFacts): AllocationFacts {
  const folder = busDevice(root, device.bus, device.id);
  const names = listDirectory(folder);
  if (!names) throw new Error(`device ${device.id} has left the node (${folder} is gone)`);
  const here = { folder, entries: new Set(names) };
  const seen = needed.rdma ? readRdmaNames(here) : [];
  const rdmaNames = needed.rdma && seen.length === 0 ? readHiddenRdmaNames(here) : seen;
  return {
    vfio: device.bus === "pci" ? readVfio(root, here, device.driver) : null,
    uio: device.bus === "pci" ? readUio(root, here) : null,
    vdpa: device.vdpa && readVdpa(root, device.vdpa.name),
    rdma: { names: rdmaNames, nodes: needed.rdma ? readRdmaNodes(root, here, rdmaNames) : [] },
    // As the upstream plugin, both or none: a program that is given one of them fails later, and elsewhere.
    vhostNet: needed.vhostNet && readVhostNet(root).every(({ present }) => present !== false),
    iommufd: needed.iommufd && readIommufd(root),
  };
}
