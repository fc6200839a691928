// Thin helpers for tests that run inside the lab's guest, as root, on a machine that is theirs alone.
// Nothing here sleeps for a fixed time: what takes its time is waited for by its effect.

import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { type Ended, runProgram } from "../../support/run-program.ts";
import { type Truthy, waitForValue } from "../../support/wait-for.ts";

// The test runner is the executable under test, which a variable turns into bun: what a test starts must be the plugin again.
// To be given to every Bun.spawn, which without an environment hands on the one that this process began with.
const { BUN_BE_BUN: _, ...environment } = process.env;

/** The executable under test */
export const executable = "/payload/sriovdp";

export const devices = "/sys/bus/pci/devices";

/** The two PFs (igb, 7 VFs each). With topology=numa pf0 is on NUMA node 0 and pf1 on node 1. */
export const [pf0, pf1] = existsSync(`${devices}/0000:41:00.0`)
  ? (["0000:41:00.0", "0000:81:00.0"] as const)
  : (["0000:01:00.0", "0000:02:00.0"] as const);

// ---- commands, files, waiting

/** Runs a shell command and returns its standard output; throws with its standard error unless it exits with 0. */
export async function sh(command: string): Promise<string> {
  const { status, stdout, stderr } = await attempt(command);
  if (status !== 0) throw new Error(`${command}: status ${status}: ${stderr.trim() || stdout.trim()}`);
  return stdout;
}

export const attempt = (command: string, variables: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  runProgram(["/usr/bin/dash", "-euc", command], { env: { ...environment, ...variables } });

/** Standard output as JSON; a tool of iproute2 that has nothing to show prints nothing or []. */
export async function json<T>(command: string, empty: T): Promise<T> {
  const text = (await sh(command)).trim();
  return text === "" ? empty : (JSON.parse(text) as T);
}

export const readSys = (path: string): string => readFileSync(path, "utf8").trim();

export const writeSys = (path: string, value: string | number): void => writeFileSync(path, String(value));

/** Polls until the condition returns something truthy, and returns that. A condition that throws is not fulfilled yet. */
export const waitFor = <T>(what: string, condition: () => T | Promise<T>, seconds = 30): Promise<Truthy<T>> =>
  waitForValue(what, condition, { seconds, pace: 20 });

export interface Program {
  readonly pid: number;
  /** all that it has printed so far, standard output and standard error together */
  output(): string;
  running(): boolean;
  signal(name: NodeJS.Signals): void;
  /** SIGTERM (or another signal), and its exit status when it is gone: 128 + n if signal n ended it */
  stop(signal?: NodeJS.Signals): Promise<number>;
  readonly exited: Promise<number>;
}

/** Starts a program in the background. Its output goes to /share/<name>.log, which is kept among the results. */
export function start(name: string, command: readonly string[], variables: Record<string, string> = {}): Program {
  const log = `/share/${name}.log`;
  appendFileSync(log, "");
  const before = readFileSync(log, "utf8").length;
  // By way of a shell, since only an appending descriptor keeps the output of a program that is started twice.
  const process = Bun.spawn(
    ["/usr/bin/dash", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "dash", log, ...command],
    {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      env: { ...environment, ...variables },
    },
  );
  const exited = process.exited.then((status) => status);
  return {
    pid: process.pid,
    exited,
    output: () => readFileSync(log, "utf8").slice(before),
    running: () => process.exitCode === null && process.signalCode === null,
    signal: (name) => process.kill(name),
    stop: (signal = "SIGTERM") => {
      process.kill(signal);
      return exited;
    },
  };
}

export async function loadModules(...names: string[]): Promise<void> {
  await sh(`modprobe -a ${names.join(" ")}`);
}

// ---- PCI functions

export const devicePath = (bdf: string): string => `${devices}/${bdf}`;

const linkName = (path: string): string | null => {
  try {
    return basename(readlinkSync(path));
  } catch {
    return null;
  }
};

const entries = (path: string): string[] => (existsSync(path) ? readdirSync(path).sort() : []);

export const driverOf = (bdf: string): string | null => linkName(`${devices}/${bdf}/driver`);
export const iommuGroupOf = (bdf: string): string | null => linkName(`${devices}/${bdf}/iommu_group`);
export const netdevsOf = (bdf: string): string[] => entries(`${devices}/${bdf}/net`);
export const rdmaDevicesOf = (bdf: string): string[] => entries(`${devices}/${bdf}/infiniband`);

export const netdevOf = (bdf: string): Promise<string> => waitFor(`a netdev of ${bdf}`, () => netdevsOf(bdf)[0]);

/** VFs of a PF by their number, as BDFs */
export const vfsOf = (pf: string): string[] =>
  entries(`${devices}/${pf}`)
    .filter((name) => /^virtfn\d+$/.test(name))
    .sort((a, b) => Number(a.slice(6)) - Number(b.slice(6)))
    .map((name) => basename(readlinkSync(`${devices}/${pf}/${name}`)));

/** Gives the PF exactly this many new VFs and waits until each has its driver and netdev (unless autoprobe is off). */
export async function createVfs(pf: string, count: number): Promise<string[]> {
  // Awaited off the main thread: the kernel answers only when all VFs are there.
  await writeFile(`${devices}/${pf}/sriov_numvfs`, "0");
  if (count > 0) await writeFile(`${devices}/${pf}/sriov_numvfs`, String(count));
  const probed = readSys(`${devices}/${pf}/sriov_drivers_autoprobe`) === "1";
  return waitFor(`${count} VFs of ${pf}`, () => {
    const vfs = vfsOf(pf);
    return vfs.length === count && vfs.every((vf) => !probed || netdevsOf(vf).length > 0) && vfs;
  });
}

/** Binds to a driver (its module is loaded) by driver_override; null leaves the function without a driver. */
export async function bind(bdf: string, driver: string | null): Promise<void> {
  if (driver !== null) await loadModules(driver);
  writeSys(`${devices}/${bdf}/driver_override`, driver ?? "\n");
  if (driverOf(bdf) !== null) writeSys(`${devices}/${bdf}/driver/unbind`, bdf);
  if (driver !== null) writeSys("/sys/bus/pci/drivers_probe", bdf);
  await waitFor(`${bdf} bound to ${driver ?? "nothing"}`, () => driverOf(bdf) === driver);
}

/** Takes a driver_override back and lets the kernel choose again. */
export async function bindDefault(bdf: string): Promise<void> {
  await bind(bdf, null);
  writeSys("/sys/bus/pci/drivers_probe", bdf);
  await waitFor(`${bdf} bound to its own driver`, () => driverOf(bdf) !== null);
}

/** Netdev names are not stable here (the kernel probes both NICs at once): give the PF's the name and bring it up. */
export async function renamePf(pf: string, name: string): Promise<void> {
  const current = await netdevOf(pf);
  if (current !== name) await sh(`ip link set ${current} down && ip link set ${current} name ${name}`);
  await sh(`ip link set ${name} up`);
  await waitFor(`carrier of ${name}`, () => readSys(`/sys/class/net/${name}/operstate`) === "up");
}

/** Both PFs as pf0 and pf1, up and with carrier */
export async function preparePfs(): Promise<void> {
  await loadModules("igb", "igbvf");
  // Both at once: igb takes its time for link detection. But a name may be the other one's by now.
  await Promise.all([netdevOf(pf0), netdevOf(pf1)]);
  await Promise.all([renamePf(pf0, "pf0"), renamePf(pf1, "pf1")]);
}

/** Brings the machine back to two PFs without VFs and with nothing of the simulators. Files share boots: begin with it. */
export async function reset(): Promise<void> {
  for (const { ifname } of existsSync("/sys/class/infiniband") ? await rdmaLinks() : [])
    await sh(`rdma link delete ${ifname}`);
  if (existsSync("/sys/bus/vdpa"))
    for (const name of Object.keys(await vdpaDevices())) await sh(`vdpa dev del ${name}`);
  if (existsSync(labsimControl)) labsim("clear");
  for (const name of entries("/sys/bus/netdevsim/devices"))
    writeSys("/sys/bus/netdevsim/del_device", name.replace(/^\D+/, ""));
  for (const { name } of await json<{ name: string }[]>("ip -j netns list", [])) await sh(`ip netns delete ${name}`);
  await preparePfs();
  for (const pf of [pf0, pf1]) if (vfsOf(pf).length > 0) await createVfs(pf, 0);
}

// ---- links, namespaces, and what iproute2 shows

export interface Link {
  readonly ifname: string;
  readonly operstate: string;
  readonly flags: readonly string[];
  readonly address: string;
}

export async function link(name: string, netns?: string): Promise<Link> {
  const [found] = await json<Link[]>(`ip ${netns ? `-n ${netns} ` : ""}-j link show dev ${name}`, []);
  if (!found) throw new Error(`no link ${name}`);
  return found;
}

export const addNetns = (name: string): Promise<string> => sh(`ip netns add ${name}`);
export const deleteNetns = (name: string): Promise<string> => sh(`ip netns delete ${name}`);
export const moveToNetns = (netdev: string, netns: string): Promise<string> =>
  sh(`ip link set ${netdev} netns ${netns}`);
export const inNetns = (netns: string, command: string): Promise<string> => sh(`ip netns exec ${netns} ${command}`);

/** devlink handles ("pci/0000:41:00.0") */
export const devlinkHandles = async (): Promise<string[]> =>
  Object.keys((await json<{ dev: object }>("devlink -j dev show", { dev: {} })).dev);

export async function eswitchMode(handle: string): Promise<string | undefined> {
  const { dev } = await json<{ dev: Record<string, { mode?: string }> }>(`devlink -j dev eswitch show ${handle}`, {
    dev: {},
  });
  return dev[handle]?.mode;
}

export interface RdmaLink {
  readonly ifname: string;
  readonly netdev?: string;
  readonly state: string;
}

export const rdmaLinks = (): Promise<RdmaLink[]> => json<RdmaLink[]>("rdma -j link show", []);

/** Soft RoCE on a netdev: an RDMA device below the netdev's PCI function, with its character devices. Returns its name. */
export async function addRdma(name: string, netdev: string): Promise<string> {
  await loadModules("rdma_rxe", "ib_uverbs", "ib_umad", "rdma_ucm");
  await sh(`rdma link add ${name} type rxe netdev ${netdev}`);
  await waitFor(`character devices of ${name}`, () =>
    readdirSync("/sys/class/infiniband_verbs").some(
      (entry) =>
        existsSync(`/sys/class/infiniband_verbs/${entry}/ibdev`) &&
        readSys(`/sys/class/infiniband_verbs/${entry}/ibdev`) === name &&
        existsSync(`/dev/infiniband/${entry}`),
    ),
  );
  return name;
}

export interface VdpaDevice {
  readonly type: string;
  readonly mgmtdev: string;
}

export const vdpaDevices = async (): Promise<Record<string, VdpaDevice>> =>
  (await json<{ dev?: Record<string, VdpaDevice> }>("vdpa -j dev show", {})).dev ?? {};

export const vdpaManagementDevices = async (): Promise<string[]> =>
  Object.keys((await json<{ mgmtdev?: object }>("vdpa -j mgmtdev show", {})).mgmtdev ?? {});

// ---- labsim: what no emulated NIC has

const labsimControl = "/sys/kernel/debug/labsim/ctl";

/** One command of the labsim module (test/vm/lab/labsim/labsim.c) */
export const labsim = (command: string): void => writeSys(labsimControl, command);

/** An auxiliary device <module>.<type>.<id> below a PCI function, with sfnum and a netdev: a subfunction. */
export async function addAuxiliary(
  pci: string,
  device: { module: string; type: string; id: number; sfnum: number },
): Promise<string> {
  await loadModules("labsim");
  labsim(`aux ${pci} ${device.module} ${device.type} ${device.id} ${device.sfnum}`);
  return `${device.module}.${device.type}.${device.id}`;
}

/** A devlink instance on a PCI function; in switchdev mode it has the uplink's representor and those of this many VFs. Returns its handle. */
export async function addDevlink(pci: string, representors: number): Promise<string> {
  await loadModules("labsim");
  labsim(`devlink ${pci} ${representors}`);
  return `pci/${pci}`;
}

// ---- files of a test

export function writeFiles(folder: string, files: Record<string, string>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(`${folder}/${name}`, content);
}
