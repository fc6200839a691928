// One scan of the node: what sysfs, netlink and, on request, the NIC's firmware report, as devices.

import { type DdpAnswers, type DdpProfiles, readDdpProfiles } from "./ddp.ts";
import type { Device } from "./device.ts";
import { type DevlinkQuestions, isRecorded, type KernelFacts, readKernelFacts } from "./kernel.ts";
import { type InfinibandStates, type Interfaces, readInfinibandStates, readInterfaces } from "./ports.ts";
import { devicesOf, type Functions, readFunctions } from "./snapshot.ts";
import type { ReadProblem } from "./read-problem.ts";
import { readVhostNet, vhostNetProblems } from "./userspace.ts";

/** What a scan found, and what the next one may use again. */
export interface ScannedNode {
  readonly functions: Functions;
  readonly kernel: KernelFacts;
  readonly ddpProfiles: DdpProfiles;
  readonly interfaces: Interfaces;
  readonly infiniband: InfinibandStates;
  readonly devices: readonly Device[];
  readonly problems: readonly ReadProblem[];
}

/** Facts that are expensive and read only on request. */
export interface OptionalFacts {
  readonly ddpProfiles: boolean;
  readonly enableRdma: boolean;
  /** The functions whose InfiniBand ports count: a scan of links queries the NIC for no others. */
  readonly infiniband?: ReadonlySet<string>;
  /** Whether the nodes of vhost-net are needed: a problem is reported when they are missing. */
  readonly vhostNet: boolean;
}

/** What outlives a scan, and where its progress goes. */
export interface ScanContext {
  /** What NICs' firmware answered before. */
  readonly ddpAnswers: DdpAnswers;
  /** Called with what is read next, before it is: a driver may never answer. */
  readonly reached: (what: string) => void;
}

const newContext = (): ScanContext => ({ ddpAnswers: new Map(), reached: () => {} });

/**
 * Scans the node below `root`. With an earlier scan only links and routes are read again. Rejects when PCI functions, links or routes can't be
 * read at all.
 */
export async function scanNode(
  root: string,
  optional: OptionalFacts,
  earlier: ScannedNode | null,
  { ddpAnswers, reached }: ScanContext = newContext(),
): Promise<ScannedNode> {
  const functions = earlier?.functions ?? readFunctions(root, reached);
  const problems = [...functions.problems];
  const kernel = readKernelFacts(root, questionsOn(functions, optional), earlier?.kernel ?? null, problems, reached);
  const ddpProfiles =
    earlier?.ddpProfiles ??
    (optional.ddpProfiles && !isRecorded(root)
      ? await readDdpProfiles(functions, kernel, ddpAnswers, problems)
      : (new Map() as DdpProfiles));
  const interfaces = earlier?.interfaces ?? readInterfaces(functions, kernel.links);
  const owners = optional.infiniband ?? new Set();
  const infiniband = readInfinibandStates(functions, owners, earlier?.infiniband ?? null, reached);
  const devices = devicesOf(root, functions, kernel, ddpProfiles, { interfaces, infiniband }, problems);
  if (optional.vhostNet && !earlier) problems.push(...vhostNetProblems(readVhostNet(root)));
  return { functions, kernel, ddpProfiles, interfaces, infiniband, devices, problems };
}

/** Drivers that have the private flag link-down-on-close (i40e_ethtool.c, ice_ethtool.c). */
const keepsLinkUnless: ReadonlySet<string> = new Set(["i40e", "ice"]);

/** Eswitch modes are PFs'; packages are reported by a device or its PF; only a device without RDMA devices may have them in another namespace. */
function questionsOn({ pci, own }: Functions, optional: OptionalFacts): DevlinkQuestions {
  const pfs = new Set<string>();
  for (const { address, physfn, virtfns } of pci.values()) {
    if (virtfns.size > 0) pfs.add(`pci/${address}`);
    if (physfn !== null) pfs.add(`pci/${physfn}`);
  }
  const functionOf = (key: string) => pci.get(key.slice("pci/".length) as never);
  return {
    eswitch: (key) => pfs.has(key) || functionOf(key)?.physfn === null,
    eswMultiport: (key) => pfs.has(key) && functionOf(key)?.driver === "mlx5_core",
    linkDownOnClose: (address) => keepsLinkUnless.has(pci.get(address as never)?.driver ?? ""),
    ddpProfile: (key) => optional.ddpProfiles && functionOf(key) !== undefined,
    enableRdma: (key) => {
      const facts = own.get(key.slice(key.indexOf("/") + 1));
      return optional.enableRdma && facts !== undefined && facts.rdmaNames.length === 0 && !facts.rdmaAway;
    },
  };
}
