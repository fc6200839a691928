// What does a node with SR-IOV NICs look like? Builds the entries of a tree of any size from a short plan: /sys as the
// kernel lays it out (real folders below sys/devices, links elsewhere), /dev, and what netlink answers.

import type { Link, VfLinkState } from "../../native/netlink/route.ts";
import type { DevlinkFacts, KernelFacts } from "../../src/host/kernel.ts";
import { attribute, device, type Entry, folder, kernelFacts, link } from "./tree.ts";

/** What a PF or a VF is used through. A driver that is not listed binds without making anything. */
const drivers = {
  ice: "netdev",
  i40e: "netdev",
  ixgbe: "netdev",
  iavf: "netdev",
  mlx4_core: "netdev",
  mlx5_core: "netdev",
  bnxt_en: "netdev",
  "vfio-pci": "vfio",
  igb_uio: "uio",
  uio_pci_generic: "uio",
} as const satisfies Record<string, "netdev" | "vfio" | "uio">;

/** NICs by a short name: PCI ids of the PF and its VFs (pci.ids), and the drivers that bind to them by default. */
export const nics = {
  e810: { vendor: "8086", product: "159b", vfProduct: "1889", driver: "ice", vfDriver: "iavf" },
  x710: { vendor: "8086", product: "1572", vfProduct: "154c", driver: "i40e", vfDriver: "iavf" },
  x520: { vendor: "8086", product: "10fb", vfProduct: "10ed", driver: "ixgbe", vfDriver: "ixgbevf" },
  connectx3: { vendor: "15b3", product: "1003", vfProduct: "1004", driver: "mlx4_core", vfDriver: "mlx4_core" },
  connectx5: { vendor: "15b3", product: "1017", vfProduct: "1018", driver: "mlx5_core", vfDriver: "mlx5_core" },
  connectx6: { vendor: "15b3", product: "101d", vfProduct: "101e", driver: "mlx5_core", vfDriver: "mlx5_core" },
  bluefield2: { vendor: "15b3", product: "a2d6", vfProduct: "101e", driver: "mlx5_core", vfDriver: "mlx5_core" },
  broadcom: { vendor: "14e4", product: "1750", vfProduct: "1806", driver: "bnxt_en", vfDriver: "bnxt_en" },
} as const;

export type NicName = keyof typeof nics;

/** Some VFs of a PF that are alike. */
export interface VfPlan {
  readonly count: number;
  /** Default: what binds by default. null: no driver. */
  readonly driver?: string | null;
  /** RDMA devices beside the netdev; default false. */
  readonly rdma?: boolean;
  /** The policy of `ip link set PF vf N state`; default "auto". */
  readonly linkState?: VfLinkState;
  /** The port of a PF with several interfaces that the VF's interface is on, from 0. */
  readonly port?: number;
  /** The VFIO group is one of the no-IOMMU mode. */
  readonly noIommu?: boolean;
  /** A vDPA device that the VF manages, and what it is bound to; the VF then has no netdev of its own. */
  readonly vdpa?: "vhost" | "virtio";
}

/** A PF and all below it. */
export interface PfPlan {
  readonly nic: NicName;
  /** The interface's name; null for a PF without a netdev, as one that is bound to vfio-pci. */
  readonly name: string | null;
  /** Default: bus 3b:00.0 for the first PF, four buses further for each other. */
  readonly address?: string;
  readonly driver?: string | null;
  /** null writes the -1 that says "unknown". Default 0. */
  readonly numaNode?: number | null;
  readonly acpiIndex?: string;
  /** Operational and administrative state. Default up. */
  readonly link?: LinkStatePlan;
  /** Of an interface that never had a carrier: 0. Default: one carrier where it is up, and nothing told where it is not. */
  readonly carrierUps?: number;
  /** What the driver's private flag link-down-on-close says; default: not told. */
  readonly linkDownOnClose?: boolean;
  /** Further interfaces of the PF, as mlx4 has one for each port: the second one counts port 1, and so on. */
  readonly morePorts?: readonly { readonly name: string; readonly link?: LinkStatePlan }[];
  /** The id of the eswitch in switchdev mode; PFs of one NIC share it. Default: one of its own. */
  readonly switchId?: string;
  /** Whether the eswitch is in multiport mode. */
  readonly eswMultiport?: boolean;
  /** The state of the PF's InfiniBand port as sysfs spells it; default "4: ACTIVE". */
  readonly portState?: string;
  readonly linkType?: "ether" | "infiniband";
  /** The P_Key at index 0 of the RDMA devices of PF and VFs. */
  readonly pKey?: string;
  readonly rdma?: boolean;
  readonly eswitch?: "legacy" | "switchdev";
  /** The DDP package that devlink tells for the PF. */
  readonly ddpProfile?: string;
  readonly vfs?: readonly VfPlan[];
  /** Sub-functions, by their sfnum. */
  readonly sfs?: readonly { readonly sfnum: number; readonly rdma?: boolean }[];
}

/** "up", "down" (no carrier) or "disabled" (administratively down). */
export type LinkStatePlan = "up" | "down" | "disabled";

/** An interface without a device of its own, over others. */
export interface UpperPlan {
  readonly name: string;
  readonly kind: "bond" | "bridge" | "team" | "vlan" | "macvlan";
  /** Names of the interfaces below it. */
  readonly over: readonly string[];
}

/** A function that is neither a NIC nor an accelerator, or an accelerator. */
export interface FunctionPlan {
  readonly address: string;
  readonly vendor: string;
  readonly product: string;
  /** Six hexadecimal digits. */
  readonly pciClass: string;
  readonly driver?: string | null;
  readonly numaNode?: number | null;
  readonly acpiIndex?: string;
}

/** A whole node. */
export interface NodePlan {
  readonly pfs?: readonly PfPlan[];
  readonly functions?: readonly FunctionPlan[];
  readonly uppers?: readonly UpperPlan[];
  /** Names of the interfaces by which default routes leave. */
  readonly defaultRoutes?: readonly string[];
  /** Whether /dev/vhost-net and /dev/net/tun are there; default true. */
  readonly vhostNet?: boolean;
  /** Seconds since the node booted; default: a long time. */
  readonly uptime?: number;
}

/** The Intel FPGA of the upstream plugin's documentation. */
export const accelerator = (address: string, more: Partial<FunctionPlan> = {}): FunctionPlan => ({
  address,
  vendor: "8086",
  product: "0d90",
  pciClass: "120000",
  driver: "vfio-pci",
  ...more,
});

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

  /** Adds a PCI function: identity, driver, IOMMU group, and the nodes that its driver makes. Gives its folder. */
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

  /** Adds a netdev to a device's folder, and the link that netlink tells of it. */
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

/** How a driver lets its devices be used; null for drivers that make nothing. */
export const usage = (driver: string | null): "netdev" | "vfio" | "uio" | null =>
  driver !== null && Object.hasOwn(drivers, driver) ? drivers[driver as keyof typeof drivers] : null;

const linkTypeOf = ({ linkType = "ether" }: Pick<PfPlan, "linkType">) => ({ linkType });

/** The address of a VF: routing ids follow the PF's, eight further for the first (First VF Offset), one a VF. */
export function vfAddress(pf: string, index: number): string {
  const [domain = "", bus = "", rest = ""] = pf.split(":");
  const [slot = "", fn = ""] = rest.split(".");
  const id = (Number.parseInt(bus, 16) << 8) + (Number.parseInt(slot, 16) << 3) + Number(fn) + 8 + index;
  return `${domain}:${hex(id >> 8, 2)}:${hex((id >> 3) & 0x1f, 2)}.${id & 7}`;
}

/** The real folder of a PCI function; every bus of a domain hangs below the same bridge here. */
export const pciFolder = (address: string): string => {
  const [domain = ""] = address.split(":");
  return `sys/devices/pci${domain}:00/${address}`;
};

/** A relative link from one place of the tree to another. */
export const linked = (from: string, to: string): [Entry] => {
  const up = from.split("/").slice(0, -1);
  const down = to.split("/");
  let common = 0;
  while (common < up.length && up[common] === down[common]) common++;
  return [link(from, [...up.slice(common).map(() => ".."), ...down.slice(common)].join("/"))];
};

/** drivers/pci/pci-sysfs.c modalias_show. */
export function modalias(vendor: string, product: string, pciClass: string): string {
  const long = (id: string) => id.toUpperCase().padStart(8, "0");
  const [base, sub, programming] = pciClass.toUpperCase().match(/../g) ?? [];
  return `pci:v${long(vendor)}d${long(product)}sv${long(vendor)}sd00000000bc${base}sc${sub}i${programming}`;
}

const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const IFF_LOWER_UP = 0x10000;

/** Flags and states of a link (Documentation/networking/operstates.rst). */
export const linkStates = {
  up: { flags: IFF_UP | IFF_RUNNING | IFF_LOWER_UP, operstate: "up", carrier: true },
  down: { flags: IFF_UP, operstate: "down", carrier: false },
  disabled: { flags: 0, operstate: "down", carrier: null },
} as const satisfies Record<LinkStatePlan, Pick<Link, "flags" | "operstate" | "carrier">>;

function aLink(index: number, name: string, state: LinkStatePlan): Link {
  return {
    index,
    name,
    arphrd: 1,
    ...linkStates[state],
    master: null,
    lower: null,
    kind: null,
    slaveKind: null,
    parentBus: null,
    parentDevice: null,
    switchId: null,
    portName: null,
    carrierUps: null,
    portId: null,
    vfLinkStates: {},
  };
}

/** Entries without those that say what an earlier one said of the same path. */
function unique(entries: readonly Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) if (!byPath.has(entry.path)) byPath.set(entry.path, entry);
  return [...byPath.values()];
}

/** A file of a tree by its path; undefined when there is none. */
export const fileIn = (entries: readonly Entry[], path: string): string | Uint8Array | undefined =>
  entries.flatMap((entry) => (entry.kind === "file" && entry.path === path ? [entry.content] : []))[0];
