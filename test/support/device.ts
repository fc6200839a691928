// Devices and pools to test with: each is whole and ordinary; a test overrides only what it is about.

import type { CharDevice, Device, LinkState, ParentFunction, PciAddress, Port } from "../../src/host/device.ts";
import type { AllocationFacts } from "../../src/host/allocation-facts.ts";
import type { Claim, PoolSpec } from "../../src/pools/pool.ts";
import type { SelectorObject } from "../../src/pools/selectors.ts";

export const pciAddress = (text: string): PciAddress => text as PciAddress;

/** A link that carries traffic. */
export const aLink = (overrides: Partial<LinkState> = {}): LinkState => ({
  interfaceName: "ens1f0",
  index: 2,
  adminUp: true,
  operstate: "up",
  carrier: true,
  carrierUps: null,
  ...overrides,
});

/** The port of an interface of ens1f0's kind, driven by ice. */
export const aPort = (overrides: Partial<Port> = {}): Port => ({
  name: overrides.link?.interfaceName ?? "ens1f0",
  owner: "0000:3b:00.0",
  driver: "ice",
  isSwitchdev: false,
  portId: null,
  devPort: null,
  link: aLink(),
  linkDownOnClose: null,
  isInfiniband: false,
  infinibandState: null,
  graceEnds: null,
  ...overrides,
});

/** A PF with one interface, ens1f0 unless `link` says otherwise, which is its port; without a link it has none. */
export function aParent(overrides: Partial<ParentFunction> = {}): ParentFunction {
  const link = overrides.link === undefined ? aLink() : overrides.link;
  return {
    address: pciAddress("0000:3b:00.0"),
    interfaceName: link?.interfaceName ?? null,
    laterNames: [],
    isKernelNamed: false,
    pendingNames: null,
    link,
    isSwitchdev: false,
    ports: link ? [aPort({ link })] : [],
    sharedPorts: null,
    ...overrides,
  };
}

/** VF 1 of ens1f0, bound to iavf, healthy; nothing but its overrides sets it apart. */
export function aDevice(overrides: Partial<Device> = {}): Device {
  const id = overrides.id ?? "0000:3b:02.1";
  return {
    id,
    instance: "1",
    bus: "pci",
    pci: pciAddress(id),
    pciClass: 0x02,
    vendor: "8086",
    product: "1889",
    driver: "iavf",
    numaNode: 0,
    pcieRoot: "pci0000:3a",
    pf: aParent(),
    functionIndex: 1,
    interfaces: ["ens1f0v1"],
    linkType: "ether",
    link: aLink({ interfaceName: "ens1f0v1", index: 3 }),
    ports: [],
    pfPorts: [],
    vfLinkState: "auto",
    auxType: null,
    acpiIndex: null,
    pKey: null,
    ddpProfile: null,
    rdma: null,
    vdpa: null,
    vfio: null,
    uio: null,
    host: { defaultRoute: null, vfs: 0 },
    ...overrides,
  };
}

/** A PF without VFs: a network function that is not below another one. */
export const aPf = (overrides: Partial<Device> = {}): Device =>
  aDevice({
    id: "0000:3b:00.0",
    product: "1592",
    driver: "ice",
    pf: null,
    functionIndex: null,
    interfaces: ["ens1f0"],
    link: aLink(),
    ports: overrides.link === null ? [] : [aPort({ link: overrides.link ?? aLink() })],
    vfLinkState: null,
    ...overrides,
  });

/** SF 4 of p0. */
export const aSubFunction = (overrides: Partial<Device> = {}): Device =>
  aDevice({
    id: "mlx5_core.sf.4",
    bus: "auxiliary",
    pci: pciAddress("0000:08:00.0"),
    vendor: "15b3",
    product: "101d",
    driver: "mlx5_core",
    pf: aParent({ address: pciAddress("0000:08:00.0"), link: aLink({ interfaceName: "p0" }) }),
    functionIndex: 4,
    interfaces: ["enp8s0f0s4"],
    vfLinkState: null,
    auxType: "sf",
    ...overrides,
  });

/** A device that a selector object won. */
export const aClaim = (device: Device, selectorObject: SelectorObject = {}): Claim => ({
  device,
  selectorObject,
  basis: "selected",
});

export const aCharDevice = (path: string, present = true): CharDevice => ({ path, present });

/** An entry of resourceList that takes every net device. */
export function aSpec(overrides: Partial<PoolSpec> = {}): PoolSpec {
  const { prefix = "intel.com", name = "sriov_net_A" } = overrides;
  return {
    resource: `${prefix}/${name}`,
    prefix,
    name,
    deviceType: "netDevice",
    excludeTopology: false,
    linkHealth: true,
    iommufd: false,
    preferredAllocation: null,
    selectors: [{}],
    additionalInfo: null,
    ...overrides,
  };
}

/** What a device without any device node gives to a container. */
export const someFacts = (overrides: Partial<AllocationFacts> = {}): AllocationFacts => ({
  vfio: null,
  uio: null,
  vdpa: null,
  rdma: { names: [], nodes: [] },
  vhostNet: false,
  iommufd: false,
  ...overrides,
});
