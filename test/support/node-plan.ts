// What is a node with SR-IOV NICs described by? A short plan: NICs, their VFs and SFs, links and other functions.

import type { VfLinkState } from "../../native/netlink/route.ts";

/** What a PF or a VF is used through. A driver that is not listed binds without making anything. */
export const drivers = {
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
  /** Of an interface that never had a carrier: 0. Default: one carrier where it is up, and none reported where it is not. */
  readonly carrierUps?: number;
  /** What the driver's private flag link-down-on-close says; default: not reported. */
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
  /** The DDP package that devlink reports for the PF. */
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
