import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { ethernetLink } from "../../test/support/ethernet-link.ts";
import { buildNode } from "../../test/support/node.ts";
import { accelerator, type NodePlan } from "../../test/support/node-plan.ts";
import { attribute, type Entry, file, kernelFacts, link, parse, unpack } from "../../test/support/tree.ts";
import { captureNode } from "./node-capture.ts";
import type { Device } from "./device.ts";
import { readAllocationFacts } from "./allocation-facts.ts";
import { scanNode } from "./scan.ts";

const work = mkdtempSync(`${tmpdir()}/capture-`);
afterAll(() => rmSync(work, { recursive: true }));

let trees = 0;

function unpacked(entries: Iterable<Entry>): string {
  const root = `${work}/${trees++}`;
  unpack(entries, root);
  return root;
}

/** Captures a node and unpacks what was captured. */
async function captured(entries: Iterable<Entry>) {
  const original = unpacked(entries);
  const { text, problems } = await captureNode(original);
  return { original, text, problems, copy: unpacked(parse(text)) };
}

const everything = { ddpProfiles: true, enableRdma: true, vhostNet: false };
/** The devices without what is a copy's own: inode numbers. */
const devicesOf = async (root: string) =>
  (await scanNode(root, everything, null)).devices.map((device) => ({ ...device, instance: "" }));
const allocationFactsOf = (root: string, devices: readonly Device[]) =>
  devices.map((device) => readAllocationFacts(root, device, { rdma: true, vhostNet: true, iommufd: true }));

const nodes: Readonly<Record<string, NodePlan>> = {
  "whose VFs are used in every way": {
    pfs: [
      {
        nic: "e810",
        name: "ens1f0",
        ddpProfile: "GTPv1-C/U IPv4/IPv6 payload",
        vfs: [
          { count: 2 },
          { count: 1, driver: "vfio-pci" },
          { count: 1, driver: "uio_pci_generic" },
          { count: 1, driver: null },
        ],
      },
      {
        nic: "x710",
        name: "ens2f0",
        numaNode: null,
        link: "down",
        vfs: [{ count: 1, driver: "vfio-pci", noIommu: true }],
      },
    ],
  },
  "in switchdev mode with RDMA, vDPA and sub-functions": {
    pfs: [
      {
        nic: "connectx6",
        name: "ens3f0np0",
        eswitch: "switchdev",
        rdma: true,
        vfs: [
          { count: 1, rdma: true },
          { count: 1, vdpa: "vhost" },
          { count: 1, vdpa: "virtio" },
        ],
        sfs: [{ sfnum: 88, rdma: true }],
      },
    ],
  },
  "with InfiniBand, an accelerator and something that is neither": {
    pfs: [
      {
        nic: "connectx5",
        name: "ibs1",
        linkType: "infiniband",
        pKey: "0x7fff",
        rdma: true,
        vfs: [{ count: 2, rdma: true }],
      },
    ],
    functions: [
      accelerator("0000:af:00.0"),
      { address: "0000:b0:00.0", vendor: "144d", product: "a808", pciClass: "010802" },
    ],
  },
  "whose default route leaves through a VLAN on a bond": {
    pfs: [
      { nic: "x520", name: "eno1" },
      { nic: "x520", name: "eno2", vfs: [{ count: 1 }] },
    ],
    uppers: [
      { name: "bond0", kind: "bond", over: ["eno1", "eno2"] },
      { name: "bond0.7", kind: "vlan", over: ["bond0"] },
    ],
    defaultRoutes: ["bond0.7"],
    vhostNet: false,
  },
};

describe.each(Object.entries(nodes))("a node %s", (_, plan) => {
  test("is captured so that all devices and all that they are used by are the same", async () => {
    const { original, copy, problems } = await captured(buildNode(plan));
    const devices = await devicesOf(original);
    expect(devices.length).toBeGreaterThan(1);
    expect(await devicesOf(copy)).toEqual([...devices]);
    expect(allocationFactsOf(copy, devices)).toEqual(allocationFactsOf(original, devices));
    expect(problems).toEqual([]);
  });

  test("is captured the same from its capture", async () => {
    const { text, copy } = await captured(buildNode(plan));
    expect((await captureNode(copy)).text).toBe(text);
  });
});

test("the node of the lab, captured on its kernel, has all that was set up there", async () => {
  const text = readFileSync(`${import.meta.dir}/../../test/hosts/lab.host`, "utf8");
  const root = unpacked(parse(text));
  const devices = new Map((await devicesOf(root)).map((each) => [each.id, each]));
  expect(devices.size).toBe(10);
  expect(devices.get("0000:41:10.0")?.host.defaultRoute).toBe("bond1.7");
  expect(devices.get("0000:41:10.2")?.rdma).toEqual({ names: ["rxe0"] });
  expect(devices.get("0000:41:10.4")?.vfio?.node).toEqual({ path: "/dev/vfio/13", present: true });
  expect(devices.get("0000:41:10.6")?.uio).toEqual({ path: "/dev/uio0", present: true });
  expect(devices.get("0000:41:11.0")?.driver).toBeNull();
  expect(devices.get("0000:81:00.0")?.rdma).toEqual({ names: [] });
  expect(devices.get("0000:82:00.0")?.vdpa).toMatchObject({ name: "vdpa0", type: "vhost" });
  expect(devices.get("mlx5_core.sf.2")).toMatchObject({ functionIndex: 88, pf: { interfaceName: "eth4" } });
  expect(devices.get("0000:41:10.0")?.pcieRoot).toBe("pci0000:40");
  expect(devices.get("0000:82:00.0")?.pcieRoot).toBe("pci0000:80");
  const withoutOrigin = text.slice(text.indexOf("\n\n") + 2);
  expect((await captureNode(root)).text).toBe(withoutOrigin);
});

test("functions of other kinds are not captured", async () => {
  const { text } = await captured(
    buildNode(nodes["with InfiniBand, an accelerator and something that is neither"] ?? {}),
  );
  expect(text).toContain("0000:af:00.0");
  expect(text).not.toContain("0000:b0:00.0");
});

const odd = "sys/devices/pci0000:10/0000:10:00.0";

test("a function that can't be read is captured as odd as it is", async () => {
  const { original, copy, text, problems } = await captured([
    ...buildNode({ pfs: [{ nic: "x520", name: "eno1" }] }),
    link("sys/bus/pci/devices/0000:10:00.0", "../../../devices/pci0000:10/0000:10:00.0"),
    attribute(`${odd}/class`, "network"),
  ]);
  expect(text).toContain(`${odd}/class = network\n`);
  const said = (await scanNode(original, everything, null)).problems.map(({ key }) => key);
  expect(said).toEqual(["0000:10:00.0"]);
  expect(problems.map(({ key }) => key)).toEqual(said);
  expect((await scanNode(copy, everything, null)).problems.map(({ key }) => key)).toEqual(said);
});

test("an attribute that is not text is reported, and everything else captured", async () => {
  const entries = buildNode({ pfs: [{ nic: "x520", name: "eno1" }] });
  const { copy, problems } = await captured([
    ...entries,
    link("sys/bus/pci/devices/0000:10:00.0", "../../../devices/pci0000:10/0000:10:00.0"),
    file(`${odd}/modalias`, Uint8Array.of(0xff, 0xfe)),
  ]);
  expect(problems.some(({ message }) => message.includes(`${odd}/modalias`))).toBe(true);
  expect(await devicesOf(copy)).toHaveLength(1);
});

const pfLink = { parentBus: "pci", parentDevice: "0000:10:00.0" };

test("MAC addresses and GUIDs are replaced, equal ones by equal ones and in their order", async () => {
  const links = [
    ethernetLink(2, "enx525400ab0002", { ...pfLink, switchId: "525400ab0002" }),
    ethernetLink(3, "enx525400ab0001", { ...pfLink, switchId: "525400ab0001" }),
    ethernetLink(4, "ens1f0", { ...pfLink, switchId: "525400ab0002" }),
  ];
  const vdpa = [{ name: "rocex525400fffeab0002", managementBus: "pci", managementDevice: "0000:10:00.0" }];
  const { text } = await captured([kernelFacts({ links, defaultRouteExits: [], devlink: [], vdpa, ethtool: [] })]);
  expect(text).not.toMatch(/5254|ab000/);
  const names = [...text.matchAll(/"name": "(\w+)".*?(?:"switchId": "(\w+)"|$)/gm)].map(([, ...found]) => found);
  expect(names).toEqual([
    ["enx000000000002", "000000000002"],
    ["enx000000000001", "000000000001"],
    ["ens1f0", "000000000002"],
    ["rocex0000000000000003", undefined as never],
  ]);
});

test("interfaces of pods are left out, and those between a function and a default route are not", async () => {
  const links = [
    ethernetLink(1, "lo", { arphrd: 772 }),
    ethernetLink(2, "ens1f0", { ...pfLink, master: 5 }),
    ethernetLink(3, "cali0123456789a", { kind: "veth" }),
    ethernetLink(4, "veth0", { kind: "veth", master: 5 }),
    ethernetLink(5, "br0", { kind: "bridge" }),
    ethernetLink(6, "br0.7", { kind: "vlan", lower: 5 }),
    ethernetLink(7, "br-ex", { kind: "openvswitch" }),
    ethernetLink(8, "wg0", { kind: "wireguard", arphrd: 65534 }),
  ];
  const { copy } = await captured([kernelFacts({ links, defaultRouteExits: [8], devlink: [], vdpa: [], ethtool: [] })]);
  const { kernel } = await scanNode(copy, everything, null);
  expect(kernel.links.map(({ name }) => name)).toEqual(["ens1f0", "br0", "br0.7", "br-ex", "wg0"]);
});
