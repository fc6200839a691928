import { describe, expect, test } from "bun:test";
import {
  inNamespace,
  multipathDefaults,
  namespacesUnavailable,
  nexthopDefaults,
  stackedLinks,
  twoPairs,
} from "../../test/netlink/namespace.ts";
import { byName, replayed } from "../../test/netlink/replay.ts";
import { type ByteOrder, concat, u32Bytes, writer } from "../bytes.ts";
import { type Attribute, NetlinkFormatError, encodeAttributes } from "./message.ts";
import {
  type Link,
  decodeDefaultRoute,
  decodeNexthop,
  exitsOf,
  readDefaultRouteExits,
  resolveNexthops,
} from "./route.ts";

describe("default routes", () => {
  interface RouteShape {
    readonly protocol?: number;
    readonly family?: number;
    readonly length?: number;
    readonly table?: number;
    readonly type?: number;
  }
  const route = (shape: RouteShape, attributes: readonly Attribute[] = [], order?: ByteOrder): Uint8Array =>
    concat([
      writer(12)
        .u8(0, shape.family ?? 2)
        .u8(1, shape.length ?? 0)
        .u8(4, shape.table ?? 254)
        .u8(5, shape.protocol ?? 3)
        .u8(7, shape.type ?? 1).bytes,
      encodeAttributes(attributes, order),
    ]);
  const exitBy = (index: number): Attribute => ({ type: 4, data: u32Bytes(index) });
  const hop = (index: number, more: Uint8Array = new Uint8Array(0)): Uint8Array =>
    concat([
      writer(8)
        .u16(0, 8 + more.length)
        .i32(4, index).bytes,
      more,
    ]);

  test("a host's single default route leaves by its interface, as captured", () => {
    expect(readDefaultRouteExits(replayed("host-routes"))).toEqual({ all: [4], configured: [4] });
  });

  test("next hops of IPv4 and IPv6 are all exits, and other routes none, as captured", () => {
    expect(readDefaultRouteExits(replayed("multipath-routes"))).toEqual({ all: [3, 5], configured: [3, 5] });
  });

  test("nexthop objects and groups are resolved, as captured", () => {
    expect(readDefaultRouteExits(replayed("nexthops-routes"))).toEqual({ all: [3, 5], configured: [3, 5] });
  });

  test("only a unicast default route of the main table counts", () => {
    expect(decodeDefaultRoute(route({}, [exitBy(3)]))).toEqual({ exits: [3], nexthop: null, isAdvertised: false });
    expect(decodeDefaultRoute(route({ family: 10 }, [exitBy(3)]))).toEqual({
      exits: [3],
      nexthop: null,
      isAdvertised: false,
    });
    expect(decodeDefaultRoute(route({ length: 24 }, [exitBy(3)]))).toBeNull();
    expect(decodeDefaultRoute(route({ table: 100 }, [exitBy(3)]))).toBeNull();
    expect(decodeDefaultRoute(route({ type: 6 }, [exitBy(3)]))).toBeNull();
    expect(decodeDefaultRoute(route({ family: 28 }, [exitBy(3)]))).toBeNull();
    expect(decodeDefaultRoute(route({}, [exitBy(3), { type: 1, data: u32Bytes(1) }]))).toBeNull();
  });

  test("a route that a router advertisement made says so", () => {
    const advertised = decodeDefaultRoute(route({ family: 10, protocol: 9 }, [exitBy(3)]));
    expect(advertised).toEqual({ exits: [3], nexthop: null, isAdvertised: true });
  });

  test("an exit is configured when any route by it is, also one that names a nexthop object", () => {
    const route = (exits: number[], nexthop: number | null, isAdvertised: boolean) => ({
      exits,
      nexthop,
      isAdvertised,
    });
    const routes = [route([3, 4], null, true), route([3], null, false), route([], 7, false), route([], 8, true)];
    const nexthops = [
      { id: 7, exit: 5, group: [] },
      { id: 8, exit: 6, group: [] },
    ];
    expect(exitsOf(routes, nexthops)).toEqual({ all: [3, 4, 5, 6], configured: [3, 5] });
  });

  test("a table number beyond the header's byte is read from its attribute", () => {
    const numbered = (table: number): Attribute => ({ type: 15, data: u32Bytes(table) });
    expect(decodeDefaultRoute(route({ table: 252 }, [numbered(1000), exitBy(3)]))).toBeNull();
    expect(decodeDefaultRoute(route({ table: 252 }, [numbered(254), exitBy(3)]))).toEqual({
      exits: [3],
      nexthop: null,
      isAdvertised: false,
    });
  });

  test("next hops are stepped through by their lengths", () => {
    const gateway = encodeAttributes([{ type: 5, data: u32Bytes(1) }]);
    const hops = concat([hop(3, gateway), hop(4), hop(5, gateway)]);
    expect(decodeDefaultRoute(route({}, [{ type: 9, data: hops }]))?.exits).toEqual([3, 4, 5]);
  });

  test.each([0, 4, 7, 17, 0xffff])("a next hop of %d bytes among 16 is refused", (length) => {
    const hops = writer(16).u16(0, length).bytes;
    expect(() => decodeDefaultRoute(route({}, [{ type: 9, data: hops }]))).toThrow(NetlinkFormatError);
  });

  test("a route cut short is refused", () => {
    expect(() => decodeDefaultRoute(new Uint8Array(11))).toThrow(NetlinkFormatError);
    expect(() => decodeDefaultRoute(route({}, [exitBy(3)]).subarray(0, -1))).toThrow(NetlinkFormatError);
  });

  test("groups of groups are followed, and a circle or an unknown id ends the search", () => {
    const nexthops = [
      { id: 1, exit: 11, group: [] },
      { id: 2, exit: 12, group: [] },
      { id: 3, exit: null, group: [1, 4] },
      { id: 4, exit: null, group: [2, 3, 99] },
    ];
    expect(resolveNexthops([3], nexthops)).toEqual([11, 12]);
    expect(resolveNexthops([99], nexthops)).toEqual([]);
  });

  test("a nexthop object has its exit or its members", () => {
    const nexthop = (attributes: Attribute[]): Uint8Array => concat([new Uint8Array(8), encodeAttributes(attributes)]);
    const id = { type: 1, data: u32Bytes(3) };
    expect(decodeNexthop(nexthop([id, { type: 5, data: u32Bytes(7) }]))).toEqual({ id: 3, exit: 7, group: [] });
    const members = writer(16).u32(0, 1).u32(8, 2).bytes;
    expect(decodeNexthop(nexthop([id, { type: 2, data: members }]))).toEqual({ id: 3, exit: null, group: [1, 2] });
    expect(() => decodeNexthop(nexthop([id, { type: 2, data: new Uint8Array(9) }]))).toThrow(NetlinkFormatError);
    expect(() => decodeNexthop(nexthop([]))).toThrow(NetlinkFormatError);
  });
});

// On this kernel, in a namespace of the test's own.
const needs = namespacesUnavailable === null ? "" : ` (skipped: ${namespacesUnavailable})`;
const live = test.skipIf(namespacesUnavailable !== null);
const readAll = `
  import { NetlinkSocket } from "./native/netlink/socket.ts";
  import { readDefaultRouteExits, readLinks } from "./native/netlink/route.ts";
  const socket = new NetlinkSocket(0);
  console.log(JSON.stringify({ links: readLinks(socket), exits: readDefaultRouteExits(socket).all }));
`;
const readIn = (setup: string): { links: Record<string, Link>; exits: (string | undefined)[] } => {
  const { links, exits } = inNamespace(setup, readAll) as { links: Link[]; exits: number[] };
  return { links: byName(links), exits: exits.map((index) => links.find((link) => link.index === index)?.name) };
};

live(`a namespace without routes has no exits${needs}`, () => {
  expect(readIn("true")).toEqual({ links: { lo: expect.objectContaining({ index: 1 }) }, exits: [] });
});

live(`several default routes of different metrics all count${needs}`, () => {
  const setup = `${twoPairs}
    ip route add default via 192.0.2.2 dev left metric 100
    ip route add default via 198.51.100.2 dev right metric 200`;
  expect(readIn(setup).exits).toEqual(["left", "right"]);
});

live(`a route of protocol "ra" is an exit, but not a configured one${needs}`, () => {
  const setup = `${twoPairs}
    ip route add default via 192.0.2.2 dev left
    ip -6 route add default via 2001:db8:2::2 dev right proto ra`;
  const program = readAll.replace("readDefaultRouteExits(socket).all", "readDefaultRouteExits(socket)");
  const { links, exits } = inNamespace(setup, program) as { links: Link[]; exits: Record<string, number[]> };
  const names = (indexes: number[] = []) => indexes.map((index) => links.find((link) => link.index === index)?.name);
  expect({ all: names(exits["all"]), configured: names(exits["configured"]) }).toEqual({
    all: ["left", "right"],
    configured: ["left"],
  });
});

live(`an IPv6 default route alone counts${needs}`, () => {
  expect(readIn(`${twoPairs}\nip -6 route add default via 2001:db8:2::2 dev right`).exits).toEqual(["right"]);
});

live(`a link that is down lets no default route leave${needs}`, () => {
  const setup = `${twoPairs}\nip route add default via 192.0.2.2 dev left\nip link set left down`;
  const { links, exits } = readIn(setup);
  expect(exits).toEqual([]);
  expect(links["left"]).toMatchObject({ operstate: "down", flags: expect.any(Number) });
  expect(links["left"]!.flags & 1).toBe(0);
});

live(`multipath default routes leave by each next hop${needs}`, () => {
  expect(readIn(multipathDefaults).exits).toEqual(["left", "right"]);
});

live(`default routes by nexthop objects leave by each member${needs}`, () => {
  expect(readIn(nexthopDefaults).exits).toEqual(["left", "right"]);
});

live(`bridge, macvlan, vxlan and a peer elsewhere are distinguished${needs}`, () => {
  const { links } = readIn(stackedLinks);
  expect(links["left"]!.master).toBe(links["br0"]!.index);
  expect(links["mv0"]!.lower).toBe(links["right"]!.index);
  expect(links["vx0"]!.lower).toBe(links["right"]!.index);
  expect(links["away"]!.lower).toBeNull();
});

live(`a thousand links come in one dump over many datagrams${needs}`, () => {
  const setup = `seq 500 | sed 's/.*/link add x& type veth peer name y&/' | ip -batch -`;
  expect(Object.keys(readIn(setup).links)).toHaveLength(1001);
});
