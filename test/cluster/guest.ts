// The cluster's node: the lab's guest, with an interface in QEMU's user network besides its NICs.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labFolder, makeInitrd, qemuCommand } from "../vm/boot.ts";
import { defaults, type Profile } from "../vm/profiles.ts";
import type { Namespace, Program } from "./namespace.ts";

/** The node's address. It is on the namespace's lo as well, where QEMU takes connections to the kubelet's port and that of metrics. */
export const nodeAddress = "10.0.2.15";

const profileWith = (containerd: Profile["containerd"]): Profile => ({
  ...defaults,
  ...{ disk: "node", memory: 3072, containerd },
});

const forwards = [10250, 9808].map((port) => `hostfwd=tcp:${nodeAddress}:${port}-${nodeAddress}:${port}`);
const management = [
  ...["-netdev", ["user", "id=management", "net=10.0.2.0/24", ...forwards].join(",")],
  ...["-device", "virtio-net-pci,bus=pcie.0,netdev=management,mac=52:54:00:00:01:01,romfile="],
];

/** What the node takes from the host. */
export interface NodeFiles {
  /** The image under test, and its name. */
  readonly image: string;
  readonly imageName: string;
  /** The release of containerd. */
  readonly containerd: Profile["containerd"];
  /** The kubelet, where it is not that of the lab's disk. */
  readonly kubelet: string | null;
  /** The executable of multus, where it is not that of the lab. */
  readonly multus: string | null;
  /** Kubeconfigs of the kubelet and of multus. */
  readonly kubeconfig: string;
  readonly multusKubeconfig: string;
  /** A sriov-cni, where there is one. */
  readonly sriovCni: string | null;
}

// A boot takes some 10 s; the emulated kernel has been seen to hang before init once in about 50 boots.
const upWithin = 90;

/** Boots the node, once more when the first boot hangs; its share is `share`, its console goes to console.log in `logs`. */
export async function startGuest(
  namespace: Namespace,
  files: NodeFiles,
  share: string,
  logs: string,
): Promise<Program> {
  mkdirSync(join(share, "commands"), { recursive: true });
  const taken = join(share, "in");
  cpSync(join(labFolder, "cni"), join(taken, "cni"), { recursive: true, filter: (path) => !path.endsWith(".key") });
  if (files.multus !== null) cpSync(files.multus, join(taken, "cni/multus"));
  if (files.sriovCni !== null) cpSync(files.sriovCni, join(taken, "cni/sriov"));
  cpSync(files.image, join(taken, "image.tar"));
  cpSync(files.kubeconfig, join(taken, "kubeconfig"));
  cpSync(files.multusKubeconfig, join(taken, "kubeconfig-multus"));
  if (files.kubelet !== null) cpSync(files.kubelet, join(taken, "kubelet"));

  const work = mkdtempSync(join(tmpdir(), "sriovdp-cluster-"));
  const console = join(logs, "console.log");
  try {
    const payload = join(work, "payload");
    cpSync(join(import.meta.dir, "guest"), payload, { recursive: true });
    const configuration = files.containerd === "2" ? "containerd-2.toml" : "containerd.toml";
    cpSync(join(import.meta.dir, "../vm/guest", configuration), join(payload, "containerd.toml"));
    writeFileSync(join(payload, "image-name"), files.imageName);
    const profile = profileWith(files.containerd);
    const initrd = join(work, "initrd");
    await makeInitrd(profile, payload, initrd);
    const monitor = join(work, "monitor");
    const command = [...qemuCommand(profile, { initrd, share, console, monitor }), ...management];
    const isUp = () => existsSync(console) && readFileSync(console, "latin1").includes("lab: up after");
    for (const last of [false, true]) {
      const qemu = namespace.start("qemu", command);
      for (const end = performance.now() + upWithin * 1000; performance.now() < end; await Bun.sleep(200)) {
        if (!qemu.running()) throw new Error("QEMU has ended; see qemu.log");
        if (isUp()) return qemu;
      }
      await qemu.kill();
      if (last) throw new Error(`the guest was not up within ${upWithin} s, twice; see console.log`);
    }
    throw new Error("unreachable");
  } finally {
    // QEMU has read the initramfs, and holds its monitor's socket.
    rmSync(work, { recursive: true, force: true });
  }
}
