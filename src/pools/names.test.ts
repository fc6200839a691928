import { describe, expect, test } from "bun:test";
import { aSpec } from "../../test/support/device.ts";
import {
  cdiAnnotationKey,
  cdiDeviceName,
  cdiFileName,
  cdiFileNames,
  deviceInfoId,
  deviceInfoName,
  idsVariable,
  infoVariable,
  isCdiFileName,
  isSocketName,
  resourceName,
  socketName,
} from "./names.ts";

test("a pool is requested, and reached, by its prefix and name", () => {
  const spec = aSpec({ prefix: "intel.com", name: "sriov_net_A" });
  expect(resourceName(spec)).toBe("intel.com/sriov_net_A");
  expect(socketName(spec)).toBe("intel.com_sriov_net_A.sock");
});

test.each([
  ["intel.com_net.sock", true],
  ["nvidia.com_net.sock", true],
  ["other.com_net.sock", false],
  ["intel.com.sock", false],
  ["intel.com_net.sock.tmp", false],
  ["kubelet.sock", false],
  ["", false],
])("%p is the socket of a pool of intel.com or nvidia.com: %p", (name, isOurs) => {
  expect(isSocketName(name, ["intel.com", "nvidia.com"])).toBe(isOurs);
});

test.each([
  ["intel.com/sriov_net_A", "PCIDEVICE_INTEL_COM_SRIOV_NET_A"],
  ["nvidia.com/rail-1", "PCIDEVICE_NVIDIA_COM_RAIL-1"],
  ["a-b.c.d/E", "PCIDEVICE_A-B_C_D_E"],
])("the variables of %s are %s and that with _INFO", (resource, name) => {
  expect(idsVariable(resource)).toBe(name);
  expect(infoVariable(resource)).toBe(`${name}_INFO`);
});

test("a device-info file is named after the resource and the device", () => {
  expect(deviceInfoName("a/b", "c/d")).toBe("a-b-c-d-device.json");
});

test.each([
  ["intel.com-net-0000:3b:02.1-device.json", "0000:3b:02.1"],
  ["intel.com-net-10000:3b:02.1-device.json", "10000:3b:02.1"],
  ["intel.com-net-2-0000:3b:02.1-device.json", null],
  ["intel.com-other-0000:3b:02.1-device.json", null],
  ["intel.com-net-0000:3b:02.1-device.json.tmp", null],
  [".intel.com-net-0000:3b:02.1-device.json", null],
  ["intel.com-net--device.json", null],
  ["intel.com-net-device.json", null],
  ["", null],
])("of a file %p the pool intel.com/net owns %p", (name, id) => {
  expect(deviceInfoId("intel.com/net", name)).toBe(id);
});

test.each([
  ["netDevice", "sriov-dp-intel.com-net-pci-a.yaml", "intel.com/net-pci=id"],
  ["auxNetDevice", "sriov-dp-intel.com-net-sf-a.yaml", "intel.com/net-sf=id"],
  ["accelerator", "sriov-dp-intel.com-net-accel-a.yaml", "intel.com/net-accel=id"],
] as const)("a pool of %s is described in %s and names %s", (deviceType, file, name) => {
  const spec = aSpec({ prefix: "intel.com", name: "a", deviceType });
  expect(cdiFileName(spec)).toBe(file);
  expect(cdiDeviceName(spec, "id")).toBe(name);
  expect(cdiFileNames(spec.resource)).toContain(file);
  expect(isCdiFileName(file)).toBe(true);
});

test("a CDI spec of another vendor is not the plugin's", () => {
  expect(["vendor.yaml", "nvidia.com-sriov-dp-.yaml", ""].some(isCdiFileName)).toBe(false);
});

describe("the key of a pool's annotation", () => {
  const keyOf = (name: string, prefix = "intel.com") => cdiAnnotationKey(aSpec({ prefix, name }));

  test("holds the pool's name, since the kubelet merges a container's annotations by key", () => {
    expect(keyOf("sriov_net_A")).toBe("cdi.k8s.io/intel.com_net-pci_sriov_net_A");
    expect(keyOf("sriov_net_B")).not.toBe(keyOf("sriov_net_A"));
  });

  // pkg/cdi/annotations.go AnnotationKey, and Kubernetes' qualified names.
  test("is one that Kubernetes takes, and another one for another pool, however long names are", () => {
    const prefixes = ["intel.com", `${"a".repeat(60)}.com`, `x.${"b".repeat(200)}.com`];
    const names = [
      "a",
      "-".repeat(20).replace(/^.|.$/g, "a"),
      "a".repeat(63),
      `${"a".repeat(62)}b`,
      `${"a".repeat(40)}_-_b`,
    ];
    const keys = prefixes.flatMap((prefix) => names.map((name) => keyOf(name, prefix)));
    for (const key of keys) expect(key).toMatch(/^cdi\.k8s\.io\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);
    expect(new Set(keys).size).toBe(keys.length);
  });
});
