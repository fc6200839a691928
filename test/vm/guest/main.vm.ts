// boot: topology=numa iommu=on memory=2048
// The main job on real virtual functions: discover, advertise, allocate, in both registration modes.
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { deviceInfoFolder, idsOf, kubeletRoot, type Node, startNode } from "./plugin.ts";
import { bind, createVfs, devicePath, iommuGroupOf, loadModules, pf0, pf1, readSys, reset } from "./support.ts";

let vfs0: string[] = [];
let vfs1: string[] = [];
let node: Node | null = null;

beforeAll(async () => {
  await reset();
  await loadModules("vhost_net", "tun");
  vfs0 = await createVfs(pf0, 4);
  vfs1 = await createVfs(pf1, 3);
  await bind(vfs0[0] ?? "", "vfio-pci");
  await bind(vfs0[1] ?? "", "uio_pci_generic");
});

afterEach(async () => {
  await node?.stop();
  node = null;
});

const entries = [
  { resourceName: "dpdk", selectors: [{ drivers: ["vfio-pci"], needVhostNet: true }] },
  { resourceName: "uio", selectors: { drivers: ["uio_pci_generic"] } },
  {
    resourceName: "net",
    selectors: [{ vendors: ["8086"], pfNames: ["pf0#2-3"] }],
    additionalInfo: { "*": { a: "b" } },
  },
  { resourceName: "far", selectors: [{ rootDevices: [pf1] }] },
  { resourceName: "pfs", selectors: [{ drivers: ["igb"] }] },
];

describe.each(["watcher", "legacy"] as const)("in %s mode", (mode) => {
  test("lists are the VFs of sysfs with their NUMA nodes, and a PF that has VFs is in none", async () => {
    node = await startNode(mode, ...entries);
    const { kubelet } = node;
    await kubelet.waitForAllocatable("test.io/far", 3, 60_000);
    await kubelet.waitForAllocatable("test.io/net", 2, 60_000);
    await kubelet.waitForAllocatable("test.io/dpdk", 1, 60_000);
    await kubelet.waitForAllocatable("test.io/uio", 1, 60_000);
    expect(idsOf(kubelet, "test.io/dpdk")).toEqual(vfs0.slice(0, 1));
    expect(idsOf(kubelet, "test.io/uio")).toEqual(vfs0.slice(1, 2));
    expect(idsOf(kubelet, "test.io/net")).toEqual(vfs0.slice(2));
    expect(idsOf(kubelet, "test.io/far")).toEqual(vfs1);
    expect(kubelet.resources).not.toContain("test.io/pfs");
    for (const resource of kubelet.resources) {
      for (const { ID, topology } of kubelet.resource(resource).devices.values()) {
        expect(topology?.nodes).toEqual([{ ID: Number(readSys(`${devicePath(ID)}/numa_node`)) }]);
      }
    }
  });

  test("Allocate answers with what sysfs and /dev say", async () => {
    node = await startNode(mode, ...entries);
    const { kubelet } = node;
    for (const name of ["dpdk", "uio", "net"]) {
      await kubelet.waitFor((seen) => seen.resource(`test.io/${name}`).allocatable > 0, `${name} is offered`, 60_000);
    }
    const [vfioVf = "", uioVf = "", netVf = ""] = vfs0;

    const dpdk = await kubelet.allocate("test.io/dpdk", 1);
    const group = `/dev/vfio/${iommuGroupOf(vfioVf)}`;
    const nodes = ["/dev/vfio/vfio", group, "/dev/vhost-net", "/dev/net/tun"];
    expect(dpdk.devices.map(({ hostPath }) => hostPath)).toEqual(nodes);
    for (const path of nodes) expect(existsSync(path)).toBeTrue();
    expect(dpdk.envs["PCIDEVICE_TEST_IO_DPDK"]).toBe(vfioVf);
    expect(JSON.parse(dpdk.envs["PCIDEVICE_TEST_IO_DPDK_INFO"] ?? "")[vfioVf].vfio["dev-mount"]).toBe(group);
    expect(JSON.parse(readFileSync(`${deviceInfoFolder}/test.io-dpdk-${vfioVf}-device.json`, "utf8"))).toEqual({
      type: "pci",
      version: "1.1.0",
      pci: { "pci-address": vfioVf },
    });

    const uio = await kubelet.allocate("test.io/uio", 1);
    expect(uio.devices.map(({ hostPath }) => hostPath)).toEqual(
      readdirSync(`${devicePath(uioVf)}/uio`).map((name) => `/dev/${name}`),
    );

    const net = await kubelet.allocate("test.io/net", 2);
    expect(net.devices).toEqual([]);
    expect(net.envs["PCIDEVICE_TEST_IO_NET"]).toBe(vfs0.slice(2).join());
    expect(JSON.parse(net.envs["PCIDEVICE_TEST_IO_NET_INFO"] ?? "")[netVf]).toEqual({
      generic: { deviceID: netVf },
      extra: { a: "b" },
      extraInfo: { a: "b" },
    });
  });

  test("SIGTERM leaves no socket and exits with 0", async () => {
    node = await startNode(mode, ...entries);
    await node.kubelet.waitForAllocatable("test.io/far", 3, 60_000);
    expect(await node.plugin.stop()).toBe(0);
    const folder = `${kubeletRoot}/${mode === "watcher" ? "plugins_registry" : "device-plugins"}`;
    expect(readdirSync(folder).filter((name) => name !== "kubelet.sock" && name.endsWith(".sock"))).toEqual([]);
  });
});
