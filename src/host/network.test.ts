import { describe, expect, test } from "bun:test";
import { ethernetLink } from "../../test/support/ethernet-link.ts";
import type { Link } from "../../native/netlink/route.ts";
import { LinksByDevice, linkStateOf, linkTypeOf, pfLinkOf } from "./network.ts";

const link = (name: string, overrides: Partial<Link> = {}): Link =>
  ethernetLink(2, name, { parentBus: "pci", parentDevice: "0000:08:00.0", carrierUps: 1, ...overrides });
const port = (name: string, portName: string | null) => link(name, { switchId: "7cfe90", portName });

describe("the interface that represents a PF", () => {
  const representors = [port("aaa_0", "pf0vf0"), port("aaa_1", "pf0vf1"), port("p0", "p0")];
  const unnamed = [port("aaa_0", "pf0vf0"), port("eth4", null)];

  test.each<[string, Link[], "legacy" | "switchdev" | null, string | null]>([
    ["the first one in legacy mode", [link("ens1f0"), link("ens1f0d1")], "legacy", "ens1f0"],
    ["the first one in legacy mode, also where it names its port", [port("ens1f0", "p0")], "legacy", "ens1f0"],
    ["the uplink in switchdev mode, never a representor of a VF", representors, "switchdev", "p0"],
    ["one that names no port in switchdev mode", unnamed, "switchdev", "eth4"],
    ["none in switchdev mode where only VFs' representors are", [port("aaa_0", "pf0vf0")], "switchdev", null],
    ["none in switchdev mode where no port is on a switch", [link("ens1f0")], "switchdev", null],
    ["the uplink where the mode may not be read", representors, null, "p0"],
    ["the first one where the mode may not be read and nothing is on a switch", [link("a"), link("b")], null, "a"],
    ["none without interfaces", [], "legacy", null],
    ["none without interfaces and mode", [], null, null],
  ])("is %s", (_, links, mode, name) => {
    expect(pfLinkOf(links, mode)?.name ?? null).toBe(name);
  });

  test.each(["p", "p0s1", "xp0", "P0", "pf0", "p0vf1"])("is not one whose port is called %p", (portName) => {
    expect(pfLinkOf([port("x", portName)], "switchdev")).toBeNull();
  });
});

describe("interfaces", () => {
  test("are found by their device, sorted by name", () => {
    const links = new LinksByDevice([
      link("b"),
      link("a"),
      link("x", { parentDevice: "0000:08:00.1" }),
      link("sf", { parentBus: "auxiliary", parentDevice: "mlx5_core.sf.4" }),
      link("lo", { parentBus: null, parentDevice: null }),
    ]);
    const namesOf = (bus: string, device: string) => links.of(bus, device, new Set()).map(({ name }) => name);
    expect(namesOf("pci", "0000:08:00.0")).toEqual(["a", "b"]);
    expect(namesOf("auxiliary", "mlx5_core.sf.4")).toEqual(["sf"]);
    expect(namesOf("pci", "0000:08:00.2")).toEqual([]);
    expect(namesOf("auxiliary", "0000:08:00.0")).toEqual([]);
  });

  test("of virtio-net are found below the function's virtio device", () => {
    const links = new LinksByDevice([link("eth0", { parentBus: "virtio", parentDevice: "virtio3" })]);
    expect(links.of("pci", "0000:00:03.0", new Set(["driver", "virtio3"])).map(({ name }) => name)).toEqual(["eth0"]);
    expect(links.of("pci", "0000:00:03.0", new Set(["virtio4"]))).toEqual([]);
  });

  test.each([
    [1, "ether"],
    [32, "infiniband"],
    [772, "loopback"],
    [65534, "none"],
    [4711, null],
  ])("of ARPHRD type %d are of link type %p", (arphrd, type) => {
    expect(linkTypeOf(link("x", { arphrd }))).toBe(type);
  });

  test("are administratively up by their first flag alone", () => {
    expect(linkStateOf(link("x"))).toMatchObject({
      interfaceName: "x",
      index: 2,
      adminUp: true,
      operstate: "up",
      carrier: true,
      carrierUps: 1,
    });
    expect(linkStateOf(link("x", { flags: 0x1002, carrier: null, operstate: "down" }))).toMatchObject({
      interfaceName: "x",
      adminUp: false,
      operstate: "down",
      carrier: null,
    });
  });
});
