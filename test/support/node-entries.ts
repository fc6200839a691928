// The entries of a tree that functions, drivers and links consist of, and what they are called.

import type { Link } from "../../native/netlink/route.ts";
import { ethernetLink } from "./ethernet-link.ts";
import { drivers, type LinkStatePlan, type PfPlan } from "./node-plan.ts";
import { type Entry, link } from "./tree.ts";

/** How a driver lets its devices be used; null for drivers that make nothing. */
export const usage = (driver: string | null): "netdev" | "vfio" | "uio" | null =>
  driver !== null && Object.hasOwn(drivers, driver) ? drivers[driver as keyof typeof drivers] : null;

export const linkTypeOf = ({ linkType = "ether" }: Pick<PfPlan, "linkType">) => ({ linkType });

/** The address of a VF: routing ids follow the PF's, eight further for the first (First VF Offset), one a VF. */
export function vfAddress(pf: string, index: number): string {
  const [domain = "", bus = "", rest = ""] = pf.split(":");
  const [slot = "", fn = ""] = rest.split(".");
  const id = (Number.parseInt(bus, 16) << 8) + (Number.parseInt(slot, 16) << 3) + Number(fn) + 8 + index;
  return `${domain}:${hex(id >> 8, 2)}:${hex((id >> 3) & 0x1f, 2)}.${id & 7}`;
}

/** The real folder of a PCI function; every bus of a domain hangs below the same bridge here. */
export const pciFolder = (address: string): string => {
  const [domain = ""] = address.split(":");
  return `sys/devices/pci${domain}:00/${address}`;
};

/** A relative link from one place of the tree to another. */
export const linked = (from: string, to: string): [Entry] => {
  const up = from.split("/").slice(0, -1);
  const down = to.split("/");
  let common = 0;
  while (common < up.length && up[common] === down[common]) common++;
  return [link(from, [...up.slice(common).map(() => ".."), ...down.slice(common)].join("/"))];
};

/** drivers/pci/pci-sysfs.c modalias_show. */
export function modalias(vendor: string, product: string, pciClass: string): string {
  const long = (id: string) => id.toUpperCase().padStart(8, "0");
  const [base, sub, programming] = pciClass.toUpperCase().match(/../g) ?? [];
  return `pci:v${long(vendor)}d${long(product)}sv${long(vendor)}sd00000000bc${base}sc${sub}i${programming}`;
}

export const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const IFF_LOWER_UP = 0x10000;

/** Flags and states of a link (Documentation/networking/operstates.rst). */
export const linkStates = {
  up: { flags: IFF_UP | IFF_RUNNING | IFF_LOWER_UP, operstate: "up", carrier: true },
  down: { flags: IFF_UP, operstate: "down", carrier: false },
  disabled: { flags: 0, operstate: "down", carrier: null },
} as const satisfies Record<LinkStatePlan, Pick<Link, "flags" | "operstate" | "carrier">>;

export const aLink = (index: number, name: string, state: LinkStatePlan): Link =>
  ethernetLink(index, name, linkStates[state]);

/** Entries without those that say what an earlier one said of the same path. */
export function unique(entries: readonly Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) if (!byPath.has(entry.path)) byPath.set(entry.path, entry);
  return [...byPath.values()];
}

/** A file of a tree by its path; undefined when there is none. */
export const fileIn = (entries: readonly Entry[], path: string): string | Uint8Array | undefined =>
  entries.flatMap((entry) => (entry.kind === "file" && entry.path === path ? [entry.content] : []))[0];
