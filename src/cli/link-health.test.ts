// Link health on real nodes: from recorded trees through the readers to the rules.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { setLink } from "../../test/support/live.ts";
import { changeFacts } from "../../test/support/node-changes.ts";
import { buildNode } from "../../test/support/node.ts";
import type { NodePlan, PfPlan } from "../../test/support/node-plan.ts";
import { host, removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { attribute, type Entry, unpack } from "../../test/support/tree.ts";
import { brokenLink } from "../pools/health.ts";
import type { Device } from "../host/device.ts";
import { scanNode } from "../host/scan.ts";
import { readPortState } from "../host/rdma-devices.ts";

const folders: string[] = [];
afterAll(() => folders.forEach(removeTemporaryFolder));

/** A node below a folder of its own. */
function unpacked(plan: NodePlan | readonly Entry[]): string {
  const root = temporaryFolder();
  folders.push(root);
  unpack("length" in plan ? plan : buildNode(plan), root);
  return root;
}
const nothing = { ddpProfiles: false, enableRdma: false, vhostNet: false };
const devicesOf = async (root: string) =>
  new Map((await scanNode(root, nothing, null)).devices.map((device) => [device.id, device]));
const reasonsOf = (devices: ReadonlyMap<string, Device>) =>
  [...devices.values()].filter(({ pf }) => pf !== null).map((device) => brokenLink(device));
const oneNode = (pf: Partial<PfPlan>): NodePlan => ({
  pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 1 }], ...pf }],
});
const vfOf = async (root: string) => [...(await devicesOf(root)).values()].find(({ pf }) => pf !== null);

describe("a node whose PFs are not set up", () => {
  test("has VFs that carry traffic where the driver keeps the link", async () => {
    const reasons = reasonsOf(await devicesOf(unpacked(host("admin-down"))));
    expect(reasons).toEqual([
      null,
      null,
      expect.stringContaining("link-down-on-close"),
      expect.stringContaining("link-down-on-close"),
      expect.stringContaining("ixgbe takes its VFs down"),
      expect.stringContaining("ixgbe takes its VFs down"),
    ]);
  });
});

describe("VFs of InfiniBand ports", () => {
  test("follow their PF's port: neither the policy nor an IPoIB interface that is down counts", async () => {
    const root = unpacked(host("infiniband-vfs"));
    expect(reasonsOf(await devicesOf(root))).toEqual([null, null, null, null]);
    const port = `${root}/sys/devices/pci0000:00/0000:17:00.0/infiniband/mlx5_0/ports/1/state`;
    writeFileSync(port, "1: DOWN\n");
    expect(reasonsOf(await devicesOf(root))).toEqual([
      "its PF's port mlx5_0/1 is DOWN",
      "its PF's port mlx5_0/1 is DOWN",
      null,
      null,
    ]);
    rmSync(port);
    expect(reasonsOf(await devicesOf(root))).toEqual([null, null, null, null]);
  });

  test("are distinguished from RoCE, where the interface decides", async () => {
    const root = unpacked(oneNode({ nic: "connectx6", rdma: true, portState: "1: DOWN" }));
    expect(brokenLink((await vfOf(root))!)).toBeNull();
    setLink(root, "ens1f0", "down");
    expect(brokenLink((await vfOf(root))!)).toContain("the link of its PF ens1f0 is down");
  });

  test.each([
    ["4: ACTIVE\n", "ACTIVE"],
    ["1: DOWN\n", "DOWN"],
    ["2: INIT\n", "INIT"],
    ["3: ARMED\n", "ARMED"],
    ["5: ACTIVE_DEFER\n", "ACTIVE_DEFER"],
    ["0: NOP\n", null],
    ["7: UNKNOWN\n", null],
    ["DOWN\n", null],
    ["1: DOWN by far\n", null],
    ["", null],
  ] as const)("have a port whose state is read from %j as %p", (text, state) => {
    const root = unpacked([attribute("infiniband/mlx5_0/ports/1/state", "x")]);
    writeFileSync(`${root}/infiniband/mlx5_0/ports/1/state`, text);
    const folder = { folder: root, entries: new Set<string>() };
    expect(readPortState(folder, { rdma: "mlx5_0", number: 1 })).toBe(state);
    expect(readPortState(folder, { rdma: "mlx5_0", number: 2 })).toBeNull();
  });
});

describe("VFs in switchdev mode", () => {
  test("have no link-state policy: mlx5 says disable of each", async () => {
    const devices = await devicesOf(unpacked(host("switchdev-vfs")));
    expect([...devices.values()].map(({ vfLinkState }) => vfLinkState)).toEqual([null, null, null]);
    expect(reasonsOf(devices)).toEqual([null, null]);
  });

  test("have none either where the mode may not be read and representors show it", async () => {
    const root = unpacked(host("switchdev-vfs"));
    changeFacts(root, () => ({ devlink: [] }));
    expect([...(await devicesOf(root)).values()].map(({ vfLinkState }) => vfLinkState)).toEqual([null, null, null]);
  });

  test("show it in legacy mode, where it does not count", async () => {
    const vf = await vfOf(unpacked(oneNode({ vfs: [{ count: 1, linkState: "disable" }] })));
    expect(vf?.vfLinkState).toBe("disable");
    expect(brokenLink(vf!)).toBeNull();
  });
});

describe("a bond in hardware", () => {
  test("is down only when all its ports are", async () => {
    const root = unpacked(host("vf-lag"));
    expect(reasonsOf(await devicesOf(root))).toEqual([null, null, null, null]);
    setLink(root, "ens2f1np1", "down");
    expect(reasonsOf(await devicesOf(root))[0]).toContain("all ports of the hardware bond bond0 are down");
    expect(reasonsOf(await devicesOf(root)).every((reason) => reason !== null)).toBe(true);
  });

  test("has all its ports on one switch: any other bond is the host's alone", async () => {
    const root = unpacked(host("vf-lag"));
    changeFacts(root, ({ links }) => ({
      links: links.map((link) => (link.name === "ens2f1np1" ? { ...link, switchId: "00000000000000ff" } : link)),
    }));
    const lost = "the link of its PF ens2f0np0 is down";
    expect(reasonsOf(await devicesOf(root))).toEqual([lost, lost, null, null]);
  });

  test("has no port beside its uplinks: mlx5 takes both ports of a NIC, and nothing else", async () => {
    const root = unpacked(host("vf-lag"));
    changeFacts(root, ({ links }) => {
      const bond = links.find(({ name }) => name === "bond0")!;
      return {
        links: [...links, { ...bond, index: 99, name: "eno1", kind: null, master: bond.index, slaveKind: "bond" }],
      };
    });
    const lost = "the link of its PF ens2f0np0 is down";
    expect(reasonsOf(await devicesOf(root))).toEqual([lost, lost, null, null]);
  });

  test.each([null, "aabbcc"])(
    "does not exist in legacy mode, with any switch id of its ports: %p",
    async (switchId) => {
      const plan: NodePlan = {
        pfs: [
          { nic: "e810", name: "ens1f0", link: "down", vfs: [{ count: 1 }] },
          { nic: "e810", name: "ens1f1", vfs: [{ count: 1 }] },
        ],
        uppers: [{ name: "bond0", kind: "bond", over: ["ens1f0", "ens1f1"] }],
      };
      const root = unpacked(plan);
      // ice and mlx5 give both to the ports of a NIC in either mode.
      const ports = ["ens1f0", "ens1f1"];
      changeFacts(root, ({ links }) => ({
        links: links.map((link) =>
          switchId !== null && ports.includes(link.name)
            ? { ...link, switchId, portName: `p${ports.indexOf(link.name)}` }
            : link,
        ),
      }));
      expect(reasonsOf(await devicesOf(root))).toEqual(["the link of its PF ens1f0 is down", null]);
    },
  );

  test.each([true, false])("is an eswitch in multiport mode too: %p", async (eswMultiport) => {
    const pf = { nic: "connectx6", eswitch: "switchdev", switchId: "01", eswMultiport, vfs: [{ count: 1 }] } as const;
    const root = unpacked({
      pfs: [
        { ...pf, name: "p0", link: "down" },
        { ...pf, name: "p1" },
      ],
    });
    expect(reasonsOf(await devicesOf(root))[0] === null).toBe(eswMultiport);
    setLink(root, "p1", "down");
    expect(reasonsOf(await devicesOf(root)).every((reason) => reason !== null)).toBe(true);
  });
});

describe("a PF with several interfaces", () => {
  test("has VFs of which each follows its own port", async () => {
    const devices = await devicesOf(unpacked(host("two-ports")));
    const lost = "the link of its PF ens3 is down";
    expect(reasonsOf(devices)).toEqual([lost, lost, null, null]);
    expect([...devices.values()].find(({ pf }) => pf !== null)?.pf).toMatchObject({
      interfaceName: "ens3",
      laterNames: ["ens3d1"],
    });
  });

  test("is down for a VF whose port is not known only when all ports are", async () => {
    const plan = oneNode({ nic: "connectx3", name: "ens3", link: "down", morePorts: [{ name: "ens3d1" }] });
    const root = unpacked(plan);
    expect(brokenLink((await vfOf(root))!)).toBeNull();
    setLink(root, "ens3d1", "down");
    expect(brokenLink((await vfOf(root))!)).toContain("all ports of its PF are down");
  });

  test("distinguishes ports by dev_port only with drivers that number ports by it", async () => {
    const root = unpacked(host("two-ports"));
    changeFacts(root, ({ links }) => ({ links: links.map((link) => ({ ...link, portId: null })) }));
    const vfs = async () => [...(await devicesOf(root)).values()].filter(({ pf }) => pf !== null);
    expect((await vfs()).map(({ pfPorts }) => pfPorts)).toEqual(
      [0, 0, 1, 1].map((devPort) => [{ portId: null, devPort }]),
    );
    for (const { id } of await vfs()) {
      rmSync(`${root}/sys/bus/pci/devices/${id}/driver`);
    }
    expect((await vfs()).map(({ pfPorts }) => pfPorts)).toEqual([[], [], [], []]);
  });

  test("is read from sysfs where an older recording of netlink has no ports", async () => {
    const root = unpacked(host("two-ports"));
    const isOld = ([name]: [string, unknown]) => name !== "portId" && name !== "carrierUps";
    changeFacts(root, ({ links }) => ({
      links: links.map((link) => Object.fromEntries(Object.entries(link).filter(isOld)) as unknown as typeof link),
    }));
    for (const name of ["ens3", "ens3v0"]) writeFileSync(`${root}/sys/class/net/${name}/phys_port_id`, "e41d00\n");
    writeFileSync(`${root}/sys/class/net/ens3/carrier_up_count`, "0\n");
    const vf = await vfOf(root);
    expect(vf?.pfPorts).toEqual([{ portId: "e41d00", devPort: 0 }]);
    expect(vf?.pf?.link?.carrierUps).toBe(0);
  });

  test("may have one that is not a port: it names the PF and does not affect its health", async () => {
    const root = unpacked(oneNode({ name: "mgmtpf0,0", link: "disabled", driver: "cxgb4" }));
    setLink(root, "mgmtpf0,0", { arphrd: 0xfffe, flags: 1, operstate: "down", carrier: false });
    const vf = await vfOf(root);
    expect(vf?.pf).toMatchObject({ interfaceName: "mgmtpf0,0", ports: [] });
    expect(brokenLink(vf!)).toBeNull();
  });

  test("has no port in an IPoIB child, which is stacked on another interface of it", async () => {
    const root = unpacked(host("infiniband-vfs"));
    changeFacts(root, ({ links }) => {
      const ib = links.find(({ name }) => name === "ibs1f0")!;
      return { links: [...links, { ...ib, index: 77, name: "ibs1f0.8001", lower: ib.index, operstate: "down" }] };
    });
    expect((await vfOf(root))?.pf).toMatchObject({ interfaceName: "ibs1f0", laterNames: [] });
  });
});

test("functions without IPoIB have the link type of their RDMA device, and a P_Key", async () => {
  const root = unpacked(host("infiniband-vfs"));
  changeFacts(root, () => ({ links: [] }));
  rmSync(`${root}/sys/class/net`, { recursive: true });
  const devices = [...(await devicesOf(root)).values()];
  expect(devices.map(({ interfaces, linkType }) => [interfaces, linkType])).toEqual(
    devices.map(() => [[], "infiniband"]),
  );
  expect(devices.map(({ pKey }) => pKey)).toContain("0x8001");
});

describe("two PFs with one interface, as mlx5 makes it for an adapter in socket direct mode", () => {
  const pf = (address: string, name: string | null, guid: string) => ({ address, name, guid });
  const nodeOf = (pfs: readonly ReturnType<typeof pf>[]): string => {
    const root = unpacked({
      pfs: pfs.map(({ address, name }) => ({ nic: "connectx6", address, name, rdma: true, vfs: [{ count: 1 }] })),
    });
    for (const [index, { address, guid }] of pfs.entries()) {
      writeFileSync(`${root}/sys/bus/pci/devices/${address}/infiniband/mlx5_${index}/sys_image_guid`, `${guid}\n`);
    }
    return root;
  };
  const namesOf = async (root: string) =>
    [...(await devicesOf(root)).values()].flatMap((device) => (device.pf ? [device.pf.interfaceName] : []));

  test("are both known by it", async () => {
    const root = nodeOf([
      pf("0000:08:00.0", "eth2", "a088:c203:0000:0001"),
      pf("0000:09:00.0", null, "a088:c203:0000:0001"),
    ]);
    expect(await namesOf(root)).toEqual(["eth2", "eth2"]);
    setLink(root, "eth2", "down");
    expect(reasonsOf(await devicesOf(root)).every((reason) => reason !== null)).toBe(true);
  });

  test("are of one NIC and one port of it", async () => {
    const other = nodeOf([
      pf("0000:08:00.0", "eth2", "a088:c203:0000:0001"),
      pf("0000:09:00.0", null, "a088:c203:0000:0002"),
    ]);
    expect(await namesOf(other)).toEqual(["eth2", null]);
    const port = nodeOf([
      pf("0000:08:00.0", "eth2", "a088:c203:0000:0001"),
      pf("0000:09:00.1", null, "a088:c203:0000:0001"),
    ]);
    expect(await namesOf(port)).toEqual(["eth2", null]);
  });
});

test.each([
  ["two-ports", "0000:0b:00.0/net/ens3/name_assign_type"],
  ["two-ports", "0000:0b:00.0/net/ens3/dev_port"],
  ["two-ports", "0000:0b:01.0/net/ens3v0/dev_port"],
  ["infiniband-vfs", "0000:17:00.0/infiniband/mlx5_0/ports/1/state"],
  ["infiniband-vfs", "0000:17:00.0/infiniband/mlx5_0/ports/1/link_layer"],
])("what can't be read of a port is unknown, and takes no device with it: %s, %s", async (fixture, path) => {
  const root = unpacked(host(fixture));
  const before = [...(await devicesOf(root)).keys()];
  const file = `${root}/sys/devices/pci0000:00/${path}`;
  rmSync(file);
  mkdirSync(file);
  const { devices, problems } = await scanNode(root, nothing, null);
  expect(devices.map(({ id }) => id)).toEqual(before);
  expect(problems).toEqual([]);
});
