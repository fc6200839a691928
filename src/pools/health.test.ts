import { expect, test } from "bun:test";
import {
  aCharDevice,
  aClaim,
  aDevice,
  aLink,
  aParent,
  aPf,
  aPort,
  aSpec,
  aSubFunction,
  pciAddress,
} from "../../test/support/device.ts";
import type { Device, LinkState, Port } from "../host/device.ts";
import { infinibandOwners, nextLinkScan, notableLinkRule, unhealthyReason } from "./health.ts";

const below = (link: LinkState | null, vfLinkState: Device["vfLinkState"] = "auto") =>
  aDevice({ vfLinkState, pf: aParent({ link }) });
/** A VF below a PF that is administratively down. */
const adminDown = (driver: string | null, more: Partial<Port> = {}) => {
  const link = aLink({ adminUp: false, operstate: "down", carrier: null });
  return aDevice({ pf: aParent({ link, ports: [aPort({ driver, link, ...more })] }) });
};
const lost = aLink({ operstate: "down", carrier: false });
const never = { ...lost, carrierUps: 0 };
const infiniband = (infinibandState: Port["infinibandState"], more: Partial<Port> = {}): Port =>
  aPort({ name: "mlx5_0/1", driver: "mlx5_core", link: null, isInfiniband: true, infinibandState, ...more });
const belowPorts = (ports: readonly Port[], more: Partial<Device> = {}) =>
  aDevice({ pf: aParent({ ports, link: ports[0]?.link ?? aLink() }), ...more });
const up = (name: string, more: Partial<Port> = {}) => aPort({ link: aLink({ interfaceName: name }), ...more });
const down = (name: string, more: Partial<Port> = {}) =>
  aPort({ link: aLink({ interfaceName: name, operstate: "down", carrier: false }), ...more });
const waitedFor = belowPorts([aPort({ link: never, graceEnds: 30_000 })]);
const bonded = (bond: string | null, ports: readonly Port[]) =>
  aDevice({ pf: aParent({ link: ports[0]?.link ?? null, isSwitchdev: true, sharedPorts: { bond, ports } }) });

const vfio = (present: boolean) => ({
  group: "12",
  noIommu: false,
  node: aCharDevice("/dev/vfio/12", present),
  cdev: null,
});
const vdpa = (present: boolean) =>
  ({ name: "vdpa0", type: "vhost", node: present ? aCharDevice("/dev/vhost-vdpa-0") : null }) as const;
const why = (device: Device, linkHealth = true) => unhealthyReason(aClaim(device), { linkHealth });

test.each<[string, Device]>([
  ["a VF whose PF is up", below(aLink())],
  ["a VF whose PF's state is unknown", below(aLink({ operstate: "unknown" }))],
  ["a VF whose PF is dormant", below(aLink({ operstate: "dormant" }))],
  ["a VF whose PF has no visible interface", below(null)],
  ["a VF without a policy below a PF that is up", below(aLink(), null)],
  ["a VF whose policy is disable, which a CNI sets at ADD", below(aLink(), "disable")],
  [
    "a VF whose policy is enable below a PF that is down",
    below(aLink({ adminUp: false, operstate: "down" }), "enable"),
  ],
  ["a VF whose own interface is down while it is unused", { ...below(aLink()), link: aLink({ adminUp: false }) }],
  ["a VF whose own interface has no carrier", { ...below(aLink()), link: aLink({ carrier: false }) }],
  ["a VF whose own interface is in a pod", { ...below(aLink()), link: null, interfaces: [] }],
  ["a PF with carrier", aPf()],
  ["a PF that is not set up", aPf({ link: aLink({ adminUp: false, carrier: false }) })],
  ["a PF whose carrier is unknown", aPf({ link: aLink({ carrier: null }) })],
  ["a PF whose interface is in a pod", aPf({ link: null })],
  ["a VFIO device with its node", aDevice({ driver: "vfio-pci", vfio: vfio(true) })],
  ["a VFIO device without an IOMMU group", aDevice({ vfio: { ...vfio(true), group: null, node: null } })],
  ["a vDPA device with its node", aDevice({ vdpa: vdpa(true) })],
  ["a virtio vDPA device, which has no node", aDevice({ vdpa: { name: "vdpa0", type: "virtio", node: null } })],
  ["a UIO device with its node", aDevice({ uio: aCharDevice("/dev/uio0") })],
  ["a VF of an i40e PF that is not set up", adminDown("i40e")],
  ["a VF of an ice PF that is not set up", adminDown("ice", { linkDownOnClose: false })],
  ["a VF of a PF that is not set up, with a driver that is not known", adminDown("some_driver")],
  ["a VF of a PF that is not set up, without a driver", adminDown(null)],
  ["a VF of a driver that is called like a property of every object", adminDown("constructor")],
  ["a VF of an mlx5 uplink in switchdev mode that is not set up", adminDown("mlx5_core", { isSwitchdev: true })],
  ["a VF below an InfiniBand port that is ACTIVE", belowPorts([infiniband("ACTIVE")])],
  ["a VF below an InfiniBand port that the subnet manager has not seen", belowPorts([infiniband("INIT")])],
  ["a VF below an InfiniBand port that is ARMED", belowPorts([infiniband("ARMED")])],
  ["a VF below an InfiniBand port whose state can't be read", belowPorts([infiniband(null)])],
  ["a VF of an InfiniBand PF whose ports are not visible", belowPorts([])],
  ["a VF of a hardware bond of which one port is down", bonded("bond0", [down("p0"), up("p1")])],
  ["a VF of a multiport eswitch of which one port is down", bonded(null, [down("p0"), up("p1")])],
  ["a VF of a PF with two ports of which one is down", belowPorts([down("ens1"), up("ens1d1")])],
  [
    "a VF that uses the port that is up",
    belowPorts([down("ens1", { portId: "a" }), up("ens1d1", { portId: "b" })], {
      pfPorts: [{ portId: "b", devPort: 0 }],
    }),
  ],
  [
    "a VF that uses both ports of which one is up",
    belowPorts([down("ens1", { devPort: 0 }), up("ens1d1", { devPort: 1 })], {
      pfPorts: [
        { portId: null, devPort: 0 },
        { portId: null, devPort: 1 },
      ],
    }),
  ],
  ["a VF of a PF that never had a carrier, for a while", waitedFor],
  ["a PF that never had a carrier, for a while", aPf({ ports: [aPort({ link: never, graceEnds: 30_000 })] })],
  ["a PF on InfiniBand that waits for a subnet manager", aPf({ ports: [infiniband("INIT")] })],
])("%s is healthy", (_, device) => {
  expect(why(device)).toBeNull();
});

test.each<[string, Device, string]>([
  ["a VF whose PF is down", below(aLink({ operstate: "down" })), "the link of its PF ens1f0 is down"],
  ["a VF whose PF's lower layer is down", below(aLink({ operstate: "lowerlayerdown" })), "lowerlayerdown"],
  [
    "a VF of an ixgbe PF that is administratively down",
    adminDown("ixgbe"),
    "its PF ens1f0 is administratively down, and ixgbe takes its VFs down with it",
  ],
  [
    "a VF of an mlx5 PF in legacy mode that is administratively down",
    adminDown("mlx5_core"),
    "mlx5_core takes its VFs",
  ],
  [
    "a VF of an i40e PF that takes its link down on close",
    adminDown("i40e", { linkDownOnClose: true }),
    "link-down-on-close takes the link down",
  ],
  ["a VF below an InfiniBand port that is down", belowPorts([infiniband("DOWN")]), "its PF's port mlx5_0/1 is DOWN"],
  ["a PF on InfiniBand whose port is down", aPf({ ports: [infiniband("DOWN")] }), "its port mlx5_0/1 is DOWN"],
  [
    "a VF of a hardware bond of which all ports are down",
    bonded("bond0", [down("p0"), down("p1")]),
    "all ports of the hardware bond bond0 are down: the link of its PF p0 is down; the link of its PF p1 is down",
  ],
  [
    "a VF of a PF with two ports that are down",
    belowPorts([down("ens1"), down("ens1d1")]),
    "all ports of its PF are down",
  ],
  [
    "a VF that uses the port that is down",
    belowPorts([down("ens1", { portId: "a" }), up("ens1d1", { portId: "b" })], {
      pfPorts: [{ portId: "a", devPort: null }],
    }),
    "the link of its PF ens1 is down",
  ],
  ["a VF whose PF lost a carrier that it had", below({ ...lost, carrierUps: 1 }), "the link of its PF ens1f0 is down"],
  ["a VF without a policy below a PF that is down", below(aLink({ operstate: "down" }), null), "is down"],
  [
    "a sub-function whose PF is down",
    aSubFunction({
      pf: aParent({ address: pciAddress("0000:08:00.0"), link: aLink({ interfaceName: "p0", operstate: "down" }) }),
    }),
    "is down",
  ],
  ["a PF that is up without carrier", aPf({ link: aLink({ carrier: false }) }), "ens1f0 has no carrier"],
])("%s is not healthy, unless the link part is off", (_, device, reason) => {
  expect(why(device)).toContain(reason);
  expect(why(device, false)).toBeNull();
});

test.each<[string, Device, string]>([
  ["its driver", aDevice({ driver: null }), "no driver"],
  ["its VFIO group's node", aDevice({ vfio: vfio(false) }), "/dev/vfio/12 is gone"],
  ["its UIO node", aDevice({ uio: aCharDevice("/dev/uio0", false) }), "/dev/uio0 is gone"],
  ["its vhost-vdpa node", aDevice({ vdpa: vdpa(false) }), "the vhost-vdpa device of vdpa0 is gone"],
])("a device without %s is not healthy, whether links count or not", (_, device, reason) => {
  expect(why(device)).toContain(reason);
  expect(why(device, false)).toContain(reason);
});

// Read in Linux 6.12 (admin-down.ts names the places).
test.each([
  ["i40e", false],
  ["ice", false],
  ["mlx4_core", false],
  ["bnxt_en", false],
  ["sfc", false],
  ["ionic", false],
  ["rvu_nicpf", false],
  ["be2net", false],
  ["fm10k", false],
  ["cxgb4", false],
  ["ixgbe", true],
  ["igb", true],
  ["mlx5_core", true],
  ["qede", true],
  ["hns3", true],
  ["nfp", true],
])("%s that is administratively down takes its VFs down: %p", (driver, isDown) => {
  expect(why(adminDown(driver)) !== null).toBe(isDown);
});

test.each<[string, Device, string | null]>([
  ["a PF that is up", below(aLink()), null],
  ["an Unhealthy device, whose reason says it all", below(lost), null],
  ["an i40e PF that is not set up", adminDown("i40e"), "i40e keeps the port's link up, so it does not count"],
  ["an unknown driver", adminDown("some_driver"), "whether some_driver then stops its VFs is unknown"],
  ["mlx5 in switchdev mode", adminDown("mlx5_core", { isSwitchdev: true }), "mlx5_core in switchdev mode"],
  ["a policy of enable", below(lost, "enable"), "set to enable at its PF"],
  ["an InfiniBand port", belowPorts([infiniband("ACTIVE")]), "its PF's port mlx5_0/1 is ACTIVE"],
  [
    "a hardware bond",
    bonded("bond0", [down("p0"), up("p1")]),
    "not all ports of the hardware bond bond0 are down (p0, p1)",
  ],
  ["a first carrier that is waited for", waitedFor, "its PF ens1f0 has not had a carrier yet"],
  [
    "an InfiniBand port that is waited for",
    belowPorts([infiniband("DOWN", { graceEnds: 1 })]),
    "its PF's port mlx5_0/1 has not had a carrier yet",
  ],
])("the rule for %s can be described", (_, device, rule) => {
  if (rule === null) expect(notableLinkRule(device)).toBeNull();
  else expect(notableLinkRule(device)).toContain(rule);
});

test("links are scanned again in time for what sends no event, and only for devices of pools that follow links", () => {
  const pool = (device: Device, linkHealth = true) => ({
    spec: aSpec({ linkHealth }),
    claims: new Map([[device.id, aClaim(device)]]),
    unhealthy: new Map(),
  });
  const waiting = belowPorts([aPort({ link: never, graceEnds: 42_000 })]);
  expect(nextLinkScan([pool(below(aLink()))], 40_000)).toBeNull();
  expect(nextLinkScan([], 40_000)).toBeNull();
  expect(nextLinkScan([pool(waiting)], 40_000)).toBe(2000);
  expect(nextLinkScan([pool(waiting)], 43_000)).toBe(0);
  expect(nextLinkScan([pool(waiting, false)], 40_000)).toBeNull();
  expect(nextLinkScan([pool(belowPorts([infiniband("ACTIVE")])), pool(below(aLink()))], 40_000)).toBe(5000);
  expect(nextLinkScan([pool(belowPorts([infiniband("ACTIVE")])), pool(waiting)], 40_000)).toBe(2000);
  expect(nextLinkScan([pool(aPf({ ports: [infiniband("ACTIVE")] }))], 0)).toBe(5000);
  expect([
    ...infinibandOwners([pool(belowPorts([infiniband("ACTIVE", { owner: "a" })])), pool(below(aLink()))]),
  ]).toEqual(["a"]);
  expect(infinibandOwners([pool(belowPorts([infiniband("ACTIVE")]), false)]).size).toBe(0);
});
