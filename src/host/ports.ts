// By which ports does a function reach the network, and by which names is a PF known? From links, devlink, sysfs and private flags
// to the facts that health decides by.

import { readAttribute } from "../../native/files.ts";
import type { Link } from "../../native/netlink/route.ts";
import type { InfinibandState, ParentFunction, PciAddress, Port, PortIdentity, SharedPorts } from "./device.ts";
import type { DevlinkFacts, KernelFacts } from "./kernel.ts";
import { isEthernetPort, isUplink, type LinksByDevice, linkStateOf, type PfLinks, pfLinksOf } from "./network.ts";
import type { PciFunction } from "./pci.ts";
import { type RdmaPort, readPortState, readSystemImageGuid } from "./rdma-devices.ts";
import type { Functions } from "./snapshot.ts";
import { orUnknown } from "./read-problem.ts";
import type { Folder } from "./userspace.ts";

/** What sysfs has of an interface and netlink does not. */
export interface InterfaceFacts {
  /** name_assign_type (include/uapi/linux/netdevice.h); null when the kernel does not report it. */
  readonly nameAssignType: number | null;
  readonly devPort: number | null;
}

/** Facts of interfaces by their index. */
export type Interfaces = ReadonlyMap<number, InterfaceFacts>;

/** Drivers whose PFs and VFs count the ports of the NIC by dev_port; with others it is unrelated to the port, or 0 for all. */
const countingPorts: ReadonlySet<string> = new Set(["mlx4_core", "cxgb4", "cxgb4vf"]);

/** Reads the facts of the interfaces of PCI functions. The kernel answers by itself, no driver is involved (net/core/net-sysfs.c). */
export function readInterfaces(functions: Functions, links: readonly Link[]): Interfaces {
  const number = (text: string | null) => (text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null);
  const interfaces = new Map<number, InterfaceFacts>();
  for (const link of links) {
    const owner = link.parentBus === "pci" ? functions.pci.get(link.parentDevice as PciAddress) : undefined;
    if (!owner) continue;
    const isPf = owner.physfn === null;
    const counts = countingPorts.has(owner.driver ?? "");
    if (!isPf && !counts) continue;
    const read = (name: string) => number(orUnknown(() => readAttribute(`${owner.folder}/net/${link.name}/${name}`)));
    interfaces.set(link.index, {
      nameAssignType: isPf ? read("name_assign_type") : null,
      devPort: counts ? read("dev_port") : null,
    });
  }
  return interfaces;
}

/** States of InfiniBand ports: by function, in the order of its ports. */
export type InfinibandStates = ReadonlyMap<string, readonly (InfinibandState | null)[]>;

/**
 * Reads the states of the InfiniBand ports of all functions but VFs, whose link their PF's port decides; with `earlier` ones only of
 * those whose address is in `owners`.
 */
export function readInfinibandStates(
  { pci, own }: Functions,
  owners: ReadonlySet<string>,
  earlier: InfinibandStates | null,
  reached: (what: string) => void,
): InfinibandStates {
  const states = new Map(earlier);
  for (const [address, folder] of pci) {
    if (earlier && !owners.has(address)) continue;
    const ports = own.get(address)?.infinibandPorts ?? [];
    if (ports.length > 0) reached(`the InfiniBand ports of ${address}`);
    if (ports.length > 0)
      states.set(
        address,
        ports.map((port) => readPortState(folder, port)),
      );
  }
  return states;
}

/** NET_NAME_ENUM: the kernel's own name, such as eth0, which udev may still replace. */
const NET_NAME_ENUM = 1;

/** What the ports of functions are made from. */
interface PortFacts {
  readonly functions: Functions;
  readonly kernel: KernelFacts;
  readonly links: LinksByDevice;
  readonly interfaces: Interfaces;
  readonly infiniband: InfinibandStates;
}

/** The ports of the node's functions, each put together once. */
export class Ports {
  readonly #facts: PortFacts;
  readonly #devlink: ReadonlyMap<string, DevlinkFacts>;
  readonly #linkDownOnClose: ReadonlyMap<string, boolean>;
  readonly #links = new Map<PciAddress, PfLinks>();
  readonly #parents = new Map<PciAddress, ParentFunction>();
  readonly #own = new Map<string, readonly Port[]>();
  /** Uplinks of eswitches by interface index. */
  #uplinks: ReadonlyMap<number, { readonly link: Link; readonly port: Port }> | null = null;

  constructor(facts: PortFacts) {
    this.#facts = facts;
    this.#devlink = new Map(facts.kernel.devlink.map((each) => [`${each.bus}/${each.device}`, each]));
    this.#linkDownOnClose = new Map(
      facts.kernel.ethtool.map(({ interfaceName, linkDownOnClose }) => [interfaceName, linkDownOnClose]),
    );
  }

  /** The links of a function that name it. */
  linksOf(address: PciAddress): PfLinks {
    const known = this.#links.get(address);
    if (known) return known;
    const pci = this.#facts.functions.pci.get(address);
    const mode = this.#devlink.get(`pci/${address}`)?.eswitchMode ?? null;
    const found = pfLinksOf(this.#facts.links.of("pci", address, pci?.entries ?? new Set()), mode);
    this.#links.set(address, found);
    return found;
  }

  /** The PF at an address, as those below it see it. */
  parent(address: PciAddress): ParentFunction {
    const known = this.#parents.get(address);
    if (known) return known;
    const source = this.#namingFunction(address);
    const { isSwitchdev, named } = this.linksOf(source);
    const [first, ...later] = named;
    const { interfaces } = this.#facts;
    const ports = this.of(source);
    const parent: ParentFunction = {
      address,
      interfaceName: first?.name ?? null,
      laterNames: later.map(({ name }) => name),
      isKernelNamed: named.some(
        ({ index }) => (interfaces.get(index)?.nameAssignType ?? NET_NAME_ENUM) === NET_NAME_ENUM,
      ),
      pendingNames: null,
      link: first ? linkStateOf(first) : null,
      isSwitchdev,
      ports,
      sharedPorts: this.#sharedPorts(named, source, ports),
    };
    this.#parents.set(address, parent);
    return parent;
  }

  /** The ports of a PCI function: those of its interfaces, and its InfiniBand ports. */
  of(address: PciAddress): readonly Port[] {
    const known = this.#own.get(address);
    if (known) return known;
    const { isSwitchdev, named } = this.linksOf(address);
    const pci = this.#facts.functions.pci.get(address);
    const ports = [
      ...this.#ofLinks(named, { id: address, driver: pci?.driver ?? null, isSwitchdev }),
      ...(pci ? this.#infinibandPorts(pci, isSwitchdev) : []),
    ];
    this.#own.set(address, ports);
    return ports;
  }

  /** What the interfaces of a VF show of the port that they use; nothing with most drivers. */
  identities(links: readonly Link[]): readonly PortIdentity[] {
    return links.flatMap(({ portId = null, index }) => {
      const devPort = this.#facts.interfaces.get(index)?.devPort ?? null;
      return portId === null && devPort === null ? [] : [{ portId, devPort }];
    });
  }

  /** Links as the ports of their owner; those that decide nothing of its health are left out. */
  #ofLinks(
    links: readonly Link[],
    owner: { readonly id: string; readonly driver: string | null; readonly isSwitchdev: boolean },
  ): readonly Port[] {
    return links.filter(isEthernetPort).map((link): Port => ({
      name: link.name,
      owner: owner.id,
      driver: owner.driver,
      isSwitchdev: owner.isSwitchdev,
      portId: link.portId ?? null,
      devPort: this.#facts.interfaces.get(link.index)?.devPort ?? null,
      link: linkStateOf(link),
      linkDownOnClose: this.#linkDownOnClose.get(link.name) ?? null,
      isInfiniband: false,
      infinibandState: null,
      graceEnds: null,
    }));
  }

  // With mlx4 a VF's IPoIB interface shows its port by dev_port, which counts from 0 (drivers/infiniband/ulp/ipoib/ipoib_main.c).
  #infinibandPorts({ address, driver }: PciFunction, isSwitchdev: boolean): Port[] {
    const { functions, infiniband } = this.#facts;
    const states = infiniband.get(address);
    return (functions.own.get(address)?.infinibandPorts ?? []).map(({ rdma, number }: RdmaPort, place): Port => ({
      name: `${rdma}/${number}`,
      owner: address,
      driver,
      isSwitchdev,
      portId: null,
      devPort: countingPorts.has(driver ?? "") ? number - 1 : null,
      link: null,
      linkDownOnClose: null,
      isInfiniband: true,
      infinibandState: states?.[place] ?? null,
      graceEnds: null,
    }));
  }

  /**
   * The function whose interface represents a PF: another one's for the second PF of an adapter in socket direct mode, whose driver
   * makes one interface for both (mlx5/core/lib/sd.c). Such PFs share NIC and function number.
   */
  #namingFunction(address: PciAddress): PciAddress {
    const { pci, own } = this.#facts.functions;
    const self = pci.get(address);
    if (self?.driver !== "mlx5_core" || self.physfn !== null || this.linksOf(address).named.length > 0) return address;
    const guidOf = (each: PciFunction & Folder) => {
      const [rdma] = own.get(each.address)?.rdmaNames ?? [];
      return rdma === undefined ? null : orUnknown(() => readSystemImageGuid(each, rdma));
    };
    const guid = guidOf(self);
    if (guid === null) return address;
    const twins = [...pci.values()].filter(
      (each) =>
        each !== self &&
        each.physfn === null &&
        each.driver === self.driver &&
        each.product === self.product &&
        each.address.at(-1) === address.at(-1) &&
        this.linksOf(each.address).named.length > 0 &&
        guidOf(each) === guid,
    );
    return twins.length === 1 ? (twins[0]?.address ?? address) : address;
  }

  /**
   * The ports that the NIC uses as one: those of a bond that all are uplinks of one switch id (VF-LAG: mlx5/core/lag, ice_lag), or all
   * uplinks of an eswitch in multiport mode; both in switchdev mode only. Any other bond is the host's alone: each VF goes on by its own port.
   */
  #sharedPorts(named: readonly Link[], address: PciAddress, own: readonly Port[]): SharedPorts | null {
    // In legacy mode ports may have a switch id and a port name too (ice/devlink/devlink_port.c, mlx5/core/en/devlink.c).
    if (!this.linksOf(address).isSwitchdev) return null;
    const uplinks = named.filter(isUplink);
    const [first] = uplinks;
    if (!first) return null;
    const ofSwitch = [...this.#allUplinks().values()].filter(({ link }) => link.switchId === first.switchId);
    if (this.#devlink.get(`pci/${address}`)?.eswMultiport === true && ofSwitch.length > own.length) {
      return { bond: null, ports: ofSwitch.map(({ port }) => port) };
    }
    const master = first.master === null ? undefined : this.#facts.links.byIndex(first.master);
    if (!master || (master.kind !== "bond" && master.kind !== "team")) return null;
    const members = this.#facts.links.mastered(master.index);
    const ports = members.map((link) => ofSwitch.find((each) => each.link.index === link.index)?.port);
    return ports.length > 1 && ports.every((port) => port !== undefined) ? { bond: master.name, ports } : null;
  }

  #allUplinks(): ReadonlyMap<number, { readonly link: Link; readonly port: Port }> {
    if (this.#uplinks) return this.#uplinks;
    const uplinks = new Map<number, { link: Link; port: Port }>();
    for (const { address, physfn } of this.#facts.functions.pci.values()) {
      if (physfn !== null) continue;
      for (const link of this.linksOf(address).named.filter(isUplink)) {
        const port = this.of(address).find((each) => each.link?.index === link.index);
        if (port) uplinks.set(link.index, { link, port });
      }
    }
    return (this.#uplinks = uplinks);
  }
}
