// Which interfaces does the host's own traffic leave by? From the exits of default routes down to the lowest
// interface: through bond, team, bridge, VRF and OVS masters, vlan, macvlan, ipvlan and vxlan uppers.

import type { Link } from "../../native/netlink/route.ts";

/**
 * Gives every interface that carries a default route, with the name of the interface by which the route leaves.
 *
 * `exits` are interface indexes. An OVS internal port (br-ex) is tied to its bridge's ports neither in netlink nor in
 * sysfs (net/openvswitch/vport-internal_dev.c): then every port of the datapath is protected, which is too much
 * rather than too little.
 */
export function defaultRouteCarriers(links: readonly Link[], exits: readonly number[]): ReadonlyMap<number, string> {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const lowers = new Map<number, number[]>();
  const below = (upper: number, lower: number) => {
    const known = lowers.get(upper);
    if (known) known.push(lower);
    else lowers.set(upper, [lower]);
  };
  const datapaths = links.filter((link) => link.kind === "openvswitch");
  for (const link of links) {
    if (link.master !== null) below(link.master, link.index);
    if (link.lower !== null) below(link.index, link.lower);
    const master = link.master === null ? undefined : byIndex.get(link.master);
    if (master?.kind === "openvswitch") {
      for (const datapath of datapaths) below(datapath.index, link.index);
    }
  }
  const carriers = new Map<number, string>();
  for (const exit of exits) {
    const name = byIndex.get(exit)?.name;
    if (name === undefined) continue;
    const pending = [exit];
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      if (carriers.has(index)) continue;
      carriers.set(index, name);
      pending.push(...(lowers.get(index) ?? []));
    }
  }
  return carriers;
}
