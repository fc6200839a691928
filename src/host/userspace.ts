// By which character device does a program open the function? VFIO (group, no-IOMMU, cdev), UIO and vhost-vdpa nodes.

import { exists, listDirectory, readAttribute, readLinkName } from "../../native/files.ts";
import type { CharDevice, PciAddress, Vdpa, Vfio } from "./device.ts";

/** A function's folder below the root, and the names in it. */
export interface Folder {
  readonly folder: string;
  readonly entries: ReadonlySet<string>;
}

/** A node is there when /dev has it, or when its class does: the plugin may not see the host's /dev. */
function charDevice(root: string, path: string, classPath: string): CharDevice {
  return { path, present: exists(root + path) || exists(`${root}/sys/class/${classPath}`) };
}

/** Numbers in names count as numbers: vfio9 before vfio10. */
const first = (names: readonly string[] | null): string | null =>
  names?.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))[0] ?? null;

/**
 * Reads how a function that is bound to a VFIO driver is opened; null when it is not.
 *
 * Any driver that makes a vfio-dev entry is one (vfio-pci, mlx5_vfio_pci, …); kernels before 6.1 make none, there the
 * driver's name tells. drivers/vfio/group.c names the nodes, CONFIG_VFIO_DEVICE_CDEV adds the cdev's `dev` file.
 */
export function readVfio(root: string, { folder, entries }: Folder, driver: string | null): Vfio | null {
  if (!entries.has("vfio-dev") && !/(^|[-_])vfio([-_]|$)/.test(driver ?? "")) return null;
  const group = entries.has("iommu_group") ? readLinkName(`${folder}/iommu_group`) : null;
  const noIommu = group !== null && readAttribute(`${folder}/iommu_group/name`) === "vfio-noiommu";
  const node = group === null ? null : (noIommu ? "noiommu-" : "") + group;
  const cdev = entries.has("vfio-dev") ? first(listDirectory(`${folder}/vfio-dev`)) : null;
  return {
    group,
    noIommu,
    node: node === null ? null : charDevice(root, `/dev/vfio/${node}`, `vfio/${node}`),
    cdev:
      cdev !== null && exists(`${folder}/vfio-dev/${cdev}/dev`)
        ? charDevice(root, `/dev/vfio/devices/${cdev}`, `vfio-dev/${cdev}/dev`)
        : null,
  };
}

/** Reads the IOMMU group of a PCI function, whatever drives it; null when it has none. */
export const readIommuGroup = (root: string, pci: PciAddress): string | null =>
  readLinkName(`${root}/sys/bus/pci/devices/${pci}/iommu_group`);

/** Reads the UIO node of a function; null when it has none (drivers/uio/uio.c). */
export function readUio(root: string, { folder, entries }: Folder): CharDevice | null {
  const name = entries.has("uio") ? first(listDirectory(`${folder}/uio`)) : null;
  return name === null ? null : charDevice(root, `/dev/${name}`, `uio/${name}`);
}

/**
 * Reads what a vDPA device is bound to (drivers/vdpa/vdpa.c): vhost_vdpa makes a node, virtio_vdpa a virtio device.
 */
export function readVdpa(root: string, name: string): Vdpa {
  const folder = `${root}/sys/bus/vdpa/devices/${name}`;
  const driver = readLinkName(`${folder}/driver`);
  if (driver === "virtio_vdpa") return { name, type: "virtio", node: null };
  if (driver !== "vhost_vdpa") return { name, type: null, node: null };
  const node = (listDirectory(folder) ?? []).find((entry) => entry.startsWith("vhost-vdpa"));
  return {
    name,
    type: "vhost",
    node: node === undefined ? null : charDevice(root, `/dev/${node}`, `vhost-vdpa/${node}`),
  };
}

/** Tells whether the node offers /dev/vhost-net and /dev/net/tun, which are handed out both or not at all. */
export function readVhostNet(root: string): boolean {
  return (
    charDevice(root, "/dev/vhost-net", "misc/vhost-net").present && charDevice(root, "/dev/net/tun", "misc/tun").present
  );
}

/** Tells whether the node offers /dev/iommu (drivers/iommu/iommufd). */
export const readIommufd = (root: string): boolean => charDevice(root, "/dev/iommu", "misc/iommu").present;
