// Which interfaces does the host's own traffic leave by, and which functions are they? From the exits of default routes down to the
// lowest interface: through bond, team, bridge, VRF and OVS masters, vlan, macvlan, ipvlan and vxlan uppers.

import type { Link } from "../../native/netlink/route.ts";
import type { KernelFacts } from "./kernel.ts";

/**
 * Returns every interface that carries a default route, with the name of the interface by which the route leaves.
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

/** A default route that leaves through a function. */
export interface HostRoute {
  /** The interface by which it leaves: the function's own, or one above it, as a bond. */
  readonly interfaceName: string;
  /** Whether every such route was made by router advertisements. */
  readonly isAdvertised: boolean;
}

/** A function, its own interfaces, and the PF above it. */
export interface FunctionLinks {
  readonly id: string;
  readonly links: readonly Link[];
  /** The id of the PF of a VF or an SF; null for everything else. */
  readonly pf: string | null;
}

/**
 * The functions through which a default route leaves, by id. What leaves through a function below a PF, an SF or a VF with all that is made of
 * it, leaves through the PF too.
 */
export function hostRoutes(
  { links, defaultRouteExits, configuredRouteExits = [] }: KernelFacts,
  functions: readonly FunctionLinks[],
): ReadonlyMap<string, HostRoute> {
  const routes = new Map<string, HostRoute>();
  if (defaultRouteExits.length === 0) return routes;
  const configured = defaultRouteCarriers(links, configuredRouteExits);
  const carriers = defaultRouteCarriers(links, defaultRouteExits);
  const add = (id: string, route: HostRoute) => {
    if (routes.get(id)?.isAdvertised !== false) routes.set(id, route);
  };
  for (const { id, links: own, pf } of functions) {
    // A configured route first: its exclusion lasts longer.
    const exit = own.find(({ index }) => configured.has(index)) ?? own.find(({ index }) => carriers.has(index));
    if (!exit) continue;
    const interfaceName = configured.get(exit.index) ?? carriers.get(exit.index) ?? exit.name;
    const route = { interfaceName, isAdvertised: !configured.has(exit.index) };
    add(id, route);
    if (pf !== null) add(pf, route);
  }
  return routes;
}
