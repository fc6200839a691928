// How is an unpacked tree changed as the kernel changes it? Entries are added and removed, and netlink.json is rewritten.

import { existsSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { KernelFacts } from "../../src/host/kernel.ts";
import { pciFolder } from "./node-entries.ts";
import type { NodeBuilder } from "./node.ts";
import { type Entry, formatKernelFacts, kernelFactsName, unpack } from "./tree.ts";

export const readFacts = (root: string): KernelFacts =>
  JSON.parse(readFileSync(`${root}/${kernelFactsName}`, "utf8")) as KernelFacts;

/** Changes what netlink answers; a link event. */
export function changeFacts(root: string, change: (facts: KernelFacts) => Partial<KernelFacts>): void {
  const facts = readFacts(root);
  writeFileSync(`${root}/.${kernelFactsName}`, formatKernelFacts({ ...facts, ...change(facts) }));
  renameSync(`${root}/.${kernelFactsName}`, `${root}/${kernelFactsName}`);
}

/** The last interface index given out below each root: one that went to a pod is not seen, and comes back. */
export const lastInterface = new Map<string, number>();

/** Writes what a builder made below an unpacked root. */
export function place(root: string, { entries, links, devlink, vdpa, ethtool, nextNumbers: next }: NodeBuilder): void {
  lastInterface.set(root, next.interface - 1);
  unpack(
    entries.filter((entry: Entry) => entry.kind === "file" || !existsSync(`${root}/${entry.path}`)),
    root,
  );
  changeFacts(root, (facts) => ({
    links: [...facts.links, ...links],
    devlink: [...facts.devlink, ...devlink],
    vdpa: [...facts.vdpa, ...vdpa],
    ethtool: [...(facts.ethtool ?? []), ...ethtool],
  }));
}

/** Takes away all that the function's driver made; of an SF, by its name and folder. */
export function unmake(root: string, id: string, folder: string = pciFolder(id)): void {
  const self = `${root}/${folder}`;
  const group = linkName(`${self}/iommu_group`);
  const namesIn = (folder: string) => (existsSync(`${self}/${folder}`) ? readdirSync(`${self}/${folder}`) : []);
  for (const name of namesIn("net")) rmSync(`${root}/sys/class/net/${name}`, { force: true });
  for (const name of namesIn("uio")) rmSync(`${root}/dev/${name}`, { force: true });
  for (const subsystem of ["infiniband_mad", "infiniband_verbs"]) {
    for (const name of namesIn(subsystem)) {
      rmSync(`${root}/dev/infiniband/${name}`, { force: true });
      rmSync(`${root}/sys/class/${subsystem}/${name}`, { force: true });
    }
  }
  if (namesIn("vfio-dev").length > 0) {
    for (const name of [group, `noiommu-${group}`]) rmSync(`${root}/dev/vfio/${name}`, { force: true });
  }
  for (const name of ["driver", "net", "uio", "vfio-dev", "infiniband", "infiniband_mad", "infiniband_verbs"]) {
    rmSync(`${self}/${name}`, { recursive: true, force: true });
  }
  changeFacts(root, ({ links }) => ({ links: links.filter(({ parentDevice }) => parentDevice !== id) }));
}

/** The first numbers that an unpacked tree has not used. */
export function nextNumbers(root: string): NodeBuilder["nextNumbers"] {
  const after = (folder: string, prefix: string) =>
    1 +
    Math.max(
      -1,
      ...(existsSync(`${root}/${folder}`) ? readdirSync(`${root}/${folder}`) : [])
        .filter((name) => name.startsWith(prefix))
        .map((name) => Number(name.slice(prefix.length)))
        .filter(Number.isInteger),
    );
  const { links } = readFacts(root);
  const group = after("sys/kernel/iommu_groups", "");
  return {
    iommuGroup: group,
    uio: after("dev", "uio"),
    // A function has one entry in vfio-dev; no two functions share a group here.
    vfio: group,
    rdma: after("dev/infiniband", "uverbs"),
    interface: 1 + Math.max(1, lastInterface.get(root) ?? 0, ...links.map(({ index }) => index)),
    vdpa: after("sys/bus/vdpa/devices", "vdpa"),
    aux: after("sys/bus/auxiliary/devices", "mlx5_core.sf."),
  };
}

export function linkName(path: string): string | null {
  try {
    return basename(readlinkSync(path));
  } catch {
    return null;
  }
}
