// boot: alone=yes
// Shows that a captured node is the node, and brings out what the kernel answers of it: /share/lab.host, /share/lab-*.hex
import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { capture } from "../../netlink/capture.ts";
import { parse, unpack } from "../../support/tree.ts";
import { configFile, discover, kernelVersion } from "./facts.ts";
import {
  addAuxiliary,
  addDevlink,
  addRdma,
  bind,
  createVfs,
  executable,
  loadModules,
  netdevOf,
  netdevsOf,
  pf0,
  pf1,
  reset,
  sh,
  waitFor,
  writeSys,
} from "./support.ts";
import { plug } from "./monitor.ts";

/** A node that has something of everything, but for InfiniBand. */
beforeAll(async () => {
  await reset();
  const [ether = "", rdma = "", vfio = "", uio = "", bare = ""] = await createVfs(pf0, 5);
  await createVfs(pf1, 1);
  await bind(vfio, "vfio-pci");
  await bind(uio, "uio_pci_generic");
  await bind(bare, null);

  const handle = await addDevlink(pf0, 2);
  await sh(`devlink dev eswitch set ${handle} mode switchdev`);
  await waitFor("representors", () => netdevsOf(pf0).length === 4);
  await addAuxiliary(pf0, { module: "mlx5_core", type: "sf", id: 2, sfnum: 88 });
  await sh(`devlink dev param set ${await addDevlink(pf1, 0)} name enable_rdma value true cmode driverinit`);

  const netdev = await netdevOf(rdma);
  await sh(`ip link set ${netdev} up`);
  await addRdma("rxe0", netdev);

  const virtio = await plug("virtio-net-pci", "virtio0", "port2");
  await loadModules("vp_vdpa", "vhost_vdpa", "vhost_net", "tun", "bonding", "8021q", "netdevsim", "dummy");
  await bind(virtio, "vp-vdpa");
  await sh(`vdpa dev add name vdpa0 mgmtdev pci/${virtio}`);
  await waitFor("vhost-vdpa node", () => existsSync("/dev/vhost-vdpa-0"));

  const upper = await netdevOf(ether);
  await sh(`ip link add bond1 type bond mode active-backup; ip link set ${upper} down; ip link set ${upper} master bond1
    ip link set bond1 up; ip link add link bond1 name bond1.7 type vlan id 7; ip address add 192.0.2.1/24 dev bond1.7
    ip link set bond1.7 up; ip route add default via 192.0.2.254 dev bond1.7
    ip link add pod0 type dummy`);
});

test("a captured node has the devices of the live one", async () => {
  const text = await sh(`${executable} capture`);
  writeFileSync("/share/lab.host", text);
  const root = "/tmp/captured";
  unpack(parse(text), root);
  const asksAll = configFile({ resourceName: "rdma", selectors: [{ isRdma: true, ddpProfiles: ["none"] }] });
  const live = [...(await discover(asksAll)).values()];
  expect(live.length).toBeGreaterThan(9);
  expect(live.filter(({ rdma }) => rdma).length).toBe(2);
  expect(live.filter(({ vfio, uio, vdpa }) => vfio ?? uio ?? vdpa).length).toBe(3);
  // The VF by which the route leaves, and its PF.
  expect(live.filter(({ host }) => host.defaultRoute === "bond1.7").length).toBe(2);
  expect(live.filter(({ bus }) => bus === "auxiliary").length).toBe(1);
  expect([...(await discover(asksAll, `--root ${root}`)).values()]).toEqual(live);
});

test("a captured node has neither MAC addresses nor pods' allocations", async () => {
  const text = await sh(`${executable} capture`);
  for (const name of readdirSync("/sys/class/net").filter((each) => existsSync(`/sys/class/net/${each}/address`))) {
    const address = await sh(`cat /sys/class/net/${name}/address`);
    if (!address.startsWith("00:00:00")) expect(text).not.toContain(address.trim());
  }
  expect(text).not.toContain("pod0");
});

test("all that the kernel answers over netlink is kept for the tests of the codec", async () => {
  writeSys("/sys/bus/netdevsim/new_device", "7 1");
  await sh("echo 2 >/sys/bus/netdevsim/devices/netdevsim7/sriov_numvfs");
  const [name = ""] = readdirSync("/sys/bus/netdevsim/devices/netdevsim7/net");
  await sh(`ip link set ${name} vf 1 state disable`);
  const setup =
    "two igb PFs with devlink of labsim, one in switchdev mode; netdevsim with 2 VFs; vp_vdpa; soft RoCE; a sub-function";
  capture("/share", "lab", `Linux ${kernelVersion()} x86-64, the lab's guest: ${setup}`);
  expect(
    readdirSync("/share")
      .filter((each) => /^lab-.*\.hex$/.test(each))
      .sort(),
  ).toEqual([
    "lab-devlink-devices.hex",
    "lab-devlink-enable-rdma.hex",
    "lab-devlink-eswitch.hex",
    "lab-devlink-info.hex",
    "lab-devlink-infos.hex",
    "lab-family-ethtool.hex",
    "lab-links.hex",
    "lab-rdma-devices.hex",
    "lab-rdma-mode.hex",
    "lab-routes.hex",
    "lab-vdpa.hex",
  ]);
  writeSys("/sys/bus/netdevsim/del_device", "7");
});
