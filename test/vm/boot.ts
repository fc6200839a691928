// One boot of the guest: a payload folder goes in as part of its initramfs, what it leaves comes out through a share.
// The machine: two igb NICs with 7 VFs each, PCIe hotplug ports, emulated by QEMU without KVM.
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Profile } from "./profiles.ts";

/** Where lab/make.sh puts what it makes. */
export const labFolder: string =
  process.env["SRIOVDP_LAB_DIR"] ??
  join(process.env["XDG_CACHE_HOME"] ?? join(process.env["HOME"] ?? homedir(), ".cache"), "sriovdp-lab");

export interface BootResult {
  /** exit status of the payload; null when the guest ended without one */
  readonly status: number | null;
  readonly timedOut: boolean;
  readonly seconds: number;
}

// A boot takes about 6 s; the kernel has been seen to hang before init once in about 50 boots.
const upWithin = 90;

/** Boots with payload/ as /payload, runs its file "run", and leaves console.log, status and all that run put on /share in `results`. */
export async function boot(profile: Profile, payload: string, results: string, limit: number): Promise<BootResult> {
  rmSync(results, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });
  const console = join(results, "console.log");
  const work = mkdtempSync(join(tmpdir(), "sriovdp-boot-"));
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  try {
    const initrd = join(work, "initrd");
    await makeInitrd(profile, payload, initrd);
    const stderr = openSync(join(results, "qemu.log"), "w");
    const qemu = Bun.spawn(qemuCommand(profile, { initrd, share: results, console, monitor: join(work, "monitor") }), {
      stdin: "ignore",
      stdout: stderr,
      stderr,
    });
    let timedOut = false;
    const up = () => existsSync(console) && readFileSync(console, "latin1").includes("lab: up after");
    const watch = setInterval(() => {
      if (elapsed() > limit || (elapsed() > upWithin && !up())) {
        timedOut = true;
        qemu.kill("SIGKILL");
      }
    }, 1000);
    await qemu.exited;
    clearInterval(watch);
    closeSync(stderr);
    const status = join(results, "status");
    return { status: existsSync(status) ? Number(readFileSync(status, "utf8")) : null, timedOut, seconds: elapsed() };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Writes the guest's initramfs to `initrd`: the root that the profile says, and the folder `payload`. */
export async function makeInitrd({ init }: Profile, payload: string, initrd: string): Promise<void> {
  // An initramfs may be several archives in a row; later ones add to earlier ones.
  const roots = ["base", ...(init === "systemd" ? ["systemd"] : [])].map((name) => `"$LAB/${name}/root.cpio"`);
  const script = `cat ${roots.join(" ")} > "$INITRD"
    cd "$(dirname "$PAYLOAD")" && find "$(basename "$PAYLOAD")" | "$LAB/tools/usr/bin/busybox" cpio -o -H newc -R 0:0 >> "$INITRD"`;
  const made = Bun.spawn(["sh", "-euc", script], {
    env: { ...process.env, LAB: labFolder, PAYLOAD: payload, INITRD: initrd },
    stdout: "ignore",
    stderr: "pipe",
  });
  if ((await made.exited) !== 0) throw new Error(`initramfs: ${await new Response(made.stderr).text()}`);
}

/** Paths of what QEMU reads and writes. */
export interface Files {
  readonly initrd: string;
  readonly share: string;
  readonly console: string;
  readonly monitor: string;
  /** The disk that the guest writes to; without it, each boot starts from the lab's. */
  readonly disk?: string;
}

/** The command that boots a guest; further words of QEMU's may follow. */
export function qemuCommand(profile: Profile, files: Files): string[] {
  const root = join(labFolder, "qemu");
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  return [
    // Debian's QEMU from its unpacked packages, by its own loader and libraries.
    "env",
    `QEMU_MODULE_DIR=${libraries}/qemu`,
    `${root}/lib64/ld-linux-x86-64.so.2`,
    "--library-path",
    libraries,
    `${root}/usr/bin/qemu-system-x86_64`,
    ...["-L", `${root}/usr/share/qemu`, "-L", `${root}/usr/share/seabios`],
    ...machine(profile),
    ...["-kernel", `${labFolder}/kernel/vmlinuz`, "-initrd", files.initrd, "-append", kernelCommandLine(profile)],
    ...["-serial", `file:${files.console}`],
    // The guest's second serial port is QEMU's own monitor: the socket is both ends.
    ...[
      "-chardev",
      `socket,id=monitor,path=${files.monitor},server=on,wait=off`,
      "-mon",
      "chardev=monitor,mode=control",
    ],
    ...["-serial", `unix:${files.monitor},server=off`],
    ...["-fsdev", `local,id=share,path=${files.share},security_model=none,multidevs=remap`],
    // With PCIe expander buses every other PCI device needs an explicit bus, or QEMU puts it on one of them and refuses.
    ...["-device", "virtio-9p-pci,bus=pcie.0,fsdev=share,mount_tag=share"],
    ...(profile.iommu === "on" ? ["-device", "intel-iommu,intremap=on,caching-mode=on"] : []),
    ...(profile.topology === "numa" ? numaTopology(profile.memory) : flatTopology),
    ...nics,
    ...(profile.disk === "node" ? nodeDisk(profile.containerd, files.disk) : []),
  ];
}

function machine(profile: Profile): string[] {
  return [
    ...["-machine", "q35,kernel-irqchip=split,hpet=off"],
    // One thread for both processors: with one each QEMU takes half as much processor time again where two machines share two processors, and its
    // races show there (iotlb_to_section's assertion, a kernel that hangs).
    // MiB of translated code: the programs of a node are large, and where they don't fit all of them are translated again.
    ...["-accel", `tcg,thread=single,tb-size=${profile.disk === "node" ? 1024 : 512}`],
    // The least that Bun's executables run on; every further CPU feature makes booting slower ("max": by a third).
    ...["-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16", "-smp", "2", "-m", String(profile.memory)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"],
  ];
}

function kernelCommandLine(profile: Profile): string {
  return [
    "console=ttyS0 rdinit=/init quiet loglevel=4 panic=-1 audit=0",
    "mitigations=off tsc=reliable no_timer_check random.trust_cpu=on",
    profile.iommu === "on" ? "intel_iommu=on" : "",
    profile.disk === "node" ? "lab.disk" : "",
    profile.init === "systemd" ? "lab.init=systemd" : "",
  ].join(" ");
}

// Where the NICs end up: PF 0000:41:00.0 on node 0, PF 0000:81:00.0 on node 1; port2 (node 1) and port3 (node 0) are free for hotplug.
function numaTopology(memory: number): string[] {
  const half = memory / 2;
  return [
    ...[
      "-object",
      `memory-backend-ram,id=memory0,size=${half}M`,
      "-object",
      `memory-backend-ram,id=memory1,size=${half}M`,
    ],
    ...["-numa", "node,nodeid=0,cpus=0,memdev=memory0", "-numa", "node,nodeid=1,cpus=1,memdev=memory1"],
    ...["-device", "pxb-pcie,id=root0,bus_nr=64,numa_node=0,bus=pcie.0"],
    ...["-device", "pxb-pcie,id=root1,bus_nr=128,numa_node=1,bus=pcie.0"],
    ...["-device", "pcie-root-port,id=port0,bus=root0,chassis=1,slot=1"],
    ...["-device", "pcie-root-port,id=port1,bus=root1,chassis=2,slot=2"],
    ...["-device", "pcie-root-port,id=port2,bus=root1,chassis=3,slot=3"],
    ...["-device", "pcie-root-port,id=port3,bus=root0,chassis=4,slot=4"],
  ];
}

// PFs 0000:01:00.0 and 0000:02:00.0
const flatTopology = [0, 1, 2, 3].flatMap((port) => [
  "-device",
  `pcie-root-port,id=port${port},bus=pcie.0,addr=0x${(0x10 + port).toString(16)},chassis=${port + 1},slot=${port + 1}`,
]);

// Both on one hub, so that each has a peer and a carrier.
const nics = [0, 1].flatMap((nic) => [
  ...["-netdev", `hubport,id=net${nic},hubid=0`],
  ...["-device", `igb,id=nic${nic},bus=port${nic},netdev=net${nic},mac=52:54:00:00:00:0${nic + 1},romfile=`],
]);

const disks = { "1.7": "node", "2": "node-containerd-2" } as const;

/** The lab's disk of a node with this containerd. */
export const labDisk = (containerd: Profile["containerd"]): string => join(labFolder, disks[containerd], "node.ext4");

const nodeDisk = (containerd: Profile["containerd"], own: string | undefined) => [
  // Writes to the lab's go to a temporary file: each boot starts from the same disk.
  ...["-drive", `file=${own ?? `${labDisk(containerd)},snapshot=on`},if=none,id=node,format=raw,cache=unsafe`],
  ...["-device", "virtio-blk-pci,bus=pcie.0,drive=node"],
];
