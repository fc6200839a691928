// What does a bug report need of a node, beside the capture? Its versions, and the files and sockets that kubelet, plugin and runtime share.
// Every fact that can't be read says so in its place.

import { lstatSync, readdirSync } from "node:fs";
import { release } from "node:os";
import { dirname } from "node:path";
import { readText } from "../fs/read-text.ts";
import { cdiFolder, deviceInfoFolder, statusSocketPath, staticCdiFolder } from "../host/node-paths.ts";
import { kubeletPaths } from "../kubelet/kubelet-paths.ts";
import { commit, version } from "../process/build-info.ts";
import { messageOf } from "../text.ts";
import type { Paths } from "./paths.ts";

/** Parameters of the kernel that decide how devices are handed out; others may be private. */
const kernelParameters =
  /^(?:intel_iommu|amd_iommu|iommu(?:\..*)?|vfio.*|pci|hugepages|hugepagesz|default_hugepagesz|isolcpus|pci-stub\.ids|module_blacklist|modprobe\.blacklist)(?:=|$)/;

/** Modules of NICs and of what hands their functions out. */
const modules =
  /^(?:ice|iavf|i40e|ixgbe|ixgbevf|igb|igbvf|irdma|mlx4_core|mlx5_core|mlx5_ib|mlx5_vdpa|bnxt_en|bnxt_re|vfio|vfio_pci|vfio_iommu_type1|igb_uio|uio_pci_generic|vhost_net|vhost_vdpa|virtio_vdpa)$/;

/** Programs that say their version, and where they usually listen. */
const programs = ["kubelet", "containerd", "crio", "dockerd"] as const;
const runtimeSockets = [
  "/run/containerd/containerd.sock",
  "/run/k3s/containerd/containerd.sock",
  "/run/k0s/containerd.sock",
  "/run/crio/crio.sock",
  "/run/docker.sock",
  "/run/cri-dockerd.sock",
] as const;

/** Versions of kernel, distribution, drivers, kubelet and runtime, one a line. */
export function versionsText({ root }: Paths): string {
  const read = (path: string): string | null => {
    try {
      return readText(root + path, 1 << 16);
    } catch {
      return null;
    }
  };
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(read("/etc/os-release") ?? "")?.[1];
  const parameters = (read("/proc/cmdline") ?? "").split(/\s+/).filter((each) => kernelParameters.test(each));
  const loaded = namesIn(`${root}/sys/module`).filter((name) => modules.test(name));
  return lines([
    ["sriovdp", `${version} (${commit}), Bun ${Bun.version}, ${process.arch}`],
    ["kernel", root === "" ? release() : (read("/proc/sys/kernel/osrelease")?.trim() ?? "not recorded")],
    ["system", system ?? "unknown (no /etc/os-release, as in a container)"],
    ["kernel parameters", parameters.join(" ") || "none that concern devices"],
    ...loaded.map((name): [string, string] => [
      `module ${name}`,
      read(`/sys/module/${name}/version`)?.trim() ?? "in the kernel's version",
    ]),
    ...programs.map((name): [string, string] => [name, root === "" ? versionOf(name) : "not read below another root"]),
  ]);
}

/** What a program says of its version; nothing is started that is not installed. */
function versionOf(program: string): string {
  const path = Bun.which(program);
  if (path === null) return "not installed here, or not visible from this container";
  const { stdout, success } = Bun.spawnSync([path, "--version"], { stdin: "ignore", stderr: "ignore", timeout: 3000 });
  return (success ? stdout.toString().split("\n")[0]?.trim() : null) || "does not say";
}

const lines = (rows: readonly (readonly [string, string])[]): string =>
  rows.map(([name, value]) => `${name}: ${value}\n`).join("");

/** Files and sockets of the folders where kubelet, plugin, CNIs and runtime meet: type, mode, size, time of change and name. */
export function filesText({ root, kubeletRoot, devicePlugins, statusSockets }: Paths): string {
  const { registry, podResources } = kubeletPaths(kubeletRoot);
  const folders = [
    registry,
    devicePlugins,
    dirname(podResources),
    dirname(statusSocketPath(root)),
    deviceInfoFolder(root),
    cdiFolder(root),
    staticCdiFolder(root),
    `${root}/etc/cni/net.d`,
    `${root}/dev/vfio`,
  ];
  const sockets = [...statusSockets, ...runtimeSockets.map((path) => root + path)];
  return [
    ...folders.flatMap((path) => [`${below(root, path)}/\n`, ...listing(path).map((line) => `  ${line}\n`)]),
    ...sockets.map((path) => `${below(root, path)}\n  ${entryText(path, "") ?? "is not there"}\n`),
  ].join("");
}

const below = (root: string, path: string): string =>
  root !== "" && path.startsWith(root) ? path.slice(root.length) : path;

function listing(path: string): string[] {
  try {
    return readdirSync(path)
      .toSorted()
      .map((name) => entryText(`${path}/${name}`, name) ?? `${name} left meanwhile`);
  } catch (error) {
    return [(error as NodeJS.ErrnoException).code === "ENOENT" ? "is not there" : messageOf(error)];
  }
}

const types = {
  "4": "folder",
  "8": "file",
  "10": "link",
  "12": "socket",
  "2": "device",
  "6": "block",
  "1": "fifo",
} as const;

function entryText(path: string, name: string): string | null {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (!status) return null;
  const type = types[String(status.mode >> 12) as keyof typeof types] ?? "other";
  const mode = (status.mode & 0o7777).toString(8).padStart(4, "0");
  return [type, mode, status.uid, status.size, status.mtime.toISOString(), name].join(" ").trimEnd();
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).toSorted();
  } catch {
    return [];
  }
}
