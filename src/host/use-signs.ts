// Is a device in use outside the host? Signs of it in sysfs, for where pods' cgroups are not visible.

import { busDevice } from "./node-paths.ts";
import { listDirectory, readAttribute, readLinkName } from "../../native/files.ts";
import { readRdmaContexts } from "../../native/netlink/rdma.ts";

/**
 * Why each of these devices is in use, as a sentence's end; those that show no sign are missing.
 *
 * - A netdev, or in exclusive mode an RDMA device, in another network namespace leaves its folder behind, empty: sysfs shows the
 *   entries of the mount's namespace only (fs/kernfs/dir.c; ib_core makes its class namespace-aware).
 * - vfio-pci enables a function when it is opened and disables it when it is closed (drivers/vfio/pci/vfio_pci_core.c), and `enable`
 *   shows the counter (drivers/pci/pci-sysfs.c).
 * - An RDMA device of which a program has opened the uverbs device has a user context.
 *
 * Ids may be anybody's: what is not a device name in sysfs is left out.
 */
export function readUseSigns(
  root: string,
  ids: Iterable<string>,
  contexts: ReadonlyMap<string, number> = userContexts(root),
): Map<string, string> {
  const signs = new Map<string, string>();
  for (const id of ids) {
    if (!/^[\w:.-]+$/.test(id) || /^\.+$/.test(id)) continue;
    const sign = signOf(busDevice(root, "pci", id), contexts) ?? signOf(busDevice(root, "auxiliary", id), contexts);
    if (sign !== null) signs.set(id, sign);
  }
  return signs;
}

/** Only the running kernel can be queried. */
function userContexts(root: string): ReadonlyMap<string, number> {
  try {
    return (root === "" ? readRdmaContexts() : null) ?? new Map<string, number>();
  } catch {
    // A kernel without this request shows no sign.
    return new Map();
  }
}

function signOf(folder: string, contexts: ReadonlyMap<string, number>): string | null {
  if (isEmpty(`${folder}/net`)) return "its interface is in another network namespace";
  if (isEmpty(`${folder}/infiniband`)) return "its RDMA device is in another network namespace";
  const rdmaNames = listDirectory(`${folder}/infiniband`) ?? [];
  if (rdmaNames.some((name) => (contexts.get(name) ?? 0) > 0)) return "its RDMA device is open";
  const isVfio = /(^|[-_])vfio([-_]|$)/.test(readLinkName(`${folder}/driver`) ?? "");
  return isVfio && Number(readAttribute(`${folder}/enable`)) > 0 ? "its VFIO device is open" : null;
}

/** Whether a directory is there and has nothing in it. */
const isEmpty = (folder: string): boolean => listDirectory(folder)?.length === 0;
