// What is a device? A record of facts read from the node; facts never depend on who reads them.
// This file holds types only: the pure half of the program imports nothing else from host/.

/** A PCI function's address as sysfs spells it: "0000:3b:02.1", the domain four or more hexadecimal digits wide. */
export type PciAddress = string & { readonly __brand: "PciAddress" };

/** A character device: its path on the node, and whether the node has it now. */
export interface CharDevice {
  readonly path: string;
  readonly present: boolean;
}

/** How a function that is bound to a VFIO driver is opened (Documentation/driver-api/vfio.rst). */
export interface Vfio {
  /** The IOMMU group's number; null when the function has no group. */
  readonly group: string | null;
  /** True when the group is one of VFIO's no-IOMMU mode. */
  readonly noIommu: boolean;
  /** The group's node on the host, "/dev/vfio/12" or "/dev/vfio/noiommu-12"; null without a group. */
  readonly node: CharDevice | null;
  /** The function's own node "/dev/vfio/devices/vfioN"; null where the kernel has none. */
  readonly cdev: CharDevice | null;
}

/** A vDPA device whose management device is the PCI function. */
export interface Vdpa {
  readonly name: string;
  /** vhost_vdpa is "vhost", virtio_vdpa is "virtio"; null when bound to neither. */
  readonly type: "vhost" | "virtio" | null;
  /** "/dev/vhost-vdpa-N"; null for virtio, and for a vhost device that has lost it. */
  readonly node: CharDevice | null;
}

/** The state of a network link as health sees it. */
export interface LinkState {
  readonly interfaceName: string;
  /** The interface's index: changes when the driver recreates the interface. */
  readonly index: number;
  readonly adminUp: boolean;
  /** RFC 2863 state (Documentation/networking/operstates.rst). */
  readonly operstate: string;
  /** null when the interface does not report it. */
  readonly carrier: boolean | null;
  /** How often the interface got a carrier since it was created; null when the kernel does not count. */
  readonly carrierUps: number | null;
}

/** The state of an InfiniBand port (include/rdma/ib_verbs.h, enum ib_port_state). */
export type InfinibandState = "DOWN" | "INIT" | "ARMED" | "ACTIVE" | "ACTIVE_DEFER";

/** What identifies a port of a NIC that two functions share. */
export interface PortIdentity {
  /** phys_port_id; null when the driver has none. */
  readonly portId: string | null;
  /** dev_port, of drivers whose functions count the ports of the NIC by it; null for others. */
  readonly devPort: number | null;
}

/** A port by which a function reaches the network. */
export interface Port extends PortIdentity {
  /** "ens1f0", or "mlx5_0/1" for port 1 of an RDMA device. */
  readonly name: string;
  /** The function whose port it is. */
  readonly owner: string;
  readonly driver: string | null;
  /** Whether the function's eswitch is in switchdev mode. */
  readonly isSwitchdev: boolean;
  /** The state of its interface; null for an InfiniBand port. */
  readonly link: LinkState | null;
  /** The driver's private flag link-down-on-close; null when it was not read, or the driver has none. */
  readonly linkDownOnClose: boolean | null;
  /** Whether it is an InfiniBand port, which its own state decides and never the IPoIB interface. */
  readonly isInfiniband: boolean;
  /** null when it can't be read, and for other ports. */
  readonly infinibandState: InfinibandState | null;
  /**
   * Until when the lack of a carrier does not count, since there can be none yet, in milliseconds of the clock that recall is given;
   * null when it counts. Readers have no earlier scan and give null.
   */
  readonly graceEnds: number | null;
}

/** Ports of several functions that a NIC uses as one: its functions reach the network by any of them. */
export interface SharedPorts {
  /** The bond's interface; null for an eswitch in multiport mode. */
  readonly bond: string | null;
  readonly ports: readonly Port[];
}

/** The physical function above a VF or an SF. */
export interface ParentFunction {
  readonly address: PciAddress;
  /** The PF's interface name, in switchdev mode the uplink representor's; null when it has none. */
  readonly interfaceName: string | null;
  /** Names of further interfaces of a PF that has several. */
  readonly laterNames: readonly string[];
  /** Whether any of the names is the kernel's own choice (NET_NAME_ENUM), or it is not known whose it is. */
  readonly isKernelNamed: boolean;
  /** Names that will replace those above when they are still there at that time, on recall's clock; null when none are about to. */
  readonly pendingNames: { readonly key: string; readonly at: number } | null;
  /** The state of the interface that names the PF; null when no interface of the PF is visible. */
  readonly link: LinkState | null;
  readonly isSwitchdev: boolean;
  /** The ports that can be seen; none when no interface of the PF is visible. */
  readonly ports: readonly Port[];
  /** null when the NIC uses each port for its own functions. */
  readonly sharedPorts: SharedPorts | null;
}

/** One PCI function or one auxiliary device of one. */
export interface Device {
  /** The device id of the kubelet: a PCI address, or an auxiliary device's name ("mlx5_core.sf.4"). */
  readonly id: string;
  /** Changes when the function was removed and added again, or another one has its id. */
  readonly instance: string;
  readonly bus: "pci" | "auxiliary";
  /** The PCI function itself, or the function below which the auxiliary device hangs. */
  readonly pci: PciAddress;
  /** The PCI base class, 0x02 for network controllers, 0x12 for processing accelerators. */
  readonly pciClass: number;
  /** Four lower-case hexadecimal digits. */
  readonly vendor: string;
  /** Four lower-case hexadecimal digits. */
  readonly product: string;
  readonly driver: string | null;
  readonly numaNode: number | null;
  /** The PCIe root below which the PCI function hangs ("pci0000:40"): what shares it has the shortest way to one another. */
  readonly pcieRoot: string | null;
  /** null for a PF and for a function that is not under SR-IOV. */
  readonly pf: ParentFunction | null;
  /** The VF's index below its PF, or the SF's number (sfnum). */
  readonly functionIndex: number | null;
  /** The device's own network interfaces that the host can see now, sorted. */
  readonly interfaces: readonly string[];
  /** The link type's name ("ether", "infiniband") of its own interface, or of its PF's. */
  readonly linkType: string | null;
  /** The state of the device's own interface; null when none is visible. */
  readonly link: LinkState | null;
  /** The ports of a function without PF; none of a VF or SF, which uses its PF's. */
  readonly ports: readonly Port[];
  /** Which of its PF's ports a VF uses, where that is known; empty: any of them. */
  readonly pfPorts: readonly PortIdentity[];
  /** The VF's link-state policy at its PF (`ip link set PF vf N state …`); null in switchdev mode, where it has no effect. */
  readonly vfLinkState: "auto" | "enable" | "disable" | null;
  /** "sf" of "mlx5_core.sf.4"; null for PCI functions. */
  readonly auxType: string | null;
  readonly acpiIndex: string | null;
  /** The P_Key at index 0 of port 1 ("0x7fff"), for InfiniBand links. */
  readonly pKey: string | null;
  readonly ddpProfile: string | null;
  /** null: not RDMA capable. An empty list: capable, but its RDMA device is in a pod's network namespace. */
  readonly rdma: { readonly names: readonly string[] } | null;
  readonly vdpa: Vdpa | null;
  readonly vfio: Vfio | null;
  /** "/dev/uioN"; null when the function is not a UIO device. */
  readonly uio: CharDevice | null;
  /** What excludes the device, since the host needs it. */
  readonly host: {
    /** The interface by which a default route leaves through this function, or one below it; null when none does. */
    readonly defaultRoute: string | null;
    /** Whether every such route was made by router advertisements. */
    readonly isRouteAdvertised?: true;
    /** Whether it may become the host's uplink: the node has just booted, and has no default route yet. */
    readonly awaitsRoute?: true;
    /** The number of VFs below this PF; 0 for everything else. */
    readonly vfs: number;
  };
}
