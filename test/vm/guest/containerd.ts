// The container runtime of the guest.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { attempt, loadModules, sh, start, waitFor } from "./support.ts";

/** Starts containerd, unless it runs: files share boots, and this takes its time. */
export async function startContainerd(): Promise<void> {
  if ((await attempt("ctr version")).status === 0) return;
  await loadModules("overlay", "veth", "br_netfilter");
  // The kubelet wants mounts that containers share with the node.
  await sh("mount --make-rshared /");
  await sh("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf");
  mkdirSync("/etc/containerd", { recursive: true });
  writeFileSync("/etc/containerd/config.toml", containerdConfig);
  start("containerd", ["containerd"]);
  await waitFor("containerd", async () => await sh("ctr version"), 60);
  for (const image of readdirSync("/images")) await sh(`ctr -n k8s.io images import --local /images/${image}`);
}

const containerdConfig = `
version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:1"
  disable_apparmor = true
  enable_cdi = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
