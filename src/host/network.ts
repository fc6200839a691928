// Which network interfaces belong to a function, and which of them represents a PF? From one dump of all links.

import { IFF_UP, type Link } from "../../native/netlink/route.ts";
import type { LinkState } from "./device.ts";

/** Links that are not ports, such as Chelsio's mgmtpfN,M (cxgb4_mgmt_setup in drivers/net/ethernet/chelsio/cxgb4). */
const ARPHRD_NONE = 0xfffe;
const ARPHRD_INFINIBAND = 32;

/** Names of ARPHRD_* numbers as selectors spell them (include/uapi/linux/if_arp.h). */
const linkTypeNames: Readonly<Record<number, string>> = {
  1: "ether",
  32: "infiniband",
  512: "ppp",
  768: "ipip",
  772: "loopback",
  65534: "none",
};

/** The link type's name; null for types that have none here. */
export const linkTypeOf = (link: Link): string | null => linkTypeNames[link.arphrd] ?? null;

/** What health depends on. */
export function linkStateOf(link: Link): LinkState {
  return {
    interfaceName: link.name,
    index: link.index,
    adminUp: (link.flags & IFF_UP) !== 0,
    operstate: link.operstate,
    carrier: link.carrier,
    carrierUps: link.carrierUps ?? null,
  };
}

/** Links by the device that they belong to. */
export class LinksByDevice {
  readonly #links = new Map<string, Link[]>();
  readonly #byIndex: ReadonlyMap<number, Link>;

  constructor(links: readonly Link[]) {
    this.#byIndex = new Map(links.map((link) => [link.index, link]));
    for (const link of links.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      if (link.parentDevice === null) continue;
      const key = `${link.parentBus ?? ""}/${link.parentDevice}`;
      const siblings = this.#links.get(key);
      if (siblings) siblings.push(link);
      else this.#links.set(key, [link]);
    }
  }

  byIndex(index: number): Link | undefined {
    return this.#byIndex.get(index);
  }

  /** The links that are part of a bond, team or bridge. */
  mastered(master: number): readonly Link[] {
    return [...this.#byIndex.values()].filter((link) => link.master === master);
  }

  /** The links of a device, sorted by name; virtio-net keeps its interface below a virtio device of the function. */
  of(bus: string, device: string, entries: ReadonlySet<string>): readonly Link[] {
    const own = this.#links.get(`${bus}/${device}`);
    if (own) return own;
    for (const entry of entries) {
      if (/^virtio\d+$/.test(entry)) return this.#links.get(`virtio/${entry}`) ?? [];
    }
    return [];
  }
}

/** Port names of uplinks in switchdev mode: "p0", "p1" (drivers' get_phys_port_name). */
const uplinkPort = /^p\d+$/;

/** Port names of representors: "pf0vf3", "pf0sf88", "c1pf0" (net/devlink/port.c, __devlink_port_phys_port_name_get). */
const representorPort = /^(?:c\d+)?pf\d+(?:(?:vf|sf)\d+)?$/;

/** What the links of a PF are to it. */
export interface PfLinks {
  readonly isSwitchdev: boolean;
  /** Those that name the PF, the first one above all. */
  readonly named: readonly Link[];
}

/**
 * Sorts out the links of a PF: those that name it, in switchdev mode its uplink representors, never those of VFs and SFs.
 *
 * An uplink has a switch id and a port name pN. Where the eswitch mode is not known (reading it needs CAP_NET_ADMIN) representors show
 * it: there are none in legacy mode. In legacy mode each link counts that is not stacked on another: an IPoIB child (ib0.8001) has
 * the same parent device. Links are taken in their order, the upstream plugin takes the first by name too.
 */
export function pfLinksOf(links: readonly Link[], eswitchMode: "legacy" | "switchdev" | null): PfLinks {
  const isPort = (pattern: RegExp) => (link: Link) => link.portName !== null && pattern.test(link.portName);
  const onSwitch = eswitchMode === "legacy" ? [] : links.filter((link) => link.switchId !== null);
  const isSwitchdev = eswitchMode === "switchdev" || onSwitch.some(isPort(representorPort));
  const uplinks = onSwitch.filter(isPort(uplinkPort));
  if (isSwitchdev) {
    const unnamed = onSwitch.filter((link) => link.portName === null);
    return { isSwitchdev, named: uplinks.length > 0 ? uplinks : unnamed.slice(0, 1) };
  }
  const isOwn = (link: Link) => link.lower === null && !isPort(representorPort)(link);
  const own = links.filter(isOwn);
  return { isSwitchdev, named: [...uplinks, ...own.filter((link) => !uplinks.includes(link))] };
}

/** The link that represents a PF; null when it has none. */
export const pfLinkOf = (links: readonly Link[], eswitchMode: "legacy" | "switchdev" | null): Link | null =>
  pfLinksOf(links, eswitchMode).named[0] ?? null;

/** Whether an interface is a port that its own link decides: neither a management interface nor IPoIB. */
export const isEthernetPort = ({ arphrd }: Link): boolean => arphrd !== ARPHRD_NONE && arphrd !== ARPHRD_INFINIBAND;

/** Whether a link is the uplink of an eswitch, by which the eswitch's functions reach the network. */
export const isUplink = ({ switchId, portName }: Link): boolean =>
  switchId !== null && portName !== null && uplinkPort.test(portName);
