// The cluster's node: the lab's guest, with an interface in QEMU's user network besides its NICs.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labDisk, labFolder, makeInitrd, qemuCommand } from "../vm/boot.ts";
import { defaults, type Profile } from "../vm/profiles.ts";
import { type BootRequest, endRequest, firstBoot, requestedBoot } from "./boots.ts";
import { type Namespace, type Program, run } from "./namespace.ts";
import { makeWakeUp, wakeUpPort } from "./wake-up.ts";

/** The emulated machine has ended by itself. */
export class GuestEnded extends Error {}

/** The node's address. It is on the namespace's lo as well, where QEMU takes connections to the kubelet's port and that of metrics. */
export const nodeAddress = "10.0.2.15";

const profileWith = (containerd: Profile["containerd"], memory: number): Profile => ({
  ...defaults,
  ...{ disk: "node", memory, containerd },
});

const forwards = [10250, 9808].map((port) => `hostfwd=tcp:${nodeAddress}:${port}-${nodeAddress}:${port}`);
const management = [
  ...["-netdev", ["user", "id=management", "net=10.0.2.0/24", ...forwards].join(",")],
  ...["-device", "virtio-net-pci,bus=pcie.0,netdev=management,mac=52:54:00:00:01:01,romfile="],
];

/**
 * Where further NICs are: at the two free ports of the lab's machine, at four more, and one beside the root ports. Each port with a NIC takes
 * 4 KiB of the I/O ports, and the firmware has 32 KiB for all of them (SeaBIOS src/fw/pciinit.c, pci_bios_init_root_regions_io).
 */
const furtherPlaces: readonly { readonly port: string; readonly root: string | null }[] = [
  ...["port2", "port3"].map((port) => ({ port, root: null })),
  ...["port4", "port5"].map((port) => ({ port, root: "root0" })),
  ...["port6", "port7"].map((port) => ({ port, root: "root1" })),
  { port: "pcie.0", root: null },
];

/** QEMU's words for further NICs, on a hub of their own, so that each has a carrier where there are two. */
const furtherNics = (count: number): string[] =>
  furtherPlaces
    .slice(0, count)
    .flatMap(({ port, root }, index) => [
      ...(root === null
        ? []
        : ["-device", `pcie-root-port,id=${port},bus=${root},chassis=${20 + index},slot=${20 + index}`]),
      ...["-netdev", `hubport,id=further${index},hubid=1`],
      ...["-device", `igb,bus=${port},netdev=further${index},mac=52:54:00:00:02:0${index},romfile=`],
    ]);

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
// It ends its pods first.
const downWithin = 60;

/**
 * Boots the node, and whenever a test requests it boots its disk again; goes on until this process ends, and throws when a boot fails. The
 * node's share is `share`; its console goes to console.log in `logs`, those of earlier boots to console-1.log and so on.
 */
export async function runGuest(namespace: Namespace, files: NodeFiles, share: string, logs: string): Promise<never> {
  fillShare(share, files);
  const disk = join(logs, "node.ext4");
  makeDisk(disk, files.containerd);
  const console = join(logs, "console.log");
  const boot = (request: BootRequest) => bootGuest(namespace, files, request, { share, disk, console });
  let qemu = await boot(firstBoot);
  for (let boots = 1; ; await Bun.sleep(200)) {
    const request = requestedBoot(share);
    if (request === null) {
      if (!qemu.running()) throw new GuestEnded("QEMU has ended; see qemu.log");
      continue;
    }
    if (!request.cut) await Promise.race([qemu.exited, Bun.sleep(downWithin * 1000)]);
    if (!request.cut && qemu.running()) throw new Error(`the guest has not shut down within ${downWithin} s`);
    await qemu.kill();
    renameSync(console, join(logs, `console-${boots}.log`));
    qemu = await boot(request);
    endRequest(share);
    boots += 1;
  }
}

function fillShare(share: string, files: NodeFiles): void {
  mkdirSync(join(share, "commands"), { recursive: true });
  makeWakeUp(share);
  const taken = join(share, "in");
  cpSync(join(labFolder, "cni"), join(taken, "cni"), { recursive: true, filter: (path) => !path.endsWith(".key") });
  if (files.multus !== null) cpSync(files.multus, join(taken, "cni/multus"));
  if (files.sriovCni !== null) cpSync(files.sriovCni, join(taken, "cni/sriov"));
  cpSync(files.image, join(taken, "image.tar"));
  cpSync(files.kubeconfig, join(taken, "kubeconfig"));
  cpSync(files.multusKubeconfig, join(taken, "kubeconfig-multus"));
  if (files.kubelet !== null) cpSync(files.kubelet, join(taken, "kubelet"));
}

/** Copies the lab's disk, with a journal: after a power cut a node's disk is mounted as it is. */
function makeDisk(disk: string, containerd: Profile["containerd"]): void {
  run(["cp", "--sparse=always", labDisk(containerd), disk]);
  const common = join(import.meta.dir, "../vm/lab/common.sh");
  run(["bash", "-c", '. "$0" && tool tune2fs -O has_journal "$1"', common, disk]);
}

/** Boots once, and once more when the first try hangs. */
async function bootGuest(
  namespace: Namespace,
  files: NodeFiles,
  { furtherNics: count, memory }: BootRequest,
  { share, disk, console }: { readonly share: string; readonly disk: string; readonly console: string },
): Promise<Program> {
  const work = mkdtempSync(join(tmpdir(), "sriovdp-cluster-"));
  try {
    const payload = join(work, "payload");
    cpSync(join(import.meta.dir, "guest"), payload, { recursive: true });
    const configuration = files.containerd === "2" ? "containerd-2.toml" : "containerd.toml";
    cpSync(join(import.meta.dir, "../vm/guest", configuration), join(payload, "containerd.toml"));
    writeFileSync(join(payload, "image-name"), files.imageName);
    const profile = profileWith(files.containerd, memory);
    const initrd = join(work, "initrd");
    await makeInitrd(profile, payload, initrd);
    const machine = qemuCommand(profile, { initrd, share, console, disk, monitor: join(work, "monitor") });
    const isUp = () => existsSync(console) && readFileSync(console, "latin1").includes("lab: up after");
    for (const last of [false, true]) {
      const qemu = namespace.start("qemu", [...machine, ...wakeUpPort(share), ...management, ...furtherNics(count)]);
      for (const end = performance.now() + upWithin * 1000; performance.now() < end; await Bun.sleep(200)) {
        if (!qemu.running()) throw new GuestEnded("QEMU has ended; see qemu.log");
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
