// The node and the pools that the demo and the pictures show: the recorded node test/hosts/mixed.host, with one pool per purpose.

export const exampleHost = "mixed";

export const exampleConfig = {
  resourceList: [
    { resourceName: "kernel_vfs", selectors: { drivers: ["iavf"], pfNames: ["ens1f0", "ens3f0"] } },
    { resourceName: "dpdk_vfs", selectors: { drivers: ["vfio-pci"], pfNames: ["ens1f0#4-7"], needVhostNet: true } },
    { resourceName: "roce_vfs", resourcePrefix: "mellanox.com", selectors: { vendors: ["15b3"], isRdma: true } },
    {
      resourceName: "sub_functions",
      resourcePrefix: "nvidia.com",
      deviceType: "auxNetDevice",
      selectors: { auxTypes: ["sf"] },
    },
    { resourceName: "fpga", deviceType: "accelerator", selectors: { devices: ["0d90"] } },
  ],
};
