// Which DDP package runs on an Intel 700 series NIC? Its firmware is queried by a process of its own: the ioctl holds
// the kernel's RTNL lock and may block. The 800 series reports it through devlink, see kernel.ts.

import { DdpError, readI40eDdpProfile } from "../../native/ethtool.ts";
import type { PciAddress } from "./device.ts";
import type { KernelFacts } from "./kernel.ts";
import type { PciFunction } from "./pci.ts";
import type { Functions } from "./snapshot.ts";
import type { ReadProblem } from "./read-problem.ts";

/** Profiles by PF; a PF without one is missing. */
export type DdpProfiles = ReadonlyMap<PciAddress, string>;

/** How long the firmware and ddptool may take each, in milliseconds: together less than a scan may (scanner.ts). */
const limit = 2000;

/** Answers by PF and driver instance, null for "no profile": a package is loaded at most once per boot of the NIC's firmware. */
export type DdpAnswers = Map<string, string | null>;

/** Queries a NIC, by its interface's name and its PCI address and device id; null when it can't be queried now. */
export type AskNic = (interfaceName: string, address: PciAddress, product: string) => Promise<DdpAnswer | null>;

const askNic: AskNic = async (interfaceName, address, product) =>
  (await askFirmware(interfaceName, product)) ?? (await askDdptool(address));

/** Reads the profiles of all i40e PFs that are not in `known` yet; those that can't be read are named in `problems`. */
export async function readDdpProfiles(
  functions: Functions,
  kernel: KernelFacts,
  known: DdpAnswers,
  problems: ReadProblem[],
  ask: AskNic = askNic,
): Promise<DdpProfiles> {
  const profiles = new Map<PciAddress, string>();
  const read = async (pf: PciFunction) => {
    const link = kernel.links.find(({ parentBus, parentDevice }) => parentBus === "pci" && parentDevice === pf.address);
    if (!link) return;
    const key = `${pf.address} ${link.index}`;
    if (!known.has(key)) {
      // It rejects where no process can be started.
      const answer = await ask(link.name, pf.address, pf.product).catch(() => null);
      if (answer === null) {
        const message =
          `the DDP profile of ${pf.address} is skipped: neither its firmware nor ddptool answered` as const;
        problems.push({ key: `ddp ${pf.address}`, message });
        return;
      }
      known.set(key, answer.profile);
    }
    const profile = known.get(key);
    if (profile) profiles.set(pf.address, profile);
  };
  const pfs = [...functions.pci.values()].filter(({ driver, physfn }) => driver === "i40e" && physfn === null);
  await Promise.all(pfs.map(read));
  return profiles;
}

/** What a NIC answered; null for no profile. */
export interface DdpAnswer {
  readonly profile: string | null;
}

/** The command that makes a second process of this program only query the firmware. */
export const ddpCommand = "ddp-profile";

/**
 * What that command prints: the answer of the firmware behind an interface, as JSON. A NIC without support for profiles, such as X722, has none loaded.
 * Throws DdpError or SystemError.
 */
export const ddpAnswer = (
  interfaceName: string,
  product: string,
  read: typeof readI40eDdpProfile = readI40eDdpProfile,
): string => {
  try {
    return JSON.stringify({ profile: read(interfaceName, Number.parseInt(product, 16)) } satisfies DdpAnswer);
  } catch (error) {
    if (!(error instanceof DdpError) || error.problem !== "unsupported") throw error;
    return JSON.stringify({ profile: null } satisfies DdpAnswer);
  }
};

/** Runs this program as a second process that only queries the firmware; null when that failed. */
async function askFirmware(interfaceName: string, product: string): Promise<DdpAnswer | null> {
  const { status, stdout } = await runLimited([process.execPath, ddpCommand, interfaceName, product]);
  if (status !== 0) return null;
  return JSON.parse(stdout) as DdpAnswer;
}

/** Runs ddptool where it is installed; its exit status 8 means that the NIC has no profile. */
async function askDdptool(address: PciAddress): Promise<DdpAnswer | null> {
  const tool = Bun.which("ddptool");
  if (tool === null) return null;
  const { status, stdout } = await runLimited([tool, "-l", "-a", "-j", "-s", address]);
  if (status === 8) return { profile: null };
  if (status !== 0) return null;
  try {
    const name = (JSON.parse(stdout) as { DDPInventory?: { DDPpackage?: { name?: unknown } } }).DDPInventory?.DDPpackage
      ?.name;
    return { profile: typeof name === "string" && name !== "" ? name : null };
  } catch {
    return null;
  }
}

async function runLimited(command: string[]): Promise<{ status: number; stdout: string }> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "ignore", timeout: limit });
  const stdout = await new Response(child.stdout).text();
  return { status: await child.exited, stdout };
}
