// The paths of a node. Every path below the node's root is here, but for those below the kubelet's own directory, which may be elsewhere
// (kubelet/kubelet-paths.ts). `root` goes before the path: "" for the node itself, a folder for a recorded tree.

/** Where sysfs is mounted. */
export const sysfs = (root: string): string => `${root}/sys`;

/** The buses whose devices are read. */
export type BusName = "pci" | "auxiliary" | "vdpa";

/** The folder of a bus; missing where the kernel is built without it. */
export const busFolder = (root: string, bus: BusName): string => `${root}/sys/bus/${bus}`;

/** The folder with a link for each device of a bus. */
export const busDevices = (root: string, bus: BusName): string => `${root}/sys/bus/${bus}/devices`;

/** The folder of one device of a bus. */
export const busDevice = (root: string, bus: BusName, id: string): string => `${root}/sys/bus/${bus}/devices/${id}`;

/** Something below /sys/class, as "net/eth0" or "misc/iommu". */
export const classPath = (root: string, below: string): string => `${root}/sys/class/${below}`;

/** Seconds since the boot, as text. */
export const uptimePath = (root: string): string => `${root}/proc/uptime`;

/** Where the host's cgroups are visible: our manifest's mount first, since a container's own /sys/fs/cgroup may show only its own subtree. */
export const cgroupMounts = (root: string): readonly string[] => [
  `${root}/host/sys/fs/cgroup`,
  `${root}/sys/fs/cgroup`,
];

/** The device node of this name, as it is called on the node: without the root. */
export const deviceNode = (name: string): string => `/dev/${name}`;

/** Device nodes that belong to no device: they mean the same after every boot, or are missing until a module is loaded. */
export const commonNodes = {
  vfio: deviceNode("vfio/vfio"),
  iommu: deviceNode("iommu"),
  vhostNet: deviceNode("vhost-net"),
  tun: deviceNode("net/tun"),
  rdmaCm: deviceNode("infiniband/rdma_cm"),
} as const;

/** Where CDI specs are that programs write. */
export const cdiFolder = (root: string): string => `${root}/var/run/cdi`;

/** Where operators and installers write CDI specs; earlier versions of the plugin wrote theirs there. */
export const staticCdiFolder = (root: string): string => `${root}/etc/cdi`;

/** Where device plugins leave device-info files for multus (device-info-spec). */
export const deviceInfoFolder = (root: string): string => `${root}/var/run/k8s.cni.cncf.io/devinfo/dp`;

/** Where clients on the node reach the running plugin first. */
export const statusSocketPath = (root: string): string => `${root}/run/sriovdp/status.sock`;

/** The folder for log files that is named relatively. */
export const logFolder = (root: string, name: string): string => `${root}/var/log/${name}`;
