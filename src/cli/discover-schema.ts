// What does `discover -o json` print? A JSON Schema.

import {
  allocation,
  count,
  flag,
  health,
  kind,
  listOf,
  number,
  object,
  oneOf,
  orNull,
  text,
  texts,
} from "./schema-terms.ts";

const charDevice = object({
  path: [text, "on the host"],
  present: [flag, "whether it exists now"],
});

const linkState = object({
  interfaceName: [text, "the interface"],
  index: [count, "its index, which changes if the interface is re-created"],
  adminUp: [flag, "whether it is administratively up"],
  operstate: [text, "the operational state (RFC 2863)"],
  carrier: [orNull(flag), "whether it has a carrier"],
  carrierUps: [orNull(count), "how often the carrier came up"],
});

const portIdentity = {
  portId: [orNull(text), "the port's phys_port_id"],
  devPort: [orNull(count), "its dev_port, if its driver numbers ports by it"],
} as const;

const port = object({
  name: [text, "the interface, or `mlx5_0/1` for port 1 of an RDMA device"],
  owner: [text, "the function that it belongs to"],
  driver: [orNull(text), "its driver"],
  isSwitchdev: [flag, "whether its eswitch is in switchdev mode"],
  ...portIdentity,
  link: [orNull(linkState), "the state of its interface"],
  linkDownOnClose: [orNull(flag), "the driver's private flag link-down-on-close"],
  isInfiniband: [flag, "whether it is an InfiniBand port"],
  infinibandState: [orNull(text), "the state of an InfiniBand port"],
  graceEnds: [orNull(number), "used by the running plugin"],
});

const parent = object({
  address: [text, "PCI address of the PF"],
  interfaceName: [orNull(text), "its interface; in switchdev mode the uplink representor"],
  laterNames: [texts, "further interfaces"],
  isKernelNamed: [flag, "whether a name may still be replaced"],
  pendingNames: [
    orNull(object({ key: [text, "used by the running plugin"], at: [number, "used by the running plugin"] })),
    "used by the running plugin",
  ],
  link: [orNull(linkState), "the state of the interface that names it"],
  isSwitchdev: [flag, "whether its eswitch is in switchdev mode"],
  ports: [listOf(port), "its ports"],
  sharedPorts: [
    orNull(
      object({
        bond: [orNull(text), "the bond; null for a multiport eswitch"],
        ports: [listOf(port), "the ports that are used as one"],
      }),
    ),
    "ports that a hardware bond or a multiport eswitch uses as one",
  ],
});

/** One device. */
export const discoveredSchema = object({
  kind: [
    kind,
    "`PF` (also a function without SR-IOV), `VF`, `SF`, `auxiliary` (any other auxiliary device) or `accelerator`",
  ],
  id: [text, "the device id for the kubelet: a PCI address, or the name of an auxiliary device"],
  bus: [oneOf("pci", "auxiliary"), "the bus"],
  pci: [text, "the address of the PCI function, or of the parent of the auxiliary device"],
  pciClass: [count, "the PCI base class: 2 for network controllers, 18 for processing accelerators"],
  vendor: [text, "PCI vendor id, four lower-case hexadecimal digits"],
  product: [text, "PCI device id, four lower-case hexadecimal digits"],
  driver: [orNull(text), "the bound driver"],
  numaNode: [orNull(count), "the NUMA node"],
  pcieRoot: [orNull(text), "such as `pci0000:40`; devices with the same root have the shortest path between them"],
  iommuGroup: [orNull(text), "the number of the IOMMU group"],
  functionIndex: [orNull(count), "the VF's index below its PF, or the SF's number"],
  pf: [orNull(parent), "the PF above a VF or SF"],
  interfaces: [texts, "its own network interfaces that the host can see now"],
  linkType: [orNull(text), "`ether`, `infiniband`, ..."],
  link: [orNull(linkState), "its own interface"],
  ports: [listOf(port), "of a function without a PF: the ports that it uses"],
  pfPorts: [listOf(object(portIdentity)), "of a VF: the ports of the PF that it uses, if its driver reports them"],
  vfLinkState: [
    orNull(oneOf("auto", "enable", "disable")),
    "the link-state policy at its PF; null in switchdev mode. It never makes a VF Unhealthy",
  ],
  auxType: [orNull(text), "`sf` of `mlx5_core.sf.4`"],
  acpiIndex: [orNull(text), "the value that the selector acpiIndexes matches"],
  pKey: [orNull(text), "the value that the selector pKeys matches"],
  ddpProfile: [orNull(text), "the DDP package; read only when a pool selects by it"],
  rdma: [
    orNull(object({ names: [texts, "its RDMA devices; empty while a pod has them"] })),
    "null if it is not RDMA-capable",
  ],
  vdpa: [
    orNull(
      object({
        name: [text, "the vDPA device"],
        type: [orNull(oneOf("vhost", "virtio")), "what it is bound to"],
        node: [orNull(charDevice), "its character device"],
      }),
    ),
    "the vDPA device that it manages",
  ],
  vfio: [
    orNull(
      object({
        group: [orNull(text), "the IOMMU group"],
        noIommu: [flag, "whether it is a group of the no-IOMMU mode"],
        node: [orNull(charDevice), "the group's character device"],
        cdev: [orNull(charDevice), "the function's own character device"],
      }),
    ),
    "of a function bound to a VFIO driver",
  ],
  uio: [orNull(charDevice), "of a function bound to a UIO driver"],
  host: [
    object(
      {
        defaultRoute: [orNull(text), "the interface through which a default route leaves"],
        isRouteAdvertised: [flag, "whether router advertisements made every such route; absent otherwise"],
        awaitsRoute: [flag, "whether the node has just booted and has no default route yet; absent otherwise"],
        vfs: [count, "the number of its VFs"],
      },
      ["isRouteAdvertised", "awaitsRoute"],
    ),
    "why the host needs it",
  ],
  pool: [orNull(text), "the resource that it belongs to"],
  health: [orNull(health), "as reported to the kubelet; null in no pool"],
  unhealthyReason: [orNull(text), "why it is Unhealthy, as a sentence"],
  excluded: [texts, "sentences: why no pool offers it"],
  allocation: [orNull(allocation), "the pod to which it is allocated; null for none, and if no plugin answers"],
  withheld: [flag, "whether it is in no pool until its pod ends"],
});
