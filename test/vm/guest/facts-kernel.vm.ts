// boot: limit=240
// Shows that what `sriovdp discover` says of devlink, sub-functions and RDMA is what devlink, rdma and sysfs say.
import { afterEach, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { readDevlinkInfo } from "../../../native/netlink/devlink.ts";
import { GenericNetlink } from "../../../native/netlink/generic.ts";
import { readLinks } from "../../../native/netlink/route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../native/netlink/socket.ts";
import { configFile, discover, discovered, type Found, verdictOn, wantsEverything, withoutNetAdmin } from "./facts.ts";
import {
  addAuxiliary,
  addDevlink,
  addNetns,
  addRdma,
  createVfs,
  deleteNetns,
  eswitchMode,
  executable,
  json,
  labsim,
  link,
  loadModules,
  moveToNetns,
  netdevOf,
  netdevsOf,
  pf0,
  rdmaDevicesOf,
  rdmaLinks,
  readSys,
  reset,
  sh,
  waitFor,
  writeSys,
} from "./support.ts";

let vf = "";

beforeAll(async () => {
  await reset();
  [vf = ""] = await createVfs(pf0, 2);
});

afterEach(() => {
  if (existsSync("/sys/module/labsim")) labsim("clear");
});

// ---- devlink

const asOrdinaryRoot = (): Promise<ReadonlyMap<string, Found>> => discover();

async function withoutTheCapability(): Promise<ReadonlyMap<string, Found>> {
  const text = await withoutNetAdmin(`${executable} discover --json --config-file ${wantsEverything}`);
  return new Map((JSON.parse(text) as Found[]).map((device) => [device.id, device]));
}

test("without CAP_NET_ADMIN the kernel does not report the eswitch mode", async () => {
  const handle = await addDevlink(pf0, 2);
  expect(await eswitchMode(handle)).toBe("legacy");
  expect(await withoutNetAdmin(`devlink dev eswitch show ${handle} 2>&1 || true`)).toContain("not permitted");
});

test.each([
  ["with CAP_NET_ADMIN", asOrdinaryRoot],
  ["without CAP_NET_ADMIN", withoutTheCapability],
])("in legacy mode the PF's name is that of its interface, %s", async (_, discover) => {
  const handle = await addDevlink(pf0, 2);
  expect(await eswitchMode(handle)).toBe("legacy");
  const found = await discover();
  expect(found.get(pf0)).toMatchObject({ interfaces: ["pf0"], link: { interfaceName: "pf0" } });
  expect(found.get(vf)?.pf?.interfaceName).toBe("pf0");
});

test.each([
  ["with CAP_NET_ADMIN", asOrdinaryRoot],
  ["without CAP_NET_ADMIN", withoutTheCapability],
])("in switchdev mode the PF's name is that of its uplink representor, %s", async (_, discover) => {
  const handle = await addDevlink(pf0, 2);
  await sh(`devlink dev eswitch set ${handle} mode switchdev`);
  const ports = netdevsOf(pf0)
    .filter((name) => name !== "pf0")
    .map((name) => [readSys(`/sys/class/net/${name}/phys_port_name`), name] as const);
  expect(ports.map(([port]) => port).sort()).toEqual(["p0", "pf0vf0", "pf0vf1"]);
  const uplink = new Map(ports).get("p0") ?? "";
  const found = await discover();
  expect(found.get(pf0)?.interfaces).toEqual(netdevsOf(pf0));
  expect(found.get(pf0)?.link?.interfaceName).toBe(uplink);
  expect(found.get(vf)?.pf).toMatchObject({ address: pf0, interfaceName: uplink });
  labsim("clear");
  expect((await discover()).get(vf)?.pf?.interfaceName).toBe("pf0");
});

test.each([
  ["with CAP_NET_ADMIN", asOrdinaryRoot],
  ["without CAP_NET_ADMIN", withoutTheCapability],
])("a VF's representor is not mistaken for a PF whose uplink is elsewhere, %s", async (_, discover) => {
  const handle = await addDevlink(pf0, 2);
  await sh(`devlink dev eswitch set ${handle} mode switchdev`);
  const uplink = netdevsOf(pf0).find(
    (name) => name !== "pf0" && readSys(`/sys/class/net/${name}/phys_port_name`) === "p0",
  );
  await addNetns("elsewhere");
  await moveToNetns(uplink ?? "", "elsewhere");
  expect((await discover()).get(vf)?.pf).toMatchObject({
    address: pf0,
    interfaceName: null,
    link: null,
    ports: [],
  } as object);
  await deleteNetns("elsewhere");
});

test("versions that a driver reports are those that devlink shows", async () => {
  await loadModules("netdevsim");
  writeSys("/sys/bus/netdevsim/new_device", "7 1");
  const handle = "netdevsim/netdevsim7";
  interface Info {
    readonly info: Record<string, { driver: string; versions?: Record<string, Record<string, string>> }>;
  }
  const ask = () => json<Info>(`devlink -j dev info ${handle}`, { info: {} });
  const shown = await waitFor("devlink instance", async () => (await ask()).info[handle]);
  const generic = new GenericNetlink();
  const info = readDevlinkInfo(generic, "netdevsim", "netdevsim7");
  generic.close();
  expect(info?.driver).toBe(shown.driver);
  expect(info?.versions).toEqual(Object.assign({}, ...Object.values(shown.versions ?? {})) as Record<string, string>);
  // Its links and its PCI-less devlink instance are no function of this node.
  expect((await discover()).size).toBe(4);
});

test("the link-state policy of a VF is followed through auto, enable and disable", async () => {
  // igb has no such policy, and netdevsim has.
  await sh("echo 1 >/sys/bus/netdevsim/devices/netdevsim7/sriov_numvfs");
  const [name = ""] = readdirSync("/sys/bus/netdevsim/devices/netdevsim7/net");
  for (const policy of ["enable", "disable", "auto"] as const) {
    await sh(`ip link set ${name} vf 0 state ${policy}`);
    const socket = new NetlinkSocket(NETLINK_ROUTE);
    expect(readLinks(socket).find((each) => each.name === name)?.vfLinkStates).toEqual({ 0: policy });
    socket.close();
  }
  writeSys("/sys/bus/netdevsim/del_device", "7");
});

// ---- sub-functions

test("a sub-function is known by its number, its PF and its interface", async () => {
  const name = await addAuxiliary(pf0, { module: "mlx5_core", type: "sf", id: 4, sfnum: 88 });
  const folder = `/sys/bus/auxiliary/devices/${name}`;
  const [netdev = ""] = readdirSync(`${folder}/net`);
  await sh(`ip link set ${netdev} up`);
  const { operstate, flags } = await link(netdev);
  expect(await discovered(name)).toMatchObject({
    id: "mlx5_core.sf.4",
    bus: "auxiliary",
    pci: pf0,
    auxType: "sf",
    functionIndex: Number(readSys(`${folder}/sfnum`)),
    interfaces: [netdev],
    link: { interfaceName: netdev, adminUp: flags.includes("UP"), operstate: operstate.toLowerCase() },
    pf: { address: pf0, interfaceName: "pf0" },
    vendor: "8086",
    driver: "igb",
    numaNode: 0,
    pcieRoot: "pci0000:40",
  });
  expect((await discovered(name)).pool).toContain("subfunctions");
});

test("an auxiliary device that is no sub-function is known by its type", async () => {
  const name = await addAuxiliary(pf0, { module: "mlx5_core", type: "eth", id: 0, sfnum: 1 });
  expect(await discovered(name)).toMatchObject({ auxType: "eth", functionIndex: null, pool: null });
});

// ---- RDMA

const wantsRdma = configFile({ resourceName: "rdma", selectors: [{ isRdma: true }] });

test("RDMA devices of a function are those of the rdma tool", async () => {
  const netdev = await netdevOf(vf);
  await sh(`ip link set ${netdev} up`);
  await addRdma("rxe0", netdev);
  const [shown] = await rdmaLinks();
  expect(shown).toMatchObject({ ifname: "rxe0", netdev });
  expect(rdmaDevicesOf(vf)).toEqual(["rxe0"]);
  expect(await discovered(vf, wantsRdma)).toMatchObject({ rdma: { names: ["rxe0"] }, pool: "intel.com/rdma" });
  expect(await verdictOn(pf0, wantsRdma)).toMatchObject({ outcome: "excluded" });
});

test("an RDMA device that is in a pod's network namespace leaves its function RDMA capable", async () => {
  await sh("rdma link delete rxe0; rdma system set netns exclusive");
  const netdev = await netdevOf(vf);
  await addRdma("rxe0", netdev);
  await addNetns("pod");
  await sh("rdma dev set rxe0 netns pod");
  expect(await rdmaLinks()).toEqual([]);
  expect(rdmaDevicesOf(vf)).toEqual([]);
  expect((await discovered(vf, wantsRdma)).rdma).toEqual({ names: [] });
  await deleteNetns("pod");
});

test("an RDMA device that is taken away leaves a function that is not RDMA capable", async () => {
  for (const { ifname } of await rdmaLinks()) await sh(`rdma link delete ${ifname}`);
  await waitFor("no RDMA device", () => rdmaDevicesOf(vf).length === 0);
  expect((await discovered(vf, wantsRdma)).rdma).toBeNull();
  await sh("rdma system set netns shared");
});

test("a device whose RDMA is turned on by devlink is RDMA capable, though none of its RDMA devices is seen", async () => {
  const handle = await addDevlink(pf0, 0);
  const turn = (value: boolean) =>
    sh(`devlink dev param set ${handle} name enable_rdma value ${value} cmode driverinit`);
  expect((await discovered(pf0, wantsRdma)).rdma).toBeNull();
  await turn(true);
  expect((await discovered(pf0, wantsRdma)).rdma).toEqual({ names: [] });
  // It is read only when a selector needs it.
  expect((await discovered(pf0)).rdma).toBeNull();
  await turn(false);
  expect((await discovered(pf0, wantsRdma)).rdma).toBeNull();
});

test("devices whose links, RDMA devices and sub-functions are selected by a config are read without an error", async () => {
  const asksAll = configFile({
    resourceName: "all",
    selectors: [{ isRdma: true, ddpProfiles: ["GTPv1-C/U IPv4/IPv6 payload"] }],
  });
  await addDevlink(pf0, 0);
  const { exited, stderr } = Bun.spawn([executable, "discover", "--config-file", asksAll], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: "/usr/bin:/usr/sbin" },
  });
  expect(await new Response(stderr).text()).toMatch(/^note: cannot reach the plugin [^\n]*\n$/);
  expect(await exited).toBe(0);
});
