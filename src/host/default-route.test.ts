import { expect, test } from "bun:test";
import { ethernetLink } from "../../test/support/ethernet-link.ts";
import type { Link } from "../../native/netlink/route.ts";
import { defaultRouteCarriers } from "./default-route.ts";

/** A link from its index, name and what ties it to others. */
const link = (
  index: number,
  name: string,
  ties: Partial<Pick<Link, "master" | "lower" | "kind" | "slaveKind">> = {},
): Link => ethernetLink(index, name, ties);
const carried = (links: Link[], exits: number[]) =>
  Object.fromEntries(
    [...defaultRouteCarriers(links, exits)].map(([index, by]) => [links.find((l) => l.index === index)?.name, by]),
  );

const eth0 = link(2, "eth0");
const eth1 = link(3, "eth1");

test("an interface that a default route leaves by is needed, others are not", () => {
  expect(carried([eth0, eth1], [2])).toEqual({ eth0: "eth0" });
  expect(carried([eth0, eth1], [])).toEqual({});
});

test.each(["bond", "team", "bridge", "vrf"])("all ports of a %s are needed", (kind) => {
  const links = [
    link(2, "eth0", { master: 9, slaveKind: kind }),
    link(3, "eth1", { master: 9, slaveKind: kind }),
    link(4, "eth2"),
    link(9, "upper0", { kind }),
  ];
  expect(carried(links, [9])).toEqual({ upper0: "upper0", eth0: "upper0", eth1: "upper0" });
});

test.each(["vlan", "macvlan", "ipvlan", "vxlan"])("the interface below a %s is needed", (kind) => {
  expect(carried([eth0, eth1, link(9, "eth0.5", { kind, lower: 2 })], [9])).toEqual({
    "eth0.5": "eth0.5",
    eth0: "eth0.5",
  });
});

test("all below a bridge on a vlan on a bond is needed", () => {
  const links = [
    link(2, "eth0", { master: 7 }),
    link(3, "eth1", { master: 7 }),
    link(7, "bond0", { kind: "bond" }),
    link(8, "bond0.5", { kind: "vlan", lower: 7, master: 9 }),
    link(9, "br0", { kind: "bridge" }),
  ];
  expect(Object.keys(carried(links, [9])).sort()).toEqual(["bond0", "bond0.5", "br0", "eth0", "eth1"]);
  expect(Object.keys(carried(links, [8])).sort()).toEqual(["bond0", "bond0.5", "eth0", "eth1"]);
});

test("what is stacked on an interface is not needed because the interface is", () => {
  expect(carried([eth0, link(9, "eth0.5", { kind: "vlan", lower: 2 })], [2])).toEqual({ eth0: "eth0" });
});

test("behind an internal port of OVS, as br-ex, every port of the datapath is needed", () => {
  const links = [
    link(2, "eth0", { master: 10, slaveKind: "openvswitch" }),
    eth1,
    link(10, "ovs-system", { kind: "openvswitch" }),
    link(11, "br-ex", { kind: "openvswitch" }),
  ];
  expect(carried(links, [11])).toEqual({ "br-ex": "br-ex", eth0: "br-ex" });
});

test("behind OVS on a bond the bond's ports are needed too", () => {
  const links = [
    link(2, "eth0", { master: 7 }),
    link(7, "bond0", { kind: "bond", master: 10 }),
    link(10, "ovs-system", { kind: "openvswitch" }),
    link(11, "br-ex", { kind: "openvswitch" }),
  ];
  expect(Object.keys(carried(links, [11])).sort()).toEqual(["bond0", "br-ex", "eth0"]);
});

test("every exit counts, of a multipath route and of both families", () => {
  const shared = link(4, "bond0", { kind: "bond" });
  const links = [eth0, link(3, "eth1", { master: 4 }), shared, link(5, "bond0.7", { kind: "vlan", lower: 4 })];
  expect(carried(links, [2, 4, 5])).toEqual({ eth0: "eth0", bond0: "bond0", eth1: "bond0", "bond0.7": "bond0.7" });
});

test("links in a circle, links of other network namespaces and unknown exits do no harm", () => {
  const links = [
    link(2, "a", { lower: 3, master: 3 }),
    link(3, "b", { lower: 2 }),
    link(4, "self", { lower: 4, master: 4 }),
    link(5, "far", { lower: 99, master: 98 }),
  ];
  expect(carried(links, [2, 4, 5, 77])).toMatchObject({ a: "a", b: "a", self: "self", far: "far" });
});
