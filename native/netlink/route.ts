// Which network links are there, and by which do the default routes leave? One link dump, one route dump per family.
// Policy rules, tables other than main and halves of a default route (0.0.0.0/1) are left out.

import { type ByteOrder, concat, hexOf, hostOrder, reader, u32Bytes, writer } from "../bytes.ts";
import { AF_INET, AF_INET6 } from "../libc.ts";
import { type Attributes, type Message, NetlinkFormatError, decodeAttributes, encodeAttributes } from "./message.ts";
import { NetlinkError, type NetlinkSocket } from "./socket.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
const RTM_GETNEXTHOP = 106;

/** The flag of a link that is administratively up (include/uapi/linux/if.h). */
export const IFF_UP = 0x1;

// struct ifinfomsg: family u8, pad u8, type u16, index i32, flags u32, change u32 (include/uapi/linux/rtnetlink.h).
const IFINFOMSG = 16;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_NUM_VF = 21;
const IFLA_VFINFO_LIST = 22;
const IFLA_VF_INFO = 1;
const IFLA_VF_LINK_STATE = 5;
const IFLA_EXT_MASK = 29;
const IFLA_CARRIER = 33;
const IFLA_PHYS_PORT_ID = 34;
const IFLA_PHYS_SWITCH_ID = 36;
const IFLA_LINK_NETNSID = 37;
const IFLA_PHYS_PORT_NAME = 38;
const IFLA_CARRIER_UP_COUNT = 47;
const IFLA_PARENT_DEV_NAME = 56;
const IFLA_PARENT_DEV_BUS_NAME = 57;
const RTEXT_FILTER_VF = 1;
const RTEXT_FILTER_SKIP_STATS = 8;

// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type (u8 each), flags u32.
const RTMSG = 12;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
const RTPROT_RA = 9;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_NH_ID = 30;

// struct nhmsg, 8 bytes, and struct nexthop_grp: id u32, weight u8, weight_high u8, u16 (include/uapi/linux/nexthop.h).
const NHMSG = 8;
const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_OIF = 5;
const NEXTHOP_GRP = 8;

// Kinds that name the link below them in their own data, not in IFLA_LINK: IFLA_VXLAN_LINK (drivers/net/vxlan).
const lowerInData: Readonly<Record<string, number>> = { vxlan: 3 };

// RFC 2863 states in the kernel's order (include/uapi/linux/if.h).
const operstates = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"] as const;
const vfLinkStates = ["auto", "enable", "disable"] as const;

export type OperState = (typeof operstates)[number];
export type VfLinkState = (typeof vfLinkStates)[number];

export interface Link {
  readonly index: number;
  readonly name: string;
  /** The ARPHRD type: 1 Ethernet, 32 InfiniBand (include/uapi/linux/if_arp.h). */
  readonly arphrd: number;
  /** IFF flags: IFF_UP, 0x10000 carrier. */
  readonly flags: number;
  readonly operstate: OperState;
  readonly carrier: boolean | null;
  /** How often the interface got a carrier since it was made; null where the kernel does not count (before 4.16). */
  readonly carrierUps: number | null;
  /** The index of the bond, bridge, team, VRF or switch that the link is part of. */
  readonly master: number | null;
  /** The index of the link below a VLAN, macvlan, vxlan, …, or of a veth's peer, when it is in the same network namespace. */
  readonly lower: number | null;
  readonly kind: string | null;
  readonly slaveKind: string | null;
  /** The bus and the name of the parent device: "pci" and "0000:03:00.0". */
  readonly parentBus: string | null;
  readonly parentDevice: string | null;
  /** Hexadecimal digits. */
  readonly switchId: string | null;
  readonly portName: string | null;
  /** Hexadecimal digits that are the same for all functions which share a port of the NIC. */
  readonly portId: string | null;
  /** The link-state policies of a PF's VFs by VF index. */
  readonly vfLinkStates: Readonly<Record<number, VfLinkState>>;
}

/**
 * All links of this network namespace in one dump. Where the kernel can't put a PF's VFs into one message, a second dump
 * is made without them, and all vfLinkStates are empty. Throws what NetlinkSocket.dump throws.
 */
export function readLinks(socket: NetlinkSocket): Link[] {
  try {
    const payloads = dumpLinks(socket, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
    const links = payloads.map((payload) => ({ payload, attributes: decodeAttributes(payload, IFINFOMSG) }));
    if (!links.some(({ attributes }) => overflowsVfList(attributes))) {
      return links.map(({ payload, attributes }) => linkOf(payload, attributes, hostOrder));
    }
  } catch (error) {
    const isTooLong = error instanceof NetlinkError && error.code === "EMSGSIZE";
    if (!isTooLong && !(error instanceof NetlinkFormatError)) throw error;
  }
  return dumpLinks(socket, RTEXT_FILTER_SKIP_STATS).map((payload) => decodeLink(payload));
}

function dumpLinks(socket: NetlinkSocket, mask: number): readonly Uint8Array[] {
  const filter = encodeAttributes([{ type: IFLA_EXT_MASK, data: u32Bytes(mask) }]);
  const messages = socket.dump(RTM_GETLINK, concat([new Uint8Array(IFINFOMSG), filter]));
  return messages.filter(({ type }) => type === RTM_NEWLINK).map(({ payload }) => payload);
}

/**
 * Whether the list of VFs in a link message is longer than an attribute's 16-bit length can say. Kernels before
 * nla_nest_end_safe wrap the length silently, and what follows in the message is then read as something else.
 */
export function overflowsVfList(attributes: Attributes): boolean {
  const first = attributes.nested(IFLA_VFINFO_LIST)?.entries[0];
  return first !== undefined && (first.data.length + 4) * (attributes.u32(IFLA_NUM_VF) ?? 0) + 4 > 0xffff;
}

/** A link out of an RTM_NEWLINK payload. Throws NetlinkFormatError. */
export function decodeLink(payload: Uint8Array, order: ByteOrder = hostOrder): Link {
  return linkOf(payload, decodeAttributes(payload, IFINFOMSG, order), order);
}

function linkOf(payload: Uint8Array, attributes: Attributes, order: ByteOrder): Link {
  const header = reader(payload, order);
  const index = header.i32(4);
  const name = attributes.string(IFLA_IFNAME);
  if (name === null) throw new NetlinkFormatError(`link ${index} without a name`);
  const carrier = attributes.u8(IFLA_CARRIER);
  const information = attributes.nested(IFLA_LINKINFO);
  const switchId = attributes.bytes(IFLA_PHYS_SWITCH_ID);
  const portId = attributes.bytes(IFLA_PHYS_PORT_ID);
  return {
    index,
    name,
    arphrd: header.u16(2),
    flags: header.u32(8),
    operstate: operstates[attributes.u8(IFLA_OPERSTATE) ?? 0] ?? "unknown",
    carrier: carrier === null ? null : carrier !== 0,
    carrierUps: attributes.u32(IFLA_CARRIER_UP_COUNT),
    master: attributes.u32(IFLA_MASTER),
    lower: lowerOf(index, attributes, information),
    kind: information?.string(IFLA_INFO_KIND) ?? null,
    slaveKind: information?.string(IFLA_INFO_SLAVE_KIND) ?? null,
    parentBus: attributes.string(IFLA_PARENT_DEV_BUS_NAME),
    parentDevice: attributes.string(IFLA_PARENT_DEV_NAME),
    switchId: switchId === null ? null : hexOf(switchId),
    portName: attributes.string(IFLA_PHYS_PORT_NAME),
    portId: portId === null ? null : hexOf(portId),
    vfLinkStates: decodeVfLinkStates(attributes, order),
  };
}

// With LINK_NETNSID the index belongs to another namespace; tunnels without a lower link have 0.
function lowerOf(index: number, attributes: Attributes, information: Attributes | null): number | null {
  const own = lowerInData[information?.string(IFLA_INFO_KIND) ?? ""];
  const lower =
    attributes.u32(IFLA_LINK) ?? (own === undefined ? null : (information?.nested(IFLA_INFO_DATA)?.u32(own) ?? null));
  return lower === null || lower === 0 || lower === index || attributes.has(IFLA_LINK_NETNSID) ? null : lower;
}

const noVfs: Readonly<Record<number, VfLinkState>> = {};

// struct ifla_vf_link_state: vf u32, link_state u32 (include/uapi/linux/if_link.h).
function decodeVfLinkStates(attributes: Attributes, order: ByteOrder): Readonly<Record<number, VfLinkState>> {
  const list = attributes.nested(IFLA_VFINFO_LIST);
  if (list === null) return noVfs;
  const states: Record<number, VfLinkState> = {};
  for (const vf of list.all(IFLA_VF_INFO)) {
    const data = decodeAttributes(vf, 0, order).bytes(IFLA_VF_LINK_STATE);
    if (data === null) continue;
    if (data.length < 8) throw new NetlinkFormatError(`VF link state of ${data.length} bytes`);
    const state = vfLinkStates[reader(data, order).u32(4)];
    if (state !== undefined) states[reader(data, order).u32(0)] = state;
  }
  return states;
}

/** A default route of the main table: its outgoing link, or the nexthop object that has it. */
export interface DefaultRoute {
  readonly exits: readonly number[];
  readonly nexthop: number | null;
  /** Whether it comes from a router advertisement, no matter which program received it: the kernel, NetworkManager and systemd-networkd all use RTPROT_RA. */
  readonly isAdvertised: boolean;
}

/** The links by which the default routes of the main table leave, as sorted interface indexes. */
export interface DefaultRouteExits {
  readonly all: readonly number[];
  /** Those by which a route leaves that no router advertisement made. */
  readonly configured: readonly number[];
}

/** A nexthop object: one exit, or a group of others, or (a blackhole) neither. */
export interface Nexthop {
  readonly id: number;
  readonly exit: number | null;
  readonly group: readonly number[];
}

/**
 * The links by which IPv4 and IPv6 default routes of the main table leave, through next hops and nexthop objects. Throws what
 * NetlinkSocket.dump throws.
 */
export function readDefaultRouteExits(socket: NetlinkSocket): DefaultRouteExits {
  const routes = [AF_INET, AF_INET6].flatMap((family) =>
    dumpMainTable(socket, family)
      .map(({ payload }) => decodeDefaultRoute(payload))
      .filter((route) => route !== null),
  );
  // With net.ipv4.nexthop_compat_mode=0 a route names only its nexthop object.
  const nexthops = routes.some(({ exits }) => exits.length === 0) ? readNexthops(socket) : [];
  return exitsOf(routes, nexthops);
}

/** Where these routes leave; of a route that names only a nexthop object, where that leaves. */
export function exitsOf(routes: readonly DefaultRoute[], nexthops: readonly Nexthop[]): DefaultRouteExits {
  const leaves = ({ exits, nexthop }: DefaultRoute) =>
    exits.length > 0 || nexthop === null ? exits : resolveNexthops([nexthop], nexthops);
  const sorted = (those: readonly DefaultRoute[]) => [...new Set(those.flatMap(leaves))].sort((a, b) => a - b);
  return { all: sorted(routes), configured: sorted(routes.filter(({ isAdvertised }) => !isAdvertised)) };
}

/** The main table's unicast routes: the kernel filters since 4.20, older ones send everything and decodeDefaultRoute sorts it out. */
function dumpMainTable(socket: NetlinkSocket, family: number): readonly Message[] {
  const question = writer(RTMSG).u8(0, family).u8(4, RT_TABLE_MAIN).u8(7, RTN_UNICAST).bytes;
  try {
    return socket.dump(RTM_GETROUTE, question).filter(({ type }) => type === RTM_NEWROUTE);
  } catch (error) {
    // ENOENT: that table has no route yet. The other: the kernel has no such family.
    if (error instanceof NetlinkError && (error.code === "ENOENT" || error.code === "EOPNOTSUPP")) return [];
    throw error;
  }
}

const readNexthops = (socket: NetlinkSocket): readonly Nexthop[] =>
  socket
    .dump(RTM_GETNEXTHOP, new Uint8Array(NHMSG))
    .filter(({ type }) => type === RTM_NEWNEXTHOP)
    .map(({ payload }) => decodeNexthop(payload));

/** The default route in an RTM_NEWROUTE or RTM_DELROUTE payload; null for any other route. Throws NetlinkFormatError. */
export function decodeDefaultRoute(payload: Uint8Array, order: ByteOrder = hostOrder): DefaultRoute | null {
  if (payload.length < RTMSG) throw new NetlinkFormatError(`route of ${payload.length} bytes`);
  const header = reader(payload, order);
  const isInternet = header.u8(0) === AF_INET || header.u8(0) === AF_INET6;
  if (!isInternet || header.u8(1) !== 0 || header.u8(7) !== RTN_UNICAST) return null;
  const attributes = decodeAttributes(payload, RTMSG, order);
  const table = attributes.u32(RTA_TABLE) ?? header.u8(4);
  if (table !== RT_TABLE_MAIN || attributes.has(RTA_DST)) return null;
  const single = attributes.u32(RTA_OIF);
  const several = attributes.bytes(RTA_MULTIPATH);
  return {
    exits: [...(single === null ? [] : [single]), ...(several === null ? [] : decodeMultipath(several, order))],
    nexthop: attributes.u32(RTA_NH_ID),
    isAdvertised: header.u8(5) === RTPROT_RA,
  };
}

// Array of struct rtnexthop: len u16, flags u8, hops u8, ifindex i32, then attributes; steps are aligned to four bytes.
function decodeMultipath(bytes: Uint8Array, order: ByteOrder): number[] {
  const data = reader(bytes, order);
  const exits: number[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const length = bytes.length - offset < 8 ? 0 : data.u16(offset);
    if (length < 8 || length > bytes.length - offset)
      throw new NetlinkFormatError(`next hop cut off at byte ${offset}`);
    exits.push(data.i32(offset + 4));
    offset += (length + 3) & ~3;
  }
  return exits;
}

/** A nexthop object out of an RTM_NEWNEXTHOP payload. Throws NetlinkFormatError. */
export function decodeNexthop(payload: Uint8Array, order: ByteOrder = hostOrder): Nexthop {
  const attributes = decodeAttributes(payload, NHMSG, order);
  const id = attributes.u32(NHA_ID);
  if (id === null) throw new NetlinkFormatError("nexthop without an id");
  const members = attributes.bytes(NHA_GROUP) ?? new Uint8Array(0);
  if (members.length % NEXTHOP_GRP !== 0) throw new NetlinkFormatError(`nexthop group of ${members.length} bytes`);
  const data = reader(members, order);
  const group = Array.from({ length: members.length / NEXTHOP_GRP }, (_, position) => data.u32(position * NEXTHOP_GRP));
  return { id, exit: attributes.u32(NHA_OIF), group };
}

/** The exits of nexthop objects, groups of groups included; an id that no object has is skipped. */
export function resolveNexthops(ids: readonly number[], nexthops: readonly Nexthop[]): readonly number[] {
  const known = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
  const seen = new Set(ids);
  // A Set grows while it is walked: what is added here is visited too, and each only once.
  for (const id of seen) for (const member of known.get(id)?.group ?? []) seen.add(member);
  return [...seen].map((id) => known.get(id)?.exit ?? null).filter((exit) => exit !== null);
}
