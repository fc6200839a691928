// By which character device does a program open the function? VFIO (group, no-IOMMU, cdev), UIO and vhost-vdpa nodes.

import { busDevice, classPath, commonNodes, deviceNode } from "./node-paths.ts";
import { exists, listDirectory, readAttribute, readLinkName } from "../../native/files.ts";
import type { CharDevice, PciAddress, Vdpa, Vfio } from "./device.ts";
import type { ReadProblem } from "./read-problem.ts";

/** A function's folder below the root, and the names in it. */
export interface Folder {
  readonly folder: string;
  readonly entries: ReadonlySet<string>;
}

/**
 * A node as sysfs shows it, or as /dev has it where sysfs has no such class.
 *
 * sysfs comes first: it is the host's in every container, while a container's /dev is its own. The one of a privileged container has
 * copies of the nodes that existed at its start, removed ones included, and none of those made since; an unprivileged one has none.
 */
export function charDevice(root: string, path: string, entry: string): CharDevice {
  const classFolder = classPath(root, entry.slice(0, entry.indexOf("/")));
  return { path, present: exists(classPath(root, entry)) || (!exists(classFolder) && exists(root + path)) };
}

/** Numbers in names count as numbers: vfio9 before vfio10. */
const first = (names: readonly string[] | null): string | null =>
  names?.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))[0] ?? null;

/**
 * Reads how a function that is bound to a VFIO driver is opened; null when it is not.
 *
 * Any driver that makes a vfio-dev entry is one (vfio-pci, mlx5_vfio_pci, …); kernels before 6.1 make none, there the
 * driver's name decides. drivers/vfio/group.c names the nodes, CONFIG_VFIO_DEVICE_CDEV adds the cdev's `dev` file.
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
    node: node === null ? null : charDevice(root, deviceNode(`vfio/${node}`), `vfio/${node}`),
    cdev:
      cdev !== null && exists(`${folder}/vfio-dev/${cdev}/dev`)
        ? charDevice(root, deviceNode(`vfio/devices/${cdev}`), `vfio-dev/${cdev}/dev`)
        : null,
  };
}

/** Reads the IOMMU group of a PCI function, whatever drives it; null when it has none. */
export const readIommuGroup = (root: string, pci: PciAddress): string | null =>
  readLinkName(`${busDevice(root, "pci", pci)}/iommu_group`);

/** Reads the UIO node of a function; null when it has none (drivers/uio/uio.c). */
export function readUio(root: string, { folder, entries }: Folder): CharDevice | null {
  const name = entries.has("uio") ? first(listDirectory(`${folder}/uio`)) : null;
  return name === null ? null : charDevice(root, deviceNode(name), `uio/${name}`);
}

/**
 * Reads what a vDPA device is bound to (drivers/vdpa/vdpa.c): vhost_vdpa makes a node, virtio_vdpa a virtio device.
 */
export function readVdpa(root: string, name: string): Vdpa {
  const folder = busDevice(root, "vdpa", name);
  const driver = readLinkName(`${folder}/driver`);
  if (driver === "virtio_vdpa") return { name, type: "virtio", node: null };
  if (driver !== "vhost_vdpa") return { name, type: null, node: null };
  // The char device's only trace in sysfs is this folder: it has neither bus nor class (drivers/vhost/vdpa.c vhost_vdpa_probe).
  const node = (listDirectory(folder) ?? []).find((entry) => entry.startsWith("vhost-vdpa-"));
  return { name, type: "vhost", node: node === undefined ? null : { path: deviceNode(node), present: true } };
}

/** The nodes that `needVhostNet` needs, and whether each is present: null where neither sysfs nor /dev shows it. */
export type VhostNet = readonly { readonly path: string; readonly present: boolean | null }[];

/**
 * Reads whether the node offers /dev/vhost-net and /dev/net/tun.
 *
 * Both are static nodes: kmod makes them at boot, and the first who opens one loads its module (MODULE_ALIAS("devname:…") in
 * drivers/vhost/net.c and drivers/net/tun.c). Before, sysfs has no trace of them, and an unprivileged container's /dev never has: then
 * nothing is known. That /dev shows the host's nodes is known by nodes that runtimes give to no other container (OCI runtime-spec,
 * config-linux.md, "Default Devices").
 */
export function readVhostNet(root: string): VhostNet {
  const seesDev = ["kmsg", "vfio/vfio", "vhost-net", "net/tun"].some((name) => exists(root + deviceNode(name)));
  return [
    [commonNodes.vhostNet, "vhost-net"],
    [commonNodes.tun, "tun"],
  ].map(([path = "", name = ""]) => ({
    path,
    present: exists(classPath(root, `misc/${name}`)) || exists(root + path) || (seesDev ? false : null),
  }));
}

/** What an operator should know about these nodes when a pool needs them. */
export function vhostNetProblems(nodes: VhostNet): ReadProblem[] {
  const pathsOf = (present: boolean | null) =>
    nodes
      .filter((node) => node.present === present)
      .map(({ path }) => path)
      .join(" or ");
  const missing = pathsOf(false);
  const unseen = pathsOf(null);
  const load = 'load the modules ("modprobe -a vhost_net tun")';
  if (missing !== "")
    return [
      {
        key: "vhost-net",
        message: `needVhostNet: no ${missing} on this node, so containers get neither node; ${load}`,
      },
    ];
  return unseen === ""
    ? []
    : [
        {
          key: "vhost-net",
          message: `needVhostNet: cannot see whether the node has ${unseen}; containers get both nodes, and fail to start if it has not; ${load}`,
        },
      ];
}

/** Whether the node offers /dev/iommu (drivers/iommu/iommufd). */
export const readIommufd = (root: string): boolean => charDevice(root, commonNodes.iommu, "misc/iommu").present;
