import { describe, expect, test } from "bun:test";
import { aDevice, aParent, aPf, aSubFunction, pciAddress } from "../../test/support/device.ts";
import { attributes, attributesOf } from "./attributes.ts";

const resource = "intel.com/sriov_net_A";

describe("the attributes of a device", () => {
  test("are by default the five that scheduling and multus need", () => {
    expect(attributesOf(aDevice(), resource, "default")).toEqual({
      "resource.kubernetes.io/pciBusID": { string: "0000:3b:02.1" },
      "resource.kubernetes.io/pcieRoot": { string: "pci0000:3a" },
      "resource.kubernetes.io/numaNode": { int: 0 },
      "k8s.cni.cncf.io/deviceID": { string: "0000:3b:02.1" },
      "k8s.cni.cncf.io/resourceName": { string: resource },
    });
  });

  test("have dra-driver-sriov's names and values where they mean the same, when they are extended", () => {
    const device = aDevice({ rdma: { names: [] }, pf: aParent({ isSwitchdev: true }) });
    expect(attributesOf(device, resource, "extended")).toEqual({
      ...attributesOf(device, resource, "default"),
      resourceName: { string: resource },
      pciAddress: { string: "0000:3b:02.1" },
      PFName: { string: "ens1f0" },
      pfPciAddress: { string: "0000:3b:00.0" },
      vfID: { int: 1 },
      vendor: { string: "8086" },
      deviceID: { string: "1889" },
      EswitchMode: { string: "switchdev" },
      linkType: { string: "ethernet" },
      rdmaCapable: { bool: true },
      "dra.net/numaNode": { int: 0 },
      driver: { string: "iavf" },
    });
  });

  test("of an SF have no PCI address of their own", () => {
    const found = attributesOf(aSubFunction(), "nvidia.com/sf", "extended");
    expect(found).toMatchObject({
      "k8s.cni.cncf.io/deviceID": { string: "mlx5_core.sf.4" },
      pfPciAddress: { string: "0000:08:00.0" },
      sfNumber: { int: 4 },
    });
    for (const name of ["resource.kubernetes.io/pciBusID", "pciAddress", "vfID"]) expect(found[name]).toBeUndefined();
  });

  test("of a PF have nothing of a PF above it", () => {
    const found = attributesOf(aPf(), resource, "extended");
    for (const name of ["PFName", "pfPciAddress", "vfID", "EswitchMode", "sfNumber"])
      expect(found[name]).toBeUndefined();
    expect(found["pciAddress"]).toEqual({ string: "0000:3b:00.0" });
  });

  test("that do not apply are missing, and never empty", () => {
    const bare = aDevice({
      numaNode: null,
      pcieRoot: null,
      linkType: null,
      driver: null,
      pf: null,
      functionIndex: null,
    });
    expect(Object.keys(attributesOf(bare, resource, "default")).sort()).toEqual([
      "k8s.cni.cncf.io/deviceID",
      "k8s.cni.cncf.io/resourceName",
      "resource.kubernetes.io/pciBusID",
    ]);
    for (const value of Object.values(attributesOf(bare, resource, "extended")))
      expect(Object.values(value)).not.toContainAnyValues([null, "", -1]);
  });

  test("with a link type that dra-driver-sriov has no name for is unknown, as there", () => {
    expect(attributesOf(aDevice({ linkType: "loopback" }), resource, "extended")["linkType"]).toEqual({
      string: "unknown",
    });
  });

  test("that are too long for the API are missing, counted in bytes", () => {
    const named = (interfaceName: string) =>
      attributesOf(aDevice({ pf: aParent({ interfaceName }) }), resource, "extended")["PFName"];
    expect(named("a".repeat(64))).toEqual({ string: "a".repeat(64) });
    expect(named("a".repeat(65))).toBeUndefined();
    expect(named("ä".repeat(33))).toBeUndefined();
  });

  test("do not change while a pod has the device, by default", () => {
    const inPod = aDevice({
      driver: "vfio-pci",
      interfaces: [],
      link: null,
      linkType: null,
      rdma: { names: [] },
      pf: aParent({ link: null }),
    });
    expect(attributesOf(inPod, resource, "default")).toEqual(attributesOf(aDevice(), resource, "default"));
  });
});

test("every attribute has a name that the API takes", () => {
  for (const name of Object.keys(attributes))
    expect(name).toMatch(/^(?:[a-z0-9](?:[-.a-z0-9]{0,61}[a-z0-9])?\/)?[A-Za-z_][A-Za-z0-9_]{0,31}$/);
  expect(Object.keys(attributes).length).toBeLessThanOrEqual(32);
});

test("a wide PCI domain is kept as it is", () => {
  const id = "10000:e1:00.1";
  const found = attributesOf(aDevice({ id, pci: pciAddress(id) }), resource, "default");
  expect(found["resource.kubernetes.io/pciBusID"]).toEqual({ string: id });
});
