// Which pods are running? The kubelet makes a pod's cgroup after admission and removes it when the pod has ended
// (pkg/kubelet/cm/pod_container_manager_linux.go), so its folder below "kubepods" is the evidence.

import { cgroupMounts } from "./node-paths.ts";
import { readdirSync } from "node:fs";

/** Directories that a search may list, and how deep it goes: a kubelet in a container in a user's slice is six levels deep. */
const bounds = { folders: 8192, depth: 8 } as const;

/**
 * The cgroup above all pods: "kubepods" (cgroupfs driver), "kubepods.slice" (systemd driver), and with `--cgroup-root` or in kind
 * "kubelet-kubepods.slice" below "kubelet.slice" (pkg/kubelet/cm/cgroup_manager_linux.go, ToSystemd).
 */
const podsRoot = /^(?:.+-)?kubepods(?:\.slice)?$/;

/** Burstable and best-effort pods are one level deeper than guaranteed ones. */
const qosClass = /^(?:.+-)?(?:burstable|besteffort)(?:\.slice)?$/;

/** "pod" and the UID; the systemd driver puts the parent's name before it and writes "_" for "-". A static pod's UID is a plain hash. */
const podName = /^(?:.+-pod([^-]+)\.slice|pod(.+?)(?:\.slice)?)$/;

/**
 * The UIDs of the pods that have a cgroup, on cgroup v2 or in any hierarchy of v1; null when no kubepods is visible: there is no
 * kubelet yet, it makes no cgroups for pods (`cgroupsPerQOS: false`), or this container sees only its own.
 *
 * Only directories are listed, which no driver answers. `root` goes before every path of the node.
 */
export function readPodCgroups(root: string): ReadonlySet<string> | null {
  for (const mount of cgroupMounts(root)) {
    const roots = podRootsBelow(mount);
    const pods = roots.map(podsBelow);
    // Pods that can't be listed have not ended.
    if (roots.length > 0 && pods.every((uids) => uids !== null)) return new Set(pods.flat());
  }
  return null;
}

/** The UID in a pod's cgroup name; null for any other name. */
export function podUidOf(name: string): string | null {
  const [, escaped, plain] = podName.exec(name) ?? [];
  return escaped === undefined ? (plain ?? null) : escaped.replaceAll("_", "-");
}

/** Breadth first, so that what is beyond the bounds is the deepest. */
function podRootsBelow(top: string): string[] {
  const found: string[] = [];
  let level = [top];
  let left: number = bounds.folders;
  for (let depth = 0; depth < bounds.depth && level.length > 0 && left > 0; depth++) {
    const next: string[] = [];
    for (const folder of level.slice(0, left)) {
      left--;
      for (const name of foldersIn(folder) ?? []) {
        if (podsRoot.test(name)) found.push(`${folder}/${name}`);
        else next.push(`${folder}/${name}`);
      }
    }
    level = next;
  }
  return found;
}

/** The UIDs below one kubepods; null when a part of it can't be listed. */
function podsBelow(root: string): string[] | null {
  const names = foldersIn(root);
  const classes = (names ?? []).filter((name) => qosClass.test(name)).map((name) => foldersIn(`${root}/${name}`));
  if (names === null || classes.includes(null)) return null;
  return [...names, ...classes.flatMap((below) => below ?? [])].map(podUidOf).filter((uid) => uid !== null);
}

/**
 * The directories in a directory, links left out: a hierarchy is listed under its own name. None when it is gone, since cgroups
 * come and go while they are listed; null when it can't be listed.
 */
function foldersIn(folder: string): string[] | null {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    return ["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "") ? [] : null;
  }
}
