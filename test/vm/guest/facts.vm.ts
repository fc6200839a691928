// boot: limit=400
// Shows that what `sriovdp discover` says of PCI functions is what the kernel's own tools say of them.
import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readlinkSync, realpathSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { discover, discovered, discoveredAs, verdictOn, wantsEverything } from "./facts.ts";
import {
  addNetns,
  attempt,
  bind,
  bindDefault,
  createVfs,
  deleteNetns,
  devicePath,
  driverOf,
  executable,
  iommuGroupOf,
  json,
  link,
  loadModules,
  moveToNetns,
  netdevOf,
  netdevsOf,
  pf0,
  pf1,
  readSys,
  reset,
  sh,
  vdpaDevices,
  vfsOf,
  waitFor,
} from "./support.ts";
import { plug, setCarrier, unplug } from "./monitor.ts";

const functions = (): string[] =>
  readdirSync("/sys/bus/pci/devices")
    .filter((bdf) => readSys(`${devicePath(bdf)}/class`).startsWith("0x02"))
    .sort();

const linkName = (path: string): string | null => (existsSync(path) ? basename(readlinkSync(path)) : null);

/** What iproute2 says of an interface, in the words of `discover` */
async function linkState(name: string): Promise<object> {
  const { operstate, flags } = await link(name);
  return { interfaceName: name, adminUp: flags.includes("UP"), operstate: operstate.toLowerCase() };
}

let vf = "";

beforeAll(async () => {
  await reset();
  await createVfs(pf0, 4);
  await createVfs(pf1, 2);
  [vf = ""] = vfsOf(pf0);
});

test("all network functions of the node are found, and nothing else", async () => {
  const found = await discover();
  expect([...found.keys()]).toEqual(functions());
  expect(found.size).toBeGreaterThanOrEqual(8);
});

test("ids, class, driver, NUMA node, PCIe root and interfaces of every function are those in sysfs", async () => {
  const found = await discover();
  for (const bdf of functions()) {
    const text = (name: string) => readSys(`${devicePath(bdf)}/${name}`);
    expect(found.get(bdf)).toMatchObject({
      bus: "pci",
      pci: bdf,
      vendor: text("vendor").slice(2),
      product: text("device").slice(2),
      pciClass: 2,
      driver: driverOf(bdf),
      numaNode: text("numa_node") === "-1" ? null : Number(text("numa_node")),
      pcieRoot: realpathSync(devicePath(bdf)).split("/")[3] ?? "",
      interfaces: netdevsOf(bdf),
      linkType: "ether",
      rdma: null,
      vdpa: null,
      vfio: null,
      uio: null,
      auxType: null,
    });
  }
  expect(new Set([...found.values()].map(({ numaNode }) => numaNode))).toEqual(new Set([0, 1]));
  const roots = [...found.values()].map(({ pcieRoot }) => pcieRoot);
  expect(new Set(roots).isSupersetOf(new Set(["pci0000:40", "pci0000:80"]))).toBeTrue();
});

test("every VF is known by its index below its PF, and by the PF's address and interface", async () => {
  const found = await discover();
  for (const [pf, name] of [[pf0, "pf0"] as const, [pf1, "pf1"] as const]) {
    const vfs = vfsOf(pf);
    expect(found.get(pf)).toMatchObject({ pf: null, functionIndex: null, host: { vfs: vfs.length } });
    for (const [index, bdf] of vfs.entries()) {
      expect(found.get(bdf)).toMatchObject({
        pf: { address: linkName(`${devicePath(bdf)}/physfn`), interfaceName: name },
        functionIndex: index,
        host: { vfs: 0 },
      });
    }
  }
});

test("a PF with VFs is not offered, its VFs are", async () => {
  expect(await verdictOn(pf0)).toMatchObject({ outcome: "excluded", reasons: ["it is a PF with 4 VFs"] });
  expect(await verdictOn(vf)).toMatchObject({ outcome: "selected", reasons: [] });
});

test("the state of every interface is what ip says, for functions and for their PFs", async () => {
  const found = await discover();
  for (const { link, pf } of found.values()) {
    if (link) expect(link).toMatchObject(await linkState(link.interfaceName));
    if (pf?.link) expect(pf.link).toMatchObject(await linkState(pf.link.interfaceName));
  }
  expect(found.get(pf0)?.link).toMatchObject({ interfaceName: "pf0", adminUp: true, operstate: "up", carrier: true });
  expect(found.get(vf)?.pf?.link?.interfaceName).toBe("pf0");
});

test("a PF that loses its carrier is seen so, and its VFs are reported as Unhealthy", async () => {
  await setCarrier("nic0", "off");
  const down = { interfaceName: "pf0", adminUp: true, operstate: "down", carrier: false };
  const found = await discoveredAs("pf0 without carrier", pf0, (device) => device.link?.operstate === "down");
  expect(found.link).toMatchObject(down);
  expect((await discovered(vf)).pf?.link).toMatchObject(down);
  expect(await verdictOn(vf)).toMatchObject({
    outcome: "selected",
    reasons: [expect.stringContaining("reported as Unhealthy")],
  });
  await setCarrier("nic0", "on");
  await discoveredAs("pf0 with carrier", pf0, (device) => device.link?.operstate === "up");
  expect(await verdictOn(vf)).toMatchObject({ outcome: "selected", reasons: [] });
});

test("a PF that is taken down is seen so", async () => {
  await sh("ip link set pf1 down");
  expect((await discovered(pf1)).link).toMatchObject({ adminUp: false, operstate: "down" });
  await sh("ip link set pf1 up");
  await discoveredAs("pf1 up", pf1, (device) => device.link?.operstate === "up");
});

test("the link-state policy of each VF is what ip says of it", async () => {
  interface Pf {
    readonly vfinfo_list: readonly { readonly vf: number; readonly link_state: string }[];
  }
  const [{ vfinfo_list: policies } = { vfinfo_list: [] }] = await json<Pf[]>("ip -j link show dev pf0", []);
  const found = await discover();
  expect(policies).toHaveLength(4);
  for (const { vf: index, link_state } of policies) {
    const bdf = vfsOf(pf0)[index] ?? "";
    expect(found.get(bdf)).toMatchObject({ vfLinkState: link_state });
  }
});

test("an interface that went to a pod's network namespace is not seen, but its function and its PF are", async () => {
  const netdev = await netdevOf(vf);
  await addNetns("pod");
  await moveToNetns(netdev, "pod");
  expect(await discovered(vf)).toMatchObject({
    interfaces: [],
    link: null,
    linkType: "ether",
    driver: "igbvf",
    pf: { interfaceName: "pf0" },
  });
  await deleteNetns("pod");
  await discoveredAs("interface back", vf, ({ interfaces }) => interfaces.length === 1);
});

test("a VF without a driver is found and not offered", async () => {
  await bind(vf, null);
  expect(await discovered(vf)).toMatchObject({ driver: null, interfaces: [], pf: { interfaceName: "pf0" } });
  expect(await verdictOn(vf)).toMatchObject({ outcome: "excluded", reasons: ["no driver is bound to it"] });
  await bindDefault(vf);
});

test("a VF bound to vfio-pci is known by its IOMMU group's node", async () => {
  await bind(vf, "vfio-pci");
  const group = iommuGroupOf(vf);
  await waitFor("group node", () => existsSync(`/dev/vfio/${group}`));
  // Debian's kernel has neither iommufd nor cdevs.
  expect(existsSync("/dev/vfio/devices")).toBeFalse();
  expect(await discovered(vf)).toMatchObject({
    driver: "vfio-pci",
    vfio: { group, noIommu: false, node: { path: `/dev/vfio/${group}`, present: true }, cdev: null },
    uio: null,
    interfaces: [],
  });
  await bindDefault(vf);
});

test("a VF bound to uio_pci_generic is known by its uio node", async () => {
  await bind(vf, "uio_pci_generic");
  const node = await waitFor("uio node", () => readdirSync(`${devicePath(vf)}/uio`)[0]);
  await waitFor("device node", () => existsSync(`/dev/${node}`));
  expect(await discovered(vf)).toMatchObject({
    driver: "uio_pci_generic",
    uio: { path: `/dev/${node}`, present: true },
    vfio: null,
  });
  await bindDefault(vf);
});

test("a virtio function is known by the interface of its virtio device", async () => {
  await loadModules("virtio_net");
  const bdf = await plug("virtio-net-pci", "virtio0", "port2");
  const name = await waitFor("its interface", () => {
    const virtio = readdirSync(devicePath(bdf)).find((entry) => /^virtio\d+$/.test(entry));
    return virtio !== undefined && readdirSync(`${devicePath(bdf)}/${virtio}/net`)[0];
  });
  expect(await discovered(bdf)).toMatchObject({
    vendor: "1af4",
    driver: "virtio-pci",
    interfaces: [name],
    link: await linkState(name),
    numaNode: 1,
    pf: null,
  });
});

test("a virtio function that is managed as vDPA is known by its vDPA device, for vhost and for virtio", async () => {
  const bdf = functions().find((each) => readSys(`${devicePath(each)}/vendor`) === "0x1af4") ?? "";
  await loadModules("vp_vdpa", "vhost_vdpa");
  await bind(bdf, "vp-vdpa");
  expect((await discovered(bdf)).vdpa).toBeNull();
  await sh(`vdpa dev add name vdpa0 mgmtdev pci/${bdf}`);
  expect((await vdpaDevices())["vdpa0"]?.mgmtdev).toBe(`pci/${bdf}`);
  const driver = () => linkName("/sys/bus/vdpa/devices/vdpa0/driver");
  await waitFor("vhost_vdpa", () => driver() === "vhost_vdpa");
  const node = readdirSync("/sys/bus/vdpa/devices/vdpa0").find((name) => name.startsWith("vhost-vdpa-"));
  expect((await discovered(bdf)).vdpa).toEqual({
    name: "vdpa0",
    type: "vhost",
    node: { path: `/dev/${node}`, present: existsSync(`/dev/${node}`) },
  });
  expect(existsSync(`/dev/${node}`)).toBeTrue();

  await writeFile("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", "vdpa0");
  expect((await discovered(bdf)).vdpa).toEqual({ name: "vdpa0", type: null, node: null });
  await loadModules("virtio_vdpa");
  if (driver() === null) await writeFile("/sys/bus/vdpa/drivers/virtio_vdpa/bind", "vdpa0");
  expect(driver()).toBe("virtio_vdpa");
  expect((await discovered(bdf)).vdpa).toEqual({ name: "vdpa0", type: "virtio", node: null });

  await sh("vdpa dev del vdpa0");
  expect((await discovered(bdf)).vdpa).toBeNull();
});

test("a function that is unplugged is gone", async () => {
  const bdf = functions().find((each) => readSys(`${devicePath(each)}/vendor`) === "0x1af4") ?? "";
  await unplug("virtio0", bdf);
  expect([...(await discover()).keys()]).toEqual(functions());
});

test("functions may come and go while they are read", async () => {
  const enough = new AbortController();
  const rounds: string[] = [];
  const toggle = (async () => {
    while (!enough.signal.aborted) {
      await writeFile(`${devicePath(pf1)}/sriov_numvfs`, "0");
      const count = rounds.at(-1) === "7" ? "3" : "7";
      await writeFile(`${devicePath(pf1)}/sriov_numvfs`, count);
      rounds.push(count);
    }
  })();
  const runs: { status: number; stderr: string }[] = [];
  // How many VFs a scan finds is no proof: both wait for the kernel's locks, and a scan may meet the same moment of every round.
  while (runs.length < 25 || rounds.length < 5) {
    const { status, stdout, stderr } = await attempt(`${executable} discover --json --config-file ${wantsEverything}`);
    runs.push({ status, stderr });
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ id: pf1 }));
  }
  enough.abort();
  await toggle;
  expect(runs.filter(({ status }) => status !== 0)).toEqual([]);
  // No plugin runs here, which each of them notes.
  expect(runs.filter(({ stderr }) => !/^note: [^\n]*\n$/.test(stderr))).toEqual([]);
  await createVfs(pf1, 0);
});
