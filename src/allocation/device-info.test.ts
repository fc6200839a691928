import { expect, test } from "bun:test";
import { aClaim, aCharDevice, aDevice, aSpec, aSubFunction, someFacts } from "../../test/support/device.ts";
import type { AllocationFacts } from "../host/allocation-facts.ts";
import type { SelectorObject } from "../pools/selectors.ts";
import { deviceInfoFile } from "./device-info.ts";

const spec = aSpec({ prefix: "openshift.io", name: "nic1" });
const device = aDevice({ id: "0000:3b:02.1" });
const content = (selectorObject: SelectorObject, facts: Partial<AllocationFacts>) =>
  deviceInfoFile(aClaim(device, selectorObject), someFacts(facts), spec)?.content;

const vhost = { name: "vdpa0", type: "vhost", node: aCharDevice("/dev/vhost-vdpa-0") } as const;
const rdma = { names: ["mlx5_2", "mlx5_3"], nodes: [] };

test.each<[string, SelectorObject, Partial<AllocationFacts>, string]>([
  ["a PCI device", {}, {}, '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1"}}'],
  [
    "an RDMA device",
    { isRdma: true },
    { rdma },
    '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1","rdma-device":"mlx5_2,mlx5_3"}}',
  ],
  [
    "an RDMA device that is in a pod",
    { isRdma: true },
    {},
    '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1"}}',
  ],
  [
    "an RDMA device of a pool that does not ask for RDMA",
    {},
    { rdma },
    '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1"}}',
  ],
  [
    "a vhost vDPA device",
    { vdpaType: "vhost" },
    { vdpa: vhost },
    '{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa0","driver":"vhost","path":"/dev/vhost-vdpa-0","pci-address":"0000:3b:02.1"}}',
  ],
  [
    "a virtio vDPA device",
    { vdpaType: "virtio" },
    { vdpa: { name: "vdpa0", type: "virtio", node: null } },
    '{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa0","driver":"virtio","pci-address":"0000:3b:02.1"}}',
  ],
  [
    "a vDPA device of a pool that does not ask for vDPA",
    { vdpaType: "" },
    { vdpa: vhost },
    '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1"}}',
  ],
])("the file of %s is, byte for byte, what multus reads", (_, selectorObject, facts, json) => {
  expect(content(selectorObject, facts)).toBe(json);
});

test("the file is named after the resource and the device", () => {
  expect(deviceInfoFile(aClaim(device), someFacts(), spec)?.name).toBe("openshift.io-nic1-0000:3b:02.1-device.json");
});

test.each(["accelerator", "auxNetDevice"] as const)("a pool of %s has no files", (deviceType) => {
  const claim = aClaim(aSubFunction());
  expect(deviceInfoFile(claim, someFacts(), { ...spec, deviceType })).toBeNull();
});
