// boot: limit=600
// Shows that the function by which the host's default route leaves is seen and never offered, whatever lies between.
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { discover, verdictOn } from "./facts.ts";
import { ovsDatapath } from "./openvswitch.ts";
import { createVfs, json, loadModules, netdevOf, pf0, pf1, reset, sh, vfsOf, waitFor, writeSys } from "./support.ts";

interface Way {
  /** what is loaded for it */
  readonly modules?: readonly string[];
  /** makes the interface by which the route leaves, above or beside $dev, with a default route */
  readonly setup: string;
  /** the name of the interface by which the route leaves; $dev is the function's own */
  readonly leavesBy: string;
}

const v4 = (exit: string) =>
  `ip address add 192.0.2.1/24 dev ${exit}; ip link set ${exit} up; ip route add default via 192.0.2.254 dev ${exit}`;
const v6 = (exit: string) =>
  `ip address add 2001:db8::1/64 dev ${exit} nodad; ip link set ${exit} up; ip route add default via 2001:db8::fe dev ${exit}`;
const beside = "ip link add beside type dummy; ip link set beside up; ip address add 198.51.100.1/24 dev beside";
const beside6 =
  "ip link add beside type dummy; ip link set beside up; ip address add 2001:db8:1::1/64 dev beside nodad";
const address = "ip address add 192.0.2.1/24 dev $dev";
const address6 = "ip address add 2001:db8::1/64 dev $dev nodad";
const enslave = (master: string) => `ip link set $dev down; ip link set $dev master ${master}; ip link set $dev up`;
const withoutExpansion = "echo 0 >/proc/sys/net/ipv4/nexthop_compat_mode";

const ways: Readonly<Record<string, Way>> = {
  "an IPv4 gateway": { setup: v4("$dev"), leavesBy: "$dev" },
  "an IPv6 gateway": { setup: v6("$dev"), leavesBy: "$dev" },
  "the interface alone": { setup: `${address}; ip route add default dev $dev`, leavesBy: "$dev" },
  "one of two IPv4 next hops": {
    modules: ["dummy"],
    setup: `${beside}; ${address}; ip route add default nexthop via 198.51.100.254 dev beside nexthop via 192.0.2.254 dev $dev`,
    leavesBy: "$dev",
  },
  "one of two IPv6 next hops": {
    modules: ["dummy"],
    setup: `${beside6}; ${address6}; ip -6 route add default nexthop via 2001:db8:1::fe dev beside nexthop via 2001:db8::fe dev $dev`,
    leavesBy: "$dev",
  },
  "the second of two routes": {
    modules: ["dummy"],
    setup: `${beside}; ${address}; ip route add default via 198.51.100.254 metric 10; ip route add default via 192.0.2.254 metric 20`,
    leavesBy: "$dev",
  },
  "a nexthop object": {
    setup: `${address}; ip nexthop add id 1 via 192.0.2.254 dev $dev; ip route add default nhid 1`,
    leavesBy: "$dev",
  },
  "a nexthop object that routes don't spell out": {
    setup: `${withoutExpansion}; ${address}; ip nexthop add id 1 via 192.0.2.254 dev $dev; ip route add default nhid 1`,
    leavesBy: "$dev",
  },
  "a group of nexthop objects that IPv6 routes don't spell out": {
    modules: ["dummy"],
    setup: `${withoutExpansion}; ${beside6}; ${address6}; ip nexthop add id 1 via 2001:db8:1::fe dev beside; ip nexthop add id 2 via 2001:db8::fe dev $dev; ip nexthop add id 3 group 1/2; ip -6 route add default nhid 3`,
    leavesBy: "$dev",
  },
  "a VLAN": {
    modules: ["8021q"],
    setup: `ip link add link $dev name upper type vlan id 7; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a bond": {
    modules: ["bonding"],
    setup: `ip link add upper type bond mode active-backup; ${enslave("upper")}; ${v6("upper")}`,
    leavesBy: "upper",
  },
  "a VLAN on a bond": {
    modules: ["bonding", "8021q"],
    setup: `ip link add middle type bond mode active-backup; ${enslave("middle")}; ip link set middle up; ip link add link middle name upper type vlan id 7; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a team": {
    modules: ["team"],
    setup: `ip link add upper type team; ${enslave("upper")}; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a bridge": {
    modules: ["bridge"],
    setup: `ip link add upper type bridge; ${enslave("upper")}; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a macvlan": {
    modules: ["macvlan"],
    setup: `ip link add link $dev name upper type macvlan mode bridge; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "an ipvlan": {
    modules: ["ipvlan"],
    setup: `ip link add link $dev name upper type ipvlan; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a VXLAN": {
    modules: ["vxlan"],
    setup: `ip link add upper type vxlan id 5 dev $dev dstport 4789; ${v4("upper")}`,
    leavesBy: "upper",
  },
  "a VRF": {
    modules: ["vrf"],
    setup: `ip link add upper type vrf table 100; ${enslave("upper")}; ip link set upper up; ip route add default dev upper`,
    leavesBy: "upper",
  },
};

let vf = "";
const functions = { "a PF": () => pf1, "a VF": () => vf };

/** What a route by a function excludes: that, and the PF of a VF. */
const excludedBy = (bdf: string, name: string) => (bdf === vf ? { [bdf]: name, [pf0]: name } : { [bdf]: name });
let undo: (() => void)[] = [];

async function putBack(): Promise<void> {
  for (const step of undo) step();
  undo = [];
  // A default route by the interface itself stays when its address goes.
  // Routes by nexthop objects go with these, and can't be flushed.
  await sh(`for id in 3 2 1; do ip nexthop delete id $id 2>/dev/null || true; done
    ip route flush default; ip -6 route flush default
    for name in upper middle beside; do ip link delete $name 2>/dev/null || true; done
    for name in ${await netdevOf(pf1)} ${await netdevOf(vf)}; do
      ip address flush dev $name scope global; ip link set $name up
    done`);
  writeSys("/proc/sys/net/ipv4/nexthop_compat_mode", 1);
}

async function carriers(): Promise<Record<string, string>> {
  const found = await discover();
  return Object.fromEntries(
    [...found.values()].flatMap(({ id, host }) => (host.defaultRoute === null ? [] : [[id, host.defaultRoute]])),
  );
}

beforeAll(async () => {
  await reset();
  [vf = ""] = await createVfs(pf0, 2);
  await putBack();
  expect(await carriers()).toEqual({});
});

afterEach(putBack);

describe.each(Object.entries(functions))("a default route over %s", (_, functionOf) => {
  test.each(Object.entries(ways))("by %s", async (_, { modules = [], setup, leavesBy }) => {
    if (modules.length > 0) await loadModules(...modules);
    const bdf = functionOf();
    const dev = await netdevOf(bdf);
    await sh(`dev=${dev}; ${setup}`);
    const name = leavesBy === "$dev" ? dev : leavesBy;
    expect(await carriers()).toEqual(excludedBy(bdf, name));
    expect(await verdictOn(bdf)).toMatchObject({
      outcome: "excluded",
      reasons: [`the host's default route leaves through it (${name})`],
    });
  });

  test("by an Open vSwitch bridge", async () => {
    const bdf = functionOf();
    undo.push(await ovsDatapath("br-ex", [await netdevOf(bdf)]));
    await sh(v4("br-ex"));
    expect(await carriers()).toEqual(excludedBy(bdf, "br-ex"));
    expect(await verdictOn(bdf)).toMatchObject({ outcome: "excluded" });
  });

  test("that is taken away lets it be offered", async () => {
    const bdf = functionOf();
    await sh(`dev=${await netdevOf(bdf)}; ${v4("$dev")}`);
    expect(await verdictOn(bdf)).toMatchObject({ outcome: "excluded" });
    await sh("ip route delete default");
    expect(await verdictOn(bdf)).toMatchObject({ outcome: "selected" });
  });

  test("in a table of its own does not exclude it, nor does a route to somewhere", async () => {
    const bdf = functionOf();
    await sh(`dev=${await netdevOf(bdf)}; ${address}
      ip route add default via 192.0.2.254 table 100; ip route add 203.0.113.0/24 via 192.0.2.254`);
    expect(await json<object[]>("ip -j route show table 100", [])).toHaveLength(1);
    expect(await carriers()).toEqual({});
    await sh("ip route flush table 100");
  });
});

test("a default route over both ports of a bond excludes both", async () => {
  await loadModules("bonding");
  const both = [pf1, vfsOf(pf0)[1] ?? ""];
  const [one, other] = await Promise.all(both.map((bdf) => netdevOf(bdf)));
  await sh(`ip link add upper type bond mode active-backup fail_over_mac active
    for dev in ${one} ${other}; do ${enslave("upper")}; done; ${v4("upper")}`);
  await waitFor(
    "both in the bond",
    async () => (await json<object[]>("ip -j link show master upper", [])).length === 2,
  );
  expect(await carriers()).toEqual({ [both[0] ?? ""]: "upper", [both[1] ?? ""]: "upper", [pf0]: "upper" });
});
