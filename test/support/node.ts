// A node with SR-IOV NICs. Builds the entries of a tree of any size from a short plan: /sys as the
// kernel lays it out (real folders below sys/devices, links elsewhere), /dev, and what netlink answers.

import type { Link } from "../../native/netlink/route.ts";
import type { DevlinkFacts, KernelFacts } from "../../src/host/kernel.ts";
import { aLink, hex, linked, linkTypeOf, modalias, pciFolder, unique, usage, vfAddress } from "./node-entries.ts";
import {
  type FunctionPlan,
  type LinkStatePlan,
  nics,
  type NodePlan,
  type PfPlan,
  type UpperPlan,
  type VfPlan,
} from "./node-plan.ts";
import { attribute, device, type Entry, folder, kernelFacts, link } from "./tree.ts";

/** The entries of a node. */
export function buildNode(plan: NodePlan): Entry[] {
  const builder = new NodeBuilder();
  const { pfs = [], functions = [], uppers = [], defaultRoutes = [], vhostNet = true, uptime } = plan;
  builder.add(device("dev/vfio/vfio"));
  if (vhostNet) builder.add(device("dev/vhost-net"), device("dev/net/tun"));
  if (uptime !== undefined) builder.add(attribute("proc/uptime", `${uptime.toFixed(2)} 0.00`));
  for (const [index, pf] of pfs.entries()) builder.pf(pf, index);
  for (const each of functions) builder.plainFunction(each);
  for (const upper of uppers) builder.upper(upper);
  return builder.finish(defaultRoutes);
}

/** The entries and netlink facts that a node consists of while it is put together; numbers are given out in order. */
export class NodeBuilder {
  readonly entries: Entry[] = [];
  readonly links: Link[] = [];
  readonly devlink: DevlinkFacts[] = [];
  readonly vdpa: KernelFacts["vdpa"][number][] = [];
  readonly ethtool: KernelFacts["ethtool"][number][] = [];
  readonly #next: Record<"iommuGroup" | "uio" | "vfio" | "rdma" | "interface" | "vdpa" | "aux", number>;

  /** Numbers begin where `first` says: an existing tree has used some. */
  constructor(first: Partial<NodeBuilder["nextNumbers"]> = {}) {
    this.#next = { iommuGroup: 1, uio: 0, vfio: 0, rdma: 0, interface: 2, vdpa: 0, aux: 2, ...first };
  }

  get nextNumbers(): Readonly<Record<"iommuGroup" | "uio" | "vfio" | "rdma" | "interface" | "vdpa" | "aux", number>> {
    return this.#next;
  }

  add(...entries: readonly Entry[]): void {
    this.entries.push(...entries);
  }

  /** All entries, with links and routes as the last one. */
  finish(defaultRoutes: readonly string[]): Entry[] {
    const exits = defaultRoutes.map((name) => {
      const found = this.links.find((each) => each.name === name);
      if (!found) throw new Error(`no interface is named ${name}`);
      return found.index;
    });
    const configured = exits.length === 0 ? {} : { configuredRouteExits: exits };
    const { links, devlink, vdpa, ethtool } = this;
    const facts = { links, defaultRouteExits: exits, ...configured, devlink, vdpa, ethtool };
    return [...unique(this.entries), kernelFacts(facts)];
  }

  pf(plan: PfPlan, index: number): void {
    const { nic, name, vfs = [], sfs = [], linkType = "ether", link: state = "up" } = plan;
    const { vendor, product, driver, vfProduct, vfDriver } = nics[nic];
    const address = plan.address ?? `0000:${hex(0x3b + index * 4, 2)}:00.0`;
    const pciClass = linkType === "infiniband" ? "020700" : "020000";
    const plans = vfs.flatMap(({ count, ...vf }) => Array.from({ length: count }, () => vf));
    const bound = plan.driver === undefined ? driver : plan.driver;
    const self = this.function({ ...plan, address, vendor, product, pciClass, driver: bound });
    const total = Math.max(64, plans.length);
    this.add(attribute(`${self}/sriov_totalvfs`, String(total)), attribute(`${self}/sriov_numvfs`, `${plans.length}`));
    const switchId = plan.eswitch === "switchdev" ? (plan.switchId ?? `00000000${hex(0xaabb00 + index, 8)}`) : null;
    const { carrierUps, morePorts = [] } = plan;
    if (name !== null) {
      this.interface(self, name, {
        state,
        isPf: true,
        ...(morePorts.length > 0 ? { port: 0 } : {}),
        ...(carrierUps === undefined ? {} : { carrierUps }),
        linkType,
        parent: ["pci", address],
        switchId,
        portName: switchId === null ? null : `p${index}`,
        vfLinkStates: Object.fromEntries(plans.map(({ linkState = "auto" }, vf) => [vf, linkState])),
      });
    }
    for (const [place, more] of morePorts.entries()) {
      const { link: itsState = "up" } = more;
      this.interface(self, more.name, {
        state: itsState,
        isPf: true,
        port: place + 1,
        linkType,
        parent: ["pci", address],
      });
    }
    if (name !== null && plan.linkDownOnClose !== undefined) {
      this.ethtool.push({ interfaceName: name, linkDownOnClose: plan.linkDownOnClose });
    }
    if (plan.rdma === true) this.rdma(self, { ...plan, portState: plan.portState ?? "4: ACTIVE" });
    if (plan.eswitch !== undefined || plan.ddpProfile !== undefined || nic.startsWith("connectx")) {
      this.devlink.push({
        bus: "pci",
        device: address,
        eswitchMode: plan.eswitch ?? "legacy",
        ddpProfile: plan.ddpProfile ?? null,
        enableRdma: null,
        ...(plan.eswMultiport === undefined ? {} : { eswMultiport: plan.eswMultiport }),
      });
    }
    for (const [number, vf] of plans.entries()) {
      const of = { pf: address, index: number, pfName: name, ...vf };
      this.vf({ driver: vfDriver, ...of }, { vendor, product: vfProduct, pciClass, plan });
      if (switchId !== null && name !== null) {
        const port = `pf${index}vf${number}`;
        const representor = { state, linkType, parent: ["pci", address], switchId, portName: port } as const;
        this.interface(self, `${name}_${number}`, representor);
      }
    }
    for (const sf of sfs) this.sf(self, address, sf, name, plan);
  }

  /** Adds a VF to the PF at `pf`; the PF's folder must be there already. */
  vf(
    vf: Omit<VfPlan, "count"> & { readonly pf: string; readonly index: number; readonly pfName: string | null },
    of: { vendor: string; product: string; pciClass: string; plan: Pick<PfPlan, "numaNode" | "linkType" | "pKey"> },
  ): string {
    const address = vfAddress(vf.pf, vf.index);
    const { vendor, product, pciClass, plan } = of;
    const { driver = null, noIommu = false } = vf;
    const { numaNode = 0 } = plan;
    const self = this.function({ address, vendor, product, pciClass, driver, numaNode, noIommu, below: vf.pf });
    this.add(link(`${pciFolder(vf.pf)}/virtfn${vf.index}`, `../${address}`), link(`${self}/physfn`, `../${vf.pf}`));
    if (vf.vdpa) this.vdpaDevice(self, address, vf.vdpa);
    else if (usage(driver) === "netdev") {
      const name = `${vf.pfName ?? `vf${vf.pf.slice(5, 7)}`}v${vf.index}`;
      const port = vf.port === undefined ? {} : { port: vf.port };
      this.interface(self, name, { state: "disabled", parent: ["pci", address], ...port, ...linkTypeOf(plan) });
      if (vf.rdma === true) this.rdma(self, { ...plan, portState: "1: DOWN" });
    }
    return address;
  }

  sf(
    parentFolder: string,
    parent: string,
    { sfnum, rdma }: { sfnum: number; rdma?: boolean },
    name: string | null,
    plan: PfPlan,
  ): void {
    const id = `mlx5_core.sf.${this.#next.aux++}`;
    const self = `${parentFolder}/${id}`;
    this.add(
      attribute(`${self}/sfnum`, String(sfnum)),
      ...linked(`sys/bus/auxiliary/devices/${id}`, self),
      ...linked(`${self}/driver`, "sys/bus/auxiliary/drivers/mlx5_core.sf"),
    );
    this.interface(self, `${name ?? parent}s${sfnum}`, {
      state: "up",
      parent: ["auxiliary", id],
      ...linkTypeOf(plan),
    });
    if (rdma === true) this.rdma(self, { ...plan, portState: "4: ACTIVE" });
  }

  plainFunction(plan: FunctionPlan): void {
    this.function(plan);
  }

  upper({ name, kind, over }: UpperPlan): void {
    const index = this.#next.interface++;
    const below = over.map((lower) => {
      const at = this.links.findIndex((each) => each.name === lower);
      const found = this.links[at];
      if (!found) throw new Error(`no interface is named ${lower}`);
      return { at, found };
    });
    const stacked = kind === "vlan" || kind === "macvlan";
    if (!stacked) {
      for (const { at, found } of below) this.links[at] = { ...found, master: index, slaveKind: kind };
    }
    const lower = stacked ? (below[0]?.found.index ?? null) : null;
    this.links.push({ ...aLink(index, name, "up"), kind, lower });
  }

  /** Adds a PCI function: identity, driver, IOMMU group, and the nodes that its driver makes. Returns its folder. */
  function(plan: FunctionPlan & { readonly noIommu?: boolean; readonly below?: string }): string {
    const { address, vendor, product, pciClass, driver = null, numaNode = 0, acpiIndex, noIommu = false } = plan;
    const self = pciFolder(address);
    this.add(
      attribute(`${self}/modalias`, modalias(vendor, product, pciClass)),
      attribute(`${self}/vendor`, `0x${vendor}`),
      attribute(`${self}/device`, `0x${product}`),
      attribute(`${self}/class`, `0x${pciClass}`),
      attribute(`${self}/numa_node`, String(numaNode ?? -1)),
      ...linked(`sys/bus/pci/devices/${address}`, self),
    );
    if (acpiIndex !== undefined) this.add(attribute(`${self}/acpi_index`, acpiIndex));
    const group = String(this.#next.iommuGroup++);
    this.add(...linked(`${self}/iommu_group`, `sys/kernel/iommu_groups/${group}`));
    if (noIommu) this.add(attribute(`sys/kernel/iommu_groups/${group}/name`, "vfio-noiommu"));
    else this.add(attribute(`sys/kernel/iommu_groups/${group}/type`, "DMA"));
    if (driver !== null) this.bind(self, driver, group, noIommu);
    return self;
  }

  /** What a driver makes when it binds, but netdevs. */
  bind(self: string, driver: string, group: string, noIommu: boolean): void {
    this.add(...linked(`${self}/driver`, `sys/bus/pci/drivers/${driver}`));
    if (usage(driver) === "vfio") {
      const name = `vfio${this.#next.vfio++}`;
      this.add(folder(`${self}/vfio-dev/${name}`), device(`dev/vfio/${noIommu ? "noiommu-" : ""}${group}`));
    }
    if (usage(driver) === "uio") {
      const name = `uio${this.#next.uio++}`;
      this.add(attribute(`${self}/uio/${name}/name`, driver), device(`dev/${name}`));
    }
  }

  /** Adds a netdev to a device's folder, and its link in netlink. */
  interface(
    self: string,
    name: string,
    {
      state,
      linkType,
      parent: [parentBus, parentDevice],
      switchId = null,
      portName = null,
      vfLinkStates = {},
      carrierUps = state === "up" ? 1 : null,
      isPf = false,
      port = null,
    }: {
      readonly state: LinkStatePlan;
      readonly linkType: "ether" | "infiniband";
      readonly parent: readonly [bus: string, device: string];
      readonly switchId?: string | null;
      readonly portName?: string | null;
      readonly vfLinkStates?: Link["vfLinkStates"];
      readonly carrierUps?: number | null;
      readonly isPf?: boolean;
      /** dev_port, and a phys_port_id of the port. */
      readonly port?: number | null;
    },
  ): void {
    const arphrd = linkType === "infiniband" ? 32 : 1;
    const index = this.#next.interface++;
    const itself = `${self}/net/${name}`;
    this.add(attribute(`${itself}/type`, String(arphrd)), ...linked(`sys/class/net/${name}`, itself));
    // NET_NAME_RENAMED: udev has named it.
    if (isPf) this.add(attribute(`${itself}/name_assign_type`, "4"));
    if (port !== null) this.add(attribute(`${itself}/dev_port`, String(port)));
    if (switchId !== null) this.add(attribute(`${itself}/phys_switch_id`, switchId));
    if (portName !== null) this.add(attribute(`${itself}/phys_port_name`, portName));
    this.links.push({
      ...aLink(index, name, state),
      arphrd,
      parentBus,
      parentDevice,
      switchId,
      portName,
      portId: port === null ? null : `0000000000e41d0${port}`,
      carrierUps,
      vfLinkStates,
    });
  }

  /** Adds an RDMA device with its character devices, as mlx5_ib makes them: no ucm, one port. */
  rdma(
    self: string,
    { pKey = "0xffff", linkType = "ether", portState }: Pick<PfPlan, "pKey" | "linkType" | "portState"> = {},
  ): void {
    const number = this.#next.rdma++;
    const name = `mlx5_${number}`;
    const port = `${self}/infiniband/${name}/ports/1`;
    this.add(
      attribute(`${port}/link_layer`, linkType === "infiniband" ? "InfiniBand" : "Ethernet"),
      attribute(`${port}/pkeys/0`, pKey),
      attribute(`${port}/state`, portState ?? "4: ACTIVE"),
      device("dev/infiniband/rdma_cm"),
    );
    for (const [subsystem, node] of [
      ["infiniband_mad", `umad${number}`],
      ["infiniband_mad", `issm${number}`],
      ["infiniband_verbs", `uverbs${number}`],
    ] as const) {
      this.add(
        attribute(`${self}/${subsystem}/${node}/ibdev`, name),
        ...linked(`sys/class/${subsystem}/${node}`, `${self}/${subsystem}/${node}`),
        device(`dev/infiniband/${node}`),
      );
    }
  }

  /** Adds a vDPA device that the function manages. */
  vdpaDevice(self: string, address: string, type: "vhost" | "virtio"): void {
    const number = this.#next.vdpa++;
    const name = `vdpa${number}`;
    this.vdpa.push({ name, managementBus: "pci", managementDevice: address });
    this.add(
      ...linked(`sys/bus/vdpa/devices/${name}`, `${self}/${name}`),
      ...linked(`${self}/${name}/driver`, `sys/bus/vdpa/drivers/${type}_vdpa`),
    );
    if (type === "vhost") {
      this.add(folder(`${self}/${name}/vhost-vdpa-${number}`), device(`dev/vhost-vdpa-${number}`));
    } else {
      const virtio = `virtio${number}`;
      this.add(...linked(`sys/bus/virtio/devices/${virtio}`, `${self}/${virtio}`));
      this.interface(`${self}/${virtio}`, `vdpa_eth${number}`, {
        state: "up",
        linkType: "ether",
        parent: ["virtio", virtio],
      });
    }
  }
}
