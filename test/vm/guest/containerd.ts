// The container runtime of the guest, with the configuration of its release.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import config2 from "./containerd-2.toml" with { type: "text" };
import config from "./containerd.toml" with { type: "text" };
import { attempt, loadModules, sh, start, waitFor } from "./support.ts";

/** Starts containerd, unless it runs: files share boots, and this takes its time. */
export async function startContainerd(): Promise<void> {
  if ((await attempt("ctr version")).status === 0) return;
  await loadModules("overlay", "veth", "br_netfilter");
  // The kubelet requires mounts that containers share with the node.
  await sh("mount --make-rshared /");
  await sh("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf");
  mkdirSync("/etc/containerd", { recursive: true });
  const isRelease2 = (await sh("containerd --version")).includes("containerd/v2 ");
  writeFileSync("/etc/containerd/config.toml", (isRelease2 ? config2 : config) as unknown as string);
  start("containerd", ["containerd"]);
  await waitFor("containerd", async () => await sh("ctr version"), 60);
  for (const image of readdirSync("/images")) await sh(`ctr -n k8s.io images import --local /images/${image}`);
}
