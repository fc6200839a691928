// boot: topology=numa iommu=on memory=2048
// Shows that the lab is what the other guest tests take it for.
import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import {
  addAuxiliary,
  addDevlink,
  addNetns,
  addRdma,
  bind,
  bindDefault,
  createVfs,
  deleteNetns,
  devicePath,
  devlinkHandles,
  driverOf,
  eswitchMode,
  executable,
  inNetns,
  iommuGroupOf,
  labsim,
  link,
  loadModules,
  moveToNetns,
  netdevOf,
  netdevsOf,
  pf0,
  pf1,
  rdmaDevicesOf,
  rdmaLinks,
  readSys,
  reset,
  sh,
  vdpaDevices,
  vfsOf,
  waitFor,
  writeSys,
} from "./support.ts";
import { plug, setCarrier, unplug } from "./monitor.ts";

beforeAll(reset);

test("two PFs are on NUMA nodes of their own", () => {
  expect(readSys(`${devicePath(pf0)}/numa_node`)).toBe("0");
  expect(readSys(`${devicePath(pf1)}/numa_node`)).toBe("1");
  for (const pf of [pf0, pf1]) {
    expect(driverOf(pf)).toBe("igb");
    expect(readSys(`${devicePath(pf)}/sriov_totalvfs`)).toBe("7");
  }
});

test("sriov_numvfs makes VFs that are linked with their PF and inherit its NUMA node", async () => {
  const vfs = await createVfs(pf1, 2);
  expect(vfs).toHaveLength(2);
  for (const vf of vfs) {
    expect(basename(readlinkSync(`${devicePath(vf)}/physfn`))).toBe(pf1);
    expect(readSys(`${devicePath(vf)}/numa_node`)).toBe("1");
    expect(driverOf(vf)).toBe("igbvf");
    expect(netdevsOf(vf)).toHaveLength(1);
  }
  expect(await createVfs(pf1, 0)).toEqual([]);
});

test("a VF bound to vfio-pci has an IOMMU group and its character device", async () => {
  const [vf = ""] = await createVfs(pf0, 2);
  await bind(vf, "vfio-pci");
  await waitFor("the group's device node", () => existsSync(`/dev/vfio/${iommuGroupOf(vf)}`));
  expect(netdevsOf(vf)).toEqual([]);
  await bindDefault(vf);
  expect(driverOf(vf)).toBe("igbvf");
});

test("a VF bound to uio_pci_generic has a uio device", async () => {
  const [, vf = ""] = vfsOf(pf0);
  await bind(vf, "uio_pci_generic");
  const [uio] = readdirSync(`${devicePath(vf)}/uio`);
  await waitFor("the uio device node", () => existsSync(`/dev/${uio}`));
  await bind(vf, null);
  expect(driverOf(vf)).toBeNull();
});

test("labsim adds an auxiliary device with an sfnum below a PF", async () => {
  const name = await addAuxiliary(pf0, { module: "mlx5_core", type: "sf", id: 2, sfnum: 88 });
  expect(readSys(`/sys/bus/auxiliary/devices/${name}/sfnum`)).toBe("88");
  expect(readdirSync(`${devicePath(pf0)}/${name}/net`)).toHaveLength(1);
  labsim("clear");
  expect(existsSync(`/sys/bus/auxiliary/devices/${name}`)).toBeFalse();
});

test("labsim gives a PF a devlink instance whose switchdev mode brings representors", async () => {
  const handle = await addDevlink(pf0, 2);
  expect(await devlinkHandles()).toContain(handle);
  expect(await eswitchMode(handle)).toBe("legacy");
  const before = netdevsOf(pf0);
  await sh(`devlink dev eswitch set ${handle} mode switchdev`);
  expect(await eswitchMode(handle)).toBe("switchdev");
  expect(netdevsOf(pf0)).toHaveLength(before.length + 3);
  const portNames = netdevsOf(pf0)
    .filter((name) => name !== "pf0")
    .map((name) => readSys(`/sys/class/net/${name}/phys_port_name`));
  expect(portNames.sort()).toEqual(["p0", "pf0vf0", "pf0vf1"]);
  labsim("clear");
  expect(netdevsOf(pf0)).toEqual(before);
});

test("netdevsim has a devlink instance", async () => {
  await loadModules("netdevsim");
  writeSys("/sys/bus/netdevsim/new_device", "7 1");
  await waitFor("devlink instance", async () => (await devlinkHandles()).includes("netdevsim/netdevsim7"));
});

test("soft RoCE on a VF appears below the VF's PCI function", async () => {
  const [vf = ""] = vfsOf(pf0);
  const netdev = await netdevOf(vf);
  await sh(`ip link set ${netdev} up`);
  await addRdma("rxe0", netdev);
  expect(rdmaDevicesOf(vf)).toEqual(["rxe0"]);
  expect((await rdmaLinks()).map(({ ifname }) => ifname)).toEqual(["rxe0"]);
  expect(existsSync("/dev/infiniband/rdma_cm")).toBeTrue();
  await sh("rdma link delete rxe0");
});

test("vdpa_sim gives a vDPA device that vhost_vdpa takes", async () => {
  await loadModules("vhost_vdpa", "vdpa_sim_net");
  await sh("vdpa dev add name vdpa0 mgmtdev vdpasim_net mac 00:11:22:33:44:55");
  expect(Object.keys(await vdpaDevices())).toEqual(["vdpa0"]);
  expect(basename(readlinkSync("/sys/bus/vdpa/devices/vdpa0/driver"))).toBe("vhost_vdpa");
  await sh("vdpa dev del vdpa0");
});

test("a virtio function bound to vp-vdpa offers a vDPA device below itself", async () => {
  const bdf = await plug("virtio-net-pci", "virtio0", "port2");
  await loadModules("vp_vdpa", "vhost_vdpa");
  await bind(bdf, "vp-vdpa");
  await sh(`vdpa dev add name vdpa1 mgmtdev pci/${bdf}`);
  expect((await vdpaDevices())["vdpa1"]?.mgmtdev).toBe(`pci/${bdf}`);
  await sh("vdpa dev del vdpa1");
  await unplug("virtio0", bdf);
});

test("the monitor takes the carrier from a PF and gives it back", async () => {
  await setCarrier("nic0", "off");
  await waitFor("pf0 without carrier", async () => (await link("pf0")).operstate === "DOWN");
  await setCarrier("nic0", "on");
  await waitFor("pf0 with carrier", async () => (await link("pf0")).operstate === "UP");
});

test("a netdev moved to a network namespace leaves its function's view, and comes back", async () => {
  const [vf = ""] = vfsOf(pf0);
  const netdev = await netdevOf(vf);
  await addNetns("pod");
  await moveToNetns(netdev, "pod");
  expect(netdevsOf(vf)).toEqual([]);
  expect(await inNetns("pod", "ip -br link")).toContain(netdev);
  await deleteNetns("pod");
  await waitFor("netdev back", () => netdevsOf(vf).length === 1);
});

test("the executable under test is itself again when a test starts it", async () => {
  expect(await sh(`${executable} --version`)).toStartWith("sriovdp ");
});
