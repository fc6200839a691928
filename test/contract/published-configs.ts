// The configs that users have: those that the documentation of the upstream plugin, of the SR-IOV network operator, of NVIDIA's network
// operator and of OpenShift show or write, each with a node that has what its author had.
// Facts of these sources (keys, values, spelling), rewritten.

import { accelerator, type NodePlan } from "../support/node-plan.ts";

/** A published config, the node that it is for, and what the node then offers. */
interface Published {
  readonly config: unknown;
  readonly node: NodePlan;
  readonly args?: readonly string[];
  /** Devices by resource. */
  readonly offers: Readonly<Record<string, number>>;
}

/**
 * An entry as the SR-IOV network operator writes it from a policy (controllers/sriovnetworknodepolicy_controller.go, createDevicePluginResource):
 * Go marshals the fields without a JSON name under their Go names, IsRdma in any case and SelectorObjs as null.
 */
const byOperator = (
  resourceName: string,
  { isRdma = false, ...selectors }: Readonly<Record<string, unknown>>,
  excludeTopology = false,
): object => ({
  resourceName,
  ...(excludeTopology ? { excludeTopology } : {}),
  selectors: { ...selectors, IsRdma: isRdma },
  SelectorObjs: null,
});

/** The arguments with which the operator starts the plugin, but for the config file's place. */
const operatorArgs = ["--log-level=10", "--resource-prefix=openshift.io"];

export const upstream: Readonly<Record<string, Published>> = {
  "deployments/configMap.yaml: selectors as one object": {
    config: {
      resourceList: [
        {
          resourceName: "intel_sriov_netdevice",
          selectors: {
            vendors: ["8086"],
            devices: ["154c", "10ed", "1889"],
            drivers: ["i40evf", "iavf", "ixgbevf"],
          },
        },
        {
          resourceName: "intel_sriov_dpdk",
          selectors: {
            vendors: ["8086"],
            devices: ["154c", "10ed", "1889"],
            drivers: ["vfio-pci"],
            pfNames: ["enp0s0f0", "enp2s2f1"],
          },
        },
        // mlx5_ib binds to no PCI function of current kernels: this pool never had a device.
        {
          resourceName: "mlnx_sriov_rdma",
          selectors: { vendors: ["15b3"], devices: ["1018"], drivers: ["mlx5_ib"], isRdma: true },
        },
        {
          resourceName: "brcm_sriov_bnxt",
          selectors: { vendors: ["14e4"], devices: ["1750"], drivers: ["bnxt_en"] },
        },
      ],
    },
    node: {
      pfs: [
        { nic: "x710", name: "ens1f0", vfs: [{ count: 3 }] },
        { nic: "e810", name: "ens2f0", vfs: [{ count: 2 }] },
        { nic: "x520", name: "ens3f0", vfs: [{ count: 1 }] },
        { nic: "x710", name: "enp0s0f0", vfs: [{ count: 2, driver: "vfio-pci" }] },
        { nic: "x710", name: "other", vfs: [{ count: 4, driver: "vfio-pci" }] },
        { nic: "connectx5", name: "ens4f0np0", rdma: true, vfs: [{ count: 2, rdma: true }] },
        { nic: "broadcom", name: "ens5f0" },
      ],
    },
    offers: { "intel.com/brcm_sriov_bnxt": 1, "intel.com/intel_sriov_dpdk": 2, "intel.com/intel_sriov_netdevice": 6 },
  },
  "docs/dpdk/configMap-all-nics.yaml: NICs of two vendors in one pool": {
    config: {
      resourceList: [
        {
          resourcePrefix: "dpdk.org",
          resourceName: "nic",
          selectors: [
            { vendors: ["15b3"], devices: ["1016"], drivers: ["mlx5_core"], isRdma: true },
            { vendors: ["15b3"], devices: ["1018"], drivers: ["mlx5_core"], isRdma: true },
            { vendors: ["8086"], devices: ["154c"], drivers: ["vfio-pci"] },
          ],
        },
      ],
    },
    node: {
      pfs: [
        { nic: "connectx5", name: "ens4f0np0", rdma: true, vfs: [{ count: 3, rdma: true }] },
        { nic: "x710", name: "ens1f0", vfs: [{ count: 1 }, { count: 2, driver: "vfio-pci" }] },
      ],
    },
    offers: { "dpdk.org/nic": 5 },
  },
  "docs/dpdk/configMap-virt.yaml: addresses, with commas after the last elements": {
    config: `{ "resourceList": [
      { "resourceName": "intelnics_radio_downlink",
        "selectors": [{ "drivers": ["vfio-pci"], "pciAddresses": ["0000:00:09.0", "0000:00:0a.0",], }], },
      { "resourceName": "intelnics_radio_uplink",
        "selectors": [{ "drivers": ["vfio-pci"], "pciAddresses": ["0000:00:07.0", "0000:00:08.0",], }], }
    ] }`,
    node: {
      pfs: ["0000:00:07.0", "0000:00:08.0", "0000:00:09.0", "0000:00:0a.0"].map((address) => ({
        ...{ nic: "x710", name: null, driver: "vfio-pci", address },
      })),
    },
    offers: { "intel.com/intelnics_radio_downlink": 2, "intel.com/intelnics_radio_uplink": 2 },
  },
  "docs/rdma/configMap.yaml: RDMA of two vendors": {
    config: {
      resourceList: [
        {
          resourceName: "mlnx_rdma",
          resourcePrefix: "mellanox.com",
          selectors: [{ vendors: ["15b3"], devices: ["1016", "1018"], drivers: ["mlx5_core"], isRdma: true }],
        },
        {
          resourceName: "intel_rdma",
          selectors: { vendors: ["8086"], devices: ["1889"], drivers: ["iavf"], isRdma: true },
        },
      ],
    },
    node: {
      pfs: [
        { nic: "connectx5", name: "ens4f0np0", rdma: true, vfs: [{ count: 2, rdma: true }, { count: 1 }] },
        { nic: "e810", name: "ens2f0", rdma: true, vfs: [{ count: 1, rdma: true }, { count: 3 }] },
      ],
    },
    offers: { "intel.com/intel_rdma": 1, "mellanox.com/mlnx_rdma": 2 },
  },
  "docs/vdpa: both kinds of vDPA": {
    config: {
      resourceList: ["virtio", "vhost"].map((vdpaType) => ({
        resourceName: `vdpa_mlx_${vdpaType}`,
        selectors: [{ vendors: ["15b3"], devices: ["101e"], drivers: ["mlx5_core"], vdpaType }],
      })),
    },
    node: {
      pfs: [
        {
          ...{ nic: "connectx6", name: "ens4f0np0", eswitch: "switchdev" },
          vfs: [{ count: 1, vdpa: "virtio" }, { count: 2, vdpa: "vhost" }, { count: 1 }],
        },
      ],
    },
    offers: { "intel.com/vdpa_mlx_vhost": 2, "intel.com/vdpa_mlx_virtio": 1 },
  },
  "docs/ddp/e800/configMap.yaml: pools by DDP package": {
    config: {
      resourceList: [
        {
          resourceName: "e800_default",
          resourcePrefix: "intel.com",
          selectors: [{ vendors: ["8086"], devices: ["1889"], ddpProfiles: ["ICE OS Default Package"] }],
        },
        {
          resourceName: "e800_comms",
          resourcePrefix: "intel.com",
          selectors: [{ vendors: ["8086"], devices: ["1889"], ddpProfiles: ["ICE COMMS Package"] }],
        },
      ],
    },
    node: {
      pfs: [
        { nic: "e810", name: "ens1f0", ddpProfile: "ICE OS Default Package", vfs: [{ count: 2 }] },
        { nic: "e810", name: "ens2f0", ddpProfile: "ICE COMMS Package", vfs: [{ count: 1 }] },
      ],
    },
    offers: { "intel.com/e800_comms": 1, "intel.com/e800_default": 2 },
  },
  "docs/subfunctions: VFs and SFs of one NIC in two pools, the second with an id that no SF has": {
    config: {
      resourceList: [
        {
          resourceName: "cx6dx_vf",
          resourcePrefix: "nvidia.com",
          selectors: [{ vendors: ["15b3"], devices: ["101e"] }],
        },
        {
          ...{ resourceName: "cx6dx_sf", resourcePrefix: "nvidia.com", deviceType: "auxNetDevice" },
          // The id of a VF, as the page has it: an SF's is that of its PF, so this pool never had a device.
          selectors: [{ vendors: ["15b3"], devices: ["101e"], auxTypes: ["sf"] }],
        },
      ],
    },
    node: {
      pfs: [
        {
          ...{ nic: "connectx6", name: "ens4f0np0", eswitch: "switchdev" },
          vfs: [{ count: 2 }],
          sfs: [{ sfnum: 1 }, { sfnum: 2 }, { sfnum: 3 }],
        },
      ],
    },
    offers: { "nvidia.com/cx6dx_vf": 2 },
  },
  "README: an accelerator, and additional information for every device": {
    config: {
      resourceList: [
        {
          ...{ resourceName: "intel_fpga", deviceType: "accelerator" },
          selectors: [{ vendors: ["8086"], devices: ["0d90"] }],
        },
        {
          resourceName: "with_token",
          selectors: [{ vendors: ["8086"], devices: ["154c", "10ed", "1889"], drivers: ["i40evf", "ixgbevf", "iavf"] }],
          additionalInfo: { "*": { token: "a secret" } },
        },
      ],
    },
    node: {
      pfs: [{ nic: "x710", name: "ens1f0", vfs: [{ count: 2 }] }],
      functions: [accelerator("0000:0d:00.0")],
    },
    offers: { "intel.com/intel_fpga": 1, "intel.com/with_token": 2 },
  },
};

export const operators: Readonly<Record<string, Published>> = {
  "OpenShift: netdevice policies of two ranges of one PF": {
    config: {
      resourceList: [
        byOperator("intelnics", { vendors: ["8086"], devices: ["154c"], pfNames: ["ens803f0#0-3"] }),
        byOperator("intelnics_b", { vendors: ["8086"], devices: ["154c"], pfNames: ["ens803f0#4-7"] }),
      ],
    },
    node: { pfs: [{ nic: "x710", name: "ens803f0", vfs: [{ count: 8 }] }] },
    args: operatorArgs,
    offers: { "openshift.io/intelnics": 4, "openshift.io/intelnics_b": 4 },
  },
  "OpenShift: two policies of one resource, merged by the operator": {
    config: {
      resourceList: [
        byOperator("merged", {
          vendors: ["8086", "15b3"],
          devices: ["154c", "1018"],
          pfNames: ["ens1f0#0-1", "ens4f0np0#2-3"],
        }),
      ],
    },
    node: {
      pfs: [
        { nic: "x710", name: "ens1f0", vfs: [{ count: 4 }] },
        { nic: "connectx5", name: "ens4f0np0", vfs: [{ count: 4 }] },
      ],
    },
    args: operatorArgs,
    offers: { "openshift.io/merged": 4 },
  },
  "OpenShift: a vfio-pci policy with vhost-net, for DPDK; the operator writes no driver and no link type": {
    config: {
      resourceList: [byOperator("dpdknic", { devices: ["154c"], pfNames: ["ens1f0"], needVhostNet: true })],
    },
    node: { pfs: [{ nic: "x710", name: "ens1f0", vfs: [{ count: 4, driver: "vfio-pci" }] }] },
    args: operatorArgs,
    offers: { "openshift.io/dpdknic": 4 },
  },
  "OpenShift: a policy with RDMA over Ethernet, without topology": {
    config: {
      resourceList: [
        byOperator(
          "mlxnics",
          { vendors: ["15b3"], devices: ["1018"], rootDevices: ["0000:3b:00.0"], linkTypes: ["ether"], isRdma: true },
          true,
        ),
      ],
    },
    node: {
      pfs: [
        { nic: "connectx5", name: "ens4f0np0", address: "0000:3b:00.0", rdma: true, vfs: [{ count: 3, rdma: true }] },
      ],
    },
    args: operatorArgs,
    offers: { "openshift.io/mlxnics": 3 },
  },
  "OpenShift: a policy with InfiniBand": {
    config: {
      resourceList: [
        byOperator("ibnics", { vendors: ["15b3"], pfNames: ["ibs1f0"], linkTypes: ["infiniband"], isRdma: true }),
      ],
    },
    node: {
      pfs: [{ nic: "connectx5", name: "ibs1f0", linkType: "infiniband", rdma: true, vfs: [{ count: 2, rdma: true }] }],
    },
    args: operatorArgs,
    offers: { "openshift.io/ibnics": 2 },
  },
  "OpenShift: a policy of a virtual machine (netFilter): addresses of whole functions": {
    config: { resourceList: [byOperator("vnic", { pciAddresses: ["0000:00:05.0", "0000:00:06.0"] })] },
    node: {
      pfs: [
        { nic: "x710", name: "ens5", address: "0000:00:05.0" },
        { nic: "x710", name: "ens6", address: "0000:00:06.0" },
        { nic: "x710", name: "ens7", address: "0000:00:07.0" },
      ],
    },
    args: operatorArgs,
    offers: { "openshift.io/vnic": 2 },
  },
  "OpenShift: a policy of hardware offload with vDPA": {
    config: { resourceList: [byOperator("vdpanic", { vendors: ["15b3"], pfNames: ["ens4f0np0"], vdpaType: "vhost" })] },
    node: {
      pfs: [{ nic: "connectx6", name: "ens4f0np0", eswitch: "switchdev", vfs: [{ count: 2, vdpa: "vhost" }] }],
    },
    args: operatorArgs,
    offers: { "openshift.io/vdpanic": 2 },
  },
  "the operator: a node that no policy selects": {
    config: { resourceList: null },
    node: { pfs: [{ nic: "x710", name: "ens1f0", vfs: [{ count: 2 }] }] },
    args: operatorArgs,
    offers: {},
  },
  "NVIDIA's network operator: whole RDMA functions for host-device": {
    config: {
      resourceList: [
        { resourcePrefix: "nvidia.com", resourceName: "hostdev", selectors: { vendors: ["15b3"], isRdma: true } },
      ],
    },
    node: {
      pfs: [
        { nic: "connectx6", name: "ens4f0np0", rdma: true },
        { nic: "connectx6", name: "ens4f1np1", rdma: true },
        { nic: "connectx6", name: "ens5f0np0" },
      ],
    },
    offers: { "nvidia.com/hostdev": 2 },
  },
  "NVIDIA's network operator: policies by node, of a vendor alone": {
    config: { resourceList: [{ resourceName: "sriov_rdma", selectors: { vendors: ["15b3"] } }] },
    node: { pfs: [{ nic: "connectx6", name: "ens4f0np0", rdma: true, vfs: [{ count: 4, rdma: true }] }] },
    offers: { "intel.com/sriov_rdma": 4 },
  },
};
