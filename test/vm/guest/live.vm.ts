// boot: topology=numa iommu=on memory=2048 limit=240
// A live node: real events of a real kernel, and what the kubelet gets of them.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { idsOf, type Node, startNode, startPlugin, unhealthyIn, writeConfig } from "./plugin.ts";
import {
  addAuxiliary,
  addNetns,
  addRdma,
  bind,
  bindDefault,
  createVfs,
  deleteNetns,
  labsim,
  loadModules,
  moveToNetns,
  netdevOf,
  netdevsOf,
  pf0,
  pf1,
  rdmaDevicesOf,
  readSys,
  reset,
  sh,
  vfsOf,
  waitFor,
  writeSys,
} from "./support.ts";
import { plug, setCarrier, unplug } from "./monitor.ts";

let node: Node;

const entries = [
  { resourceName: "rdma", selectors: [{ isRdma: true }] },
  { resourceName: "vhost", selectors: [{ vdpaType: "vhost" }] },
  { resourceName: "dpdk", selectors: [{ drivers: ["vfio-pci"] }] },
  { resourceName: "near", selectors: [{ pfNames: ["pf0"] }] },
  { resourceName: "far", selectors: [{ pfNames: ["pf1"], linkTypes: ["ether"] }] },
  { resourceName: "sf", deviceType: "auxNetDevice", selectors: [{ auxTypes: ["sf"] }] },
  { resourceName: "nics", selectors: [{ drivers: ["e1000e"] }] },
];

beforeAll(async () => {
  await reset();
  await loadModules("vfio-pci", "e1000e");
  await createVfs(pf0, 2);
  await createVfs(pf1, 2);
  node = await startNode("watcher", ...entries);
});

afterAll(() => node.stop());

/** Each test begins with two healthy VFs below each PF and all settled. */
beforeEach(async () => {
  await node.kubelet.waitForAllocatable("test.io/near", 2, 60_000);
  await node.kubelet.waitForAllocatable("test.io/far", 2, 60_000);
});

const listsOf = (resource: string) => node.kubelet.resource(resource).lists;

/** Waits for a scan that begins after now: nothing else shows that the plugin has scanned and found no change. */
async function nextScan(): Promise<void> {
  const scans = () => node.plugin.output().split("scanned the node stale=functions").length;
  const before = scans();
  // Not SIGHUP: a reload ends exclusions.
  writeSys(`/sys/bus/pci/devices/${pf0}/uevent`, "change");
  await waitFor("a scan", () => scans() > before);
}

test("a clock that jumps by days, forward or back, delays nothing", async () => {
  const { kubelet } = node;
  for (const days of [2, -4, 2]) {
    await sh(`date -s @${Math.floor(Date.now() / 1000) + days * 86_400}`);
    await sh("ip link set pf0 down");
    await kubelet.waitForAllocatable("test.io/near", 0);
    await sh("ip link set pf0 up");
    await kubelet.waitForAllocatable("test.io/near", 2);
  }
});

test("a PF that goes down takes its VFs with it, and no others", async () => {
  const { kubelet } = node;
  await sh("ip link set pf0 down");
  await kubelet.waitForAllocatable("test.io/near", 0);
  expect(unhealthyIn(kubelet, "test.io/near")).toEqual(vfsOf(pf0));
  expect(kubelet.resource("test.io/near").capacity).toBe(2);
  expect(unhealthyIn(kubelet, "test.io/far")).toEqual([]);
  await sh("ip link set pf0 up");
  await kubelet.waitForAllocatable("test.io/near", 2, 60_000);
});

test("a PF that loses its carrier takes its VFs with it, until it is back", async () => {
  await setCarrier("nic0", "off");
  await node.kubelet.waitForAllocatable("test.io/near", 0, 60_000);
  await setCarrier("nic0", "on");
  await node.kubelet.waitForAllocatable("test.io/near", 2, 60_000);
});

test("VFs are removed and re-created: the list is empty in between and the resource stays registered", async () => {
  const { kubelet } = node;
  const registrations = kubelet.resource("test.io/near").registrations;
  await createVfs(pf0, 0);
  await kubelet.waitFor((seen) => seen.resource("test.io/near").capacity === 0, "the list is empty");
  expect(kubelet.resource("test.io/near").connected).toBeTrue();
  const vfs = await createVfs(pf0, 4);
  await kubelet.waitForAllocatable("test.io/near", 4, 60_000);
  expect(idsOf(kubelet, "test.io/near")).toEqual(vfs);
  await createVfs(pf0, 2);
  await kubelet.waitForAllocatable("test.io/near", 2, 60_000);
  expect(kubelet.resource("test.io/near").registrations).toBe(registrations);
});

test("a VF bound to another driver moves to the pool that selects it, which registers with its first device", async () => {
  const { kubelet } = node;
  const [vf = ""] = vfsOf(pf0);
  await bind(vf, "vfio-pci");
  await kubelet.waitForAllocatable("test.io/dpdk", 1, 60_000);
  expect(idsOf(kubelet, "test.io/dpdk")).toEqual([vf]);
  await kubelet.waitFor((seen) => !idsOf(seen, "test.io/near").includes(vf), "the VF left its former pool");
  await bindDefault(vf);
  await kubelet.waitForAllocatable("test.io/dpdk", 0, 60_000);
});

test("a VF without a driver stays listed as Unhealthy", async () => {
  const { kubelet } = node;
  const [vf = ""] = vfsOf(pf0);
  await bind(vf, null);
  await kubelet.waitFor((seen) => unhealthyIn(seen, "test.io/near").includes(vf), "the VF is Unhealthy", 60_000);
  await bindDefault(vf);
  await kubelet.waitForAllocatable("test.io/near", 2, 60_000);
});

test("a VF's interface that goes to a pod and comes back changes nothing", async () => {
  const [vf = ""] = vfsOf(pf1);
  const netdev = await netdevOf(vf);
  const lists = listsOf("test.io/far");
  await addNetns("pod");
  await moveToNetns(netdev, "pod");
  await nextScan();
  await deleteNetns("pod");
  await waitFor("the interface is back", () => netdevsOf(vf).length === 1);
  await nextScan();
  expect(listsOf("test.io/far")).toBe(lists);
});

test("the plugin restarted while a pod has the interface still offers all, and once", async () => {
  const { kubelet } = node;
  const [vf = ""] = vfsOf(pf1);
  const netdev = await netdevOf(vf);
  await kubelet.allocate("test.io/far", [vf], { pod: "pod" });
  await addNetns("pod");
  await moveToNetns(netdev, "pod");
  await node.plugin.stop();
  node.plugin = startPlugin();
  await kubelet.waitForAllocatable("test.io/far", 2, 60_000);
  expect(idsOf(kubelet, "test.io/far")).toEqual(vfsOf(pf1));
  await deleteNetns("pod");
  await waitFor("the interface is back", () => netdevsOf(vf).length === 1);
  kubelet.release("pod");
});

test("a device that a pod holds stays in its pool when the config says otherwise, and moves when the pod ends", async () => {
  const { kubelet } = node;
  const [held = "", free = ""] = vfsOf(pf1);
  await kubelet.allocate("test.io/far", [held], { pod: "holder" });
  writeConfig({ resourceName: "taker", selectors: [{ rootDevices: [pf1] }] }, ...entries);
  await kubelet.waitForAllocatable("test.io/taker", 1, 60_000);
  expect(idsOf(kubelet, "test.io/taker")).toEqual([free]);
  expect(idsOf(kubelet, "test.io/far")).toEqual([held]);
  kubelet.release("holder");
  await nextScan();
  await kubelet.waitForAllocatable("test.io/taker", 2, 60_000);
  writeConfig(...entries);
  await kubelet.waitForAllocatable("test.io/far", 2, 60_000);
});

test("an RDMA device comes, goes to a pod in exclusive mode without being missed, and is gone when it is removed", async () => {
  const { kubelet } = node;
  const [vf = ""] = vfsOf(pf0);
  const netdev = await netdevOf(vf);
  await sh(`ip link set ${netdev} up`);
  await loadModules("rdma_rxe");
  await sh("rdma system set netns exclusive");
  await addRdma("rxe0", netdev);
  await kubelet.waitForAllocatable("test.io/rdma", 1, 60_000);
  const answer = await kubelet.allocate("test.io/rdma", 1, { pod: "rdma" });
  expect(answer.devices.map(({ hostPath }) => hostPath)).toContain("/dev/infiniband/rdma_cm");
  expect(answer.devices.some(({ hostPath }) => hostPath.startsWith("/dev/infiniband/uverbs"))).toBeTrue();
  kubelet.release("rdma");
  const lists = listsOf("test.io/rdma");
  await addNetns("pod");
  await sh("rdma dev set rxe0 netns pod");
  await nextScan();
  expect(listsOf("test.io/rdma")).toBe(lists);
  await deleteNetns("pod");
  await waitFor("the RDMA device is back", () => rdmaDevicesOf(vf).length === 1);
  await sh("rdma link delete rxe0");
  await kubelet.waitForAllocatable("test.io/rdma", 0, 60_000);
  await sh("rdma system set netns shared");
});

test("sub-functions come and go", async () => {
  const { kubelet } = node;
  const name = await addAuxiliary(pf0, { module: "mlx5_core", type: "sf", id: 2, sfnum: 88 });
  await kubelet.waitForAllocatable("test.io/sf", 1, 60_000);
  expect(idsOf(kubelet, "test.io/sf")).toEqual([name]);
  labsim("clear");
  await kubelet.waitFor((seen) => seen.resource("test.io/sf").capacity === 0, "the list is empty", 60_000);
});

test("a NIC is plugged and unplugged, and excluded before the node has an uplink, and when it is the uplink", async () => {
  const { kubelet } = node;
  // For five minutes after boot; another file may have run before this one.
  const uptime = () => Number(readSys("/proc/uptime").split(" ")[0]);
  const pluggedAt = uptime();
  const bdf = await plug("e1000e", "extra", "port2");
  const isExcluded = () => node.plugin.output().includes(`device=${bdf} reason="no default route yet"`);
  const isOffered = () => kubelet.resource("test.io/nics").capacity === 1;
  await waitFor("the NIC is excluded or offered", () => isExcluded() || isOffered());
  if (isOffered()) expect(uptime()).toBeGreaterThan(299);
  else expect(pluggedAt).toBeLessThan(300);
  await sh(`ip link add uplink type dummy && ip link set uplink up && ip address add 198.51.100.1/24 dev uplink
    ip route add default via 198.51.100.254 dev uplink metric 50`);
  await kubelet.waitForAllocatable("test.io/nics", 1, 60_000);
  const netdev = await netdevOf(bdf);
  await sh(`ip link set ${netdev} up && ip address add 192.0.2.1/24 dev ${netdev}`);
  await sh(`ip route add default via 192.0.2.254 dev ${netdev} metric 60`);
  await kubelet.waitFor((seen) => seen.resource("test.io/nics").capacity === 0, "the uplink left the list", 60_000);
  await sh(`ip route del default dev ${netdev}`);
  await nextScan();
  expect(kubelet.resource("test.io/nics").capacity).toBe(0);
  node.plugin.signal("SIGHUP");
  await kubelet.waitForAllocatable("test.io/nics", 1, 60_000);
  await unplug("extra", bdf);
  await sh("ip link delete uplink");
});

test("vDPA devices come and go", async () => {
  const { kubelet } = node;
  const bdf = await plug("virtio-net-pci", "virtio0", "port3");
  await loadModules("vp_vdpa", "vhost_vdpa");
  await bind(bdf, "vp-vdpa");
  await sh(`vdpa dev add name vdpa1 mgmtdev pci/${bdf}`);
  await kubelet.waitForAllocatable("test.io/vhost", 1, 60_000);
  const answer = await kubelet.allocate("test.io/vhost", 1, { pod: "vdpa" });
  expect(answer.devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vhost-vdpa-0"]);
  kubelet.release("vdpa");
  await sh("vdpa dev del vdpa1");
  await kubelet.waitForAllocatable("test.io/vhost", 0, 60_000);
  await unplug("virtio0", bdf);
});
