// What does a claim give to a container? One row per provider: device nodes, and keys for the INFO variable.
// Keys are those of the upstream plugin's code, which programs parse, and those of its documentation beside them.

import { commonNodes, deviceNode } from "../host/node-paths.ts";
import type { AllocationFacts } from "../host/allocation-facts.ts";
import type { Claim, PoolSpec } from "../pools/pool.ts";

/** A device node of the node and its place in the container. */
export interface DeviceNode {
  readonly hostPath: string;
  readonly containerPath: string;
}

/** What one provider gives. */
export interface Contribution {
  readonly nodes: readonly DeviceNode[];
  /** Keys below the provider's name in INFO. */
  readonly info: Readonly<Record<string, string>>;
}

/** A claim together with the nodes that its device has now. */
export interface ContributionInput {
  readonly claim: Claim;
  readonly facts: AllocationFacts;
  readonly spec: PoolSpec;
}

type Contributor = (input: ContributionInput) => Contribution | null;

const node = (hostPath: string, containerPath = hostPath): DeviceNode => ({ hostPath, containerPath });

/** VFIO's container node, and the group's under its plain number also in no-IOMMU mode (drivers/vfio/group.c). */
function vfio({ facts: { vfio: handle } }: ContributionInput): Contribution | null {
  if (!handle) return null;
  const info: Record<string, string> = { mount: commonNodes.vfio, "vfio-mount": commonNodes.vfio };
  const nodes = [node(commonNodes.vfio)];
  if (handle.group !== null && handle.node) {
    const inContainer = deviceNode(`vfio/${handle.group}`);
    info["dev-mount"] = inContainer;
    info["vfio-dev-mount"] = inContainer;
    nodes.push(node(handle.node.path, inContainer));
  }
  return { nodes, info };
}

/** The function's own VFIO node and /dev/iommu, in addition to the group, where the kernel has both. */
function iommufd({ facts, spec }: ContributionInput): Contribution | null {
  const cdev = facts.vfio?.cdev;
  if (!spec.iommufd || !facts.iommufd || !cdev?.present) return null;
  return {
    nodes: [node(commonNodes.iommu), node(cdev.path)],
    info: { mount: commonNodes.iommu, "dev-mount": cdev.path },
  };
}

// Unlike the upstream plugin, for every UIO driver: a uio_pci_generic device is useless without its node.
const uio: Contributor = ({ facts: { uio: handle } }) =>
  handle && { nodes: [node(handle.path)], info: { mount: handle.path } };

function extra({ claim: { device }, spec: { additionalInfo } }: ContributionInput): Contribution | null {
  if (!additionalInfo) return null;
  // As the upstream plugin for PCI functions; for an SF its own name counts before its parent's address.
  const own = { ...additionalInfo["*"], ...additionalInfo[device.pci], ...additionalInfo[device.id] };
  return { nodes: [], info: own };
}

/** RDMA character devices; of several RDMA devices the last one wins per key, as the upstream plugin. */
function rdma({ claim: { device, selectorObject }, facts }: ContributionInput): Contribution | null {
  if (selectorObject.isRdma !== true || !device.rdma) return null;
  const info: Record<string, string> = {};
  for (const { kind, path } of facts.rdma.nodes) info[kind] = path;
  const [firstName] = facts.rdma.names;
  if (firstName !== undefined) info["rdma_dev"] = firstName;
  return { nodes: facts.rdma.nodes.map(({ path }) => node(path)), info };
}

function vdpa({ claim: { selectorObject }, facts: { vdpa: handle } }: ContributionInput): Contribution | null {
  if (!selectorObject.vdpaType || !handle) return null;
  const path = handle.node?.path;
  return path === undefined ? { nodes: [], info: {} } : { nodes: [node(path)], info: { mount: path } };
}

function vhost({ claim: { selectorObject }, facts }: ContributionInput): Contribution | null {
  if (selectorObject.needVhostNet !== true || !facts.vhostNet) return null;
  return {
    nodes: [node(commonNodes.vhostNet), node(commonNodes.tun)],
    info: { "net-mount": commonNodes.vhostNet, "tun-mount": commonNodes.tun },
  };
}

/** Every provider, in the order in which their nodes are listed. */
export const contributors = {
  generic: ({ claim: { device } }) => ({ nodes: [], info: { deviceID: device.id } }),
  vfio,
  iommufd,
  uio,
  extra,
  extraInfo: extra,
  vdpa,
  rdma,
  vhost,
} as const satisfies Record<string, Contributor>;

export type ProviderName = keyof typeof contributors;

/** What providers give for one claim; those that do not apply are missing. */
export type Contributions = ReadonlyMap<ProviderName, Contribution>;

/** What all providers give for a claim. */
export function contribute(input: ContributionInput): Contributions {
  const all = new Map<ProviderName, Contribution>();
  for (const [name, contributor] of Object.entries(contributors) as [ProviderName, Contributor][]) {
    const contribution = contributor(input);
    if (contribution) all.set(name, contribution);
  }
  return all;
}

/** The device nodes of several claims, in their order, each host path once. */
export function nodesOf(contributions: Iterable<Contributions>): DeviceNode[] {
  const byHostPath = new Map<string, DeviceNode>();
  for (const contribution of contributions) {
    for (const { nodes } of contribution.values()) {
      for (const each of nodes) if (!byHostPath.has(each.hostPath)) byHostPath.set(each.hostPath, each);
    }
  }
  return [...byHostPath.values()];
}
