import { expect, test } from "bun:test";
import { aSpec } from "../../test/support/device.ts";
import { cdiDeviceName, cdiFileName, cdiSpec } from "./cdi.ts";

test.each([
  ["netDevice", "sriov-dp-intel.com-net-pci-a.yaml", "intel.com/net-pci=id"],
  ["auxNetDevice", "sriov-dp-intel.com-net-sf-a.yaml", "intel.com/net-sf=id"],
  ["accelerator", "sriov-dp-intel.com-net-accel-a.yaml", "intel.com/net-accel=id"],
] as const)("a pool of %s is described in %s and names %s", (deviceType, file, name) => {
  const spec = aSpec({ prefix: "intel.com", name: "a", deviceType });
  expect(cdiFileName(spec)).toBe(file);
  expect(cdiDeviceName(spec, "id")).toBe(name);
});

test("devices without nodes are left out, since one of them would make the whole spec invalid", () => {
  const nodes = new Map([
    ["0000:3b:02.1", [{ hostPath: "/dev/vfio/noiommu-2", containerPath: "/dev/vfio/2" }]],
    ["0000:3b:02.2", []],
  ]);
  expect(cdiSpec(aSpec({ prefix: "intel.com" }), nodes)).toEqual({
    cdiVersion: "0.5.0",
    kind: "intel.com/net-pci",
    devices: [
      {
        name: "0000:3b:02.1",
        containerEdits: {
          deviceNodes: [{ path: "/dev/vfio/2", hostPath: "/dev/vfio/noiommu-2", permissions: "rw" }],
        },
      },
    ],
  });
});

test("a pool in which no device has a node has no spec", () => {
  expect(cdiSpec(aSpec(), new Map([["0000:3b:02.2", []]]))).toBeNull();
  expect(cdiSpec(aSpec(), new Map())).toBeNull();
});
