// Which network interfaces belong to a function, and which of them stands for a PF? From one dump of all links.

import type { Link } from "../../native/netlink/route.ts";
import type { LinkState } from "./device.ts";

const IFF_UP = 0x1;

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

/** What health looks at. */
export function linkStateOf(link: Link): LinkState {
  return {
    interfaceName: link.name,
    adminUp: (link.flags & IFF_UP) !== 0,
    operstate: link.operstate,
    carrier: link.carrier,
  };
}

/** Links by the device that they belong to. */
export class LinksByDevice {
  readonly #links = new Map<string, Link[]>();

  constructor(links: readonly Link[]) {
    for (const link of links.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      if (link.parentDevice === null) continue;
      const key = `${link.parentBus ?? ""}/${link.parentDevice}`;
      const siblings = this.#links.get(key);
      if (siblings) siblings.push(link);
      else this.#links.set(key, [link]);
    }
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

/**
 * Picks the interface that stands for a PF.
 *
 * In switchdev mode a PF carries its uplink representor and those of its VFs; the uplink is the one with a switch id
 * and a port name pN. Where the eswitch mode is not known (asking needs CAP_NET_ADMIN) representors tell it: there are
 * none in legacy mode.
 */
export function pfLinkOf(links: readonly Link[], eswitchMode: "legacy" | "switchdev" | null): Link | null {
  const onSwitch = eswitchMode === "legacy" ? [] : links.filter((link) => link.switchId !== null);
  const isPort = (pattern: RegExp) => (link: Link) => link.portName !== null && pattern.test(link.portName);
  const isSwitchdev = eswitchMode === "switchdev" || onSwitch.some(isPort(representorPort));
  const unnamed = (link: Link) => isSwitchdev && link.portName === null;
  const uplink = onSwitch.find(isPort(uplinkPort)) ?? onSwitch.find(unnamed) ?? null;
  return uplink === null && !isSwitchdev ? (links[0] ?? null) : uplink;
}
