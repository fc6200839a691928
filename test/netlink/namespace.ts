// How does a test get links and routes of its own? In a fresh network namespace, set up by a shell script, where a
// TypeScript module is then run by this bun. Needs root (CAP_SYS_ADMIN), `unshare` of util-linux and `ip` of iproute2.

import { spawnSync } from "node:child_process";
import { constants, accessSync } from "node:fs";

/** Why namespaces can't be made here, or null when they can. */
export const namespacesUnavailable: string | null =
  spawnSync("unshare", ["-n", "ip", "link", "set", "lo", "up"]).status === 0 ? null : "needs root, unshare and ip";

/** Why synthetic uevents can't be sent here, or null when they can. */
export const ueventsUnavailable: string | null = canWrite("/sys/class/mem/null/uevent")
  ? namespacesUnavailable
  : "needs a writable sysfs";

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs `setup` (sh) and then `program` (TypeScript) in a new network namespace; what the program printed, parsed as JSON. */
export function inNamespace(setup: string, program: string): unknown {
  const { stdout, stderr, status } = spawnSync(
    "unshare",
    ["-n", "sh", "-ec", `${setup}\nexec "$0" -e "$1"`, process.execPath, program],
    { cwd: `${import.meta.dir}/../..`, encoding: "utf8", timeout: 55_000 },
  );
  if (status !== 0) throw new Error(`exit ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Two veth pairs, up, with IPv4 and IPv6 addresses. */
export const twoPairs = `
  ip link set lo up
  for n in left right; do
    ip link add $n type veth peer name $n-peer
    ip link set $n up
    ip link set $n-peer up
  done
  ip addr add 192.0.2.1/24 dev left
  ip addr add 198.51.100.1/24 dev right
  ip addr add 2001:db8:1::1/64 dev left nodad
  ip addr add 2001:db8:2::1/64 dev right nodad
`;

/** A bridge with a port, a macvlan, a vxlan, and a veth whose peer is in another namespace. */
export const stackedLinks = `
  ${twoPairs}
  ip link add br0 type bridge
  ip link set br0 up
  ip link set left master br0
  ip link add mv0 link right type macvlan mode bridge
  ip link add vx0 type vxlan id 5 dev right dstport 4789
  ip link add away type veth peer name away-peer
  unshare -n sleep 10 > /dev/null 2>&1 & elsewhere=$!
  until ip link set away-peer netns $elsewhere 2> /dev/null && ! ip link show away-peer > /dev/null 2>&1; do sleep 0.02; done
`;

/** Default routes over both pairs by next hops, IPv4 and IPv6, beside other routes. */
export const multipathDefaults = `
  ${twoPairs}
  ip route add default nexthop via 192.0.2.2 dev left nexthop via 198.51.100.2 dev right
  ip -6 route add default nexthop via 2001:db8:1::2 dev left nexthop via 2001:db8:2::2 dev right
  ip route add 203.0.113.0/24 via 192.0.2.2
  ip route add default via 192.0.2.2 table 100
  ip route add blackhole default metric 4000
`;

/** Default routes that name nexthop objects only: IPv4 a group, IPv6 a single one. */
export const nexthopDefaults = `
  ${twoPairs}
  echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode
  ip nexthop add id 1 via 192.0.2.2 dev left
  ip nexthop add id 2 via 198.51.100.2 dev right
  ip nexthop add id 3 group 1/2
  ip nexthop add id 4 via 2001:db8:2::2 dev right
  ip nexthop add id 5 blackhole
  ip route add default nhid 3
  ip -6 route add default nhid 4
`;
