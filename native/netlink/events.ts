// Has something changed? Kernel uevents and netlink groups, reduced to "the functions changed" and "the links changed".
// The content of an event is discarded: the readers read again. The descriptors are watched by Bun's event loop, no thread.

import { type ByteOrder, hostOrder, u32Bytes } from "../bytes.ts";
import * as libc from "../libc.ts";
import { DEVLINK_CONFIG_GROUP, DEVLINK_FAMILY } from "./devlink.ts";
import { GENL_ID_CTRL, GenericNetlink } from "./generic.ts";
import { type Message, decodeMessages } from "./message.ts";
import {
  RTM_DELLINK,
  RTM_DELNEXTHOP,
  RTM_DELROUTE,
  RTM_NEWLINK,
  RTM_NEWNEXTHOP,
  RTM_NEWROUTE,
  decodeDefaultRoute,
} from "./route.ts";
import { NETLINK_GENERIC, NETLINK_KOBJECT_UEVENT, NETLINK_ROUTE, netlinkAddress, setNetlinkOption } from "./socket.ts";

const NETLINK_ADD_MEMBERSHIP = 1;
// Group n is bit n - 1 (include/uapi/linux/rtnetlink.h): links 1, IPv4 routes 7, IPv6 routes 11, nexthops 32.
const ROUTE_GROUPS = (1 << 0) | (1 << 6) | (1 << 10) | (1 << 31);
const UEVENT_GROUP = 1;
// A VF with 64 queues sends 130 uevents, and a PF may have 256 VFs.
const RECEIVE_BUFFER = 8 << 20;
const REOPEN_AFTER_MILLISECONDS = 1000;

export interface KernelEvents {
  /** Devices were added or removed, or changed their driver. */
  functions(): void;
  /** A link's state or a default route may have changed. */
  links(): void;
  /** Events were lost: everything must be read again. The watch continues. */
  lost(reason: string): void;
}

export interface Uevent {
  readonly action: string;
  readonly devpath: string;
  readonly subsystem: string;
  readonly values: Readonly<Record<string, string>>;
}

const lossyDecoder = new TextDecoder();

/** A uevent of the kernel ("add@/devices/…\0ACTION=add\0…", lib/kobject_uevent.c); null for anything else, as udev's own format. */
export function parseUevent(bytes: Uint8Array): Uevent | null {
  const [header, ...entries] = lossyDecoder.decode(bytes).split("\0");
  const values: Record<string, string> = Object.create(null);
  for (const entry of entries) {
    const equals = entry.indexOf("=");
    if (equals > 0) values[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  const { ACTION: action, DEVPATH: devpath, SUBSYSTEM: subsystem } = values as Partial<Record<string, string>>;
  if (action === undefined || devpath === undefined || subsystem === undefined) return null;
  return header === `${action}@${devpath}` ? { action, devpath, subsystem, values } : null;
}

// infiniband_verbs, infiniband_mad, vfio-dev and their like begin as their parents do.
const watchedSubsystem = /^(pci|net|auxiliary|vdpa|uio|misc|infiniband.*|vfio.*)$/;

/** Whether a uevent may change what the readers of functions find; the queues of a netdev don't. */
export const concernsFunctions = (event: Uevent): boolean => watchedSubsystem.test(event.subsystem);

/** Whether an rtnetlink notification is about links, nexthops or a default route. Throws NetlinkFormatError. */
export function concernsLinks({ type, payload }: Message, order: ByteOrder = hostOrder): boolean {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return true;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return decodeDefaultRoute(payload, order) !== null;
    default:
      return false;
  }
}

type Meaning = "functions" | "links" | null;

// A row for each socket: its protocol, the groups it is born with, what it joins besides, and what a datagram means.
interface Source {
  readonly name: string;
  readonly protocol: number;
  readonly groups: number;
  join(fd: number): void;
  meaning(datagram: Uint8Array, fd: number): Meaning;
}

const sources: readonly Source[] = [
  {
    name: "uevents",
    protocol: NETLINK_KOBJECT_UEVENT,
    groups: UEVENT_GROUP,
    join: () => {},
    meaning(datagram) {
      const event = parseUevent(datagram);
      return event !== null && concernsFunctions(event) ? "functions" : null;
    },
  },
  {
    name: "rtnetlink",
    protocol: NETLINK_ROUTE,
    groups: ROUTE_GROUPS,
    join: () => {},
    meaning: (datagram) => (decodeMessages(datagram).some((message) => concernsLinks(message)) ? "links" : null),
  },
  {
    name: "generic netlink",
    protocol: NETLINK_GENERIC,
    groups: 1 << (GENL_ID_CTRL - 1),
    join: joinDevlink,
    meaning(datagram, fd) {
      // A family was added or removed: perhaps vdpa, perhaps devlink, whose group is then still to be joined.
      if (decodeMessages(datagram).some(({ type }) => type === GENL_ID_CTRL)) joinDevlink(fd);
      return "functions";
    },
  },
];

/** Joins the devlink group that announces devices; joining again is harmless, and without devlink there is none. */
function joinDevlink(fd: number): void {
  const generic = new GenericNetlink();
  try {
    const group = generic.family(DEVLINK_FAMILY)?.groups.get(DEVLINK_CONFIG_GROUP);
    if (group !== undefined) setNetlinkOption(fd, NETLINK_ADD_MEMBERSHIP, group);
  } finally {
    generic.close();
  }
}

/**
 * Watches the kernel until closed. The subscriptions are in place when this returns, so that a dump made afterwards misses
 * nothing. When a socket overflows it is reopened, then `lost` is called. `receiveBuffer` is in bytes. Throws SystemError
 * when a socket can't be opened at the start.
 *
 * Bun hands over a datagram without its sender. To forge one takes CAP_NET_ADMIN over this network namespace
 * (no NL_CFG_F_NONROOT_SEND in these protocols), and all it causes is one more scan.
 */
export function watchKernel(on: KernelEvents, receiveBuffer = RECEIVE_BUFFER): { close(): void } {
  const watches: { close(): void }[] = [];
  const close = (): void => watches.forEach((watch) => watch.close());
  try {
    for (const source of sources) watches.push(watchSource(source, on, receiveBuffer));
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

// Bun.connect takes an open descriptor, and owns it from then on; this is missing in its types (seen with Bun 1.4.5).
const connectDescriptor = Bun.connect as unknown as (options: {
  readonly fd: number;
  readonly socket: {
    data(socket: Connection, datagram: Uint8Array): void;
    close(socket: Connection, error?: unknown): void;
    error(socket: Connection, error: unknown): void;
  };
}) => Promise<Connection>;

interface Connection {
  terminate(): void;
}

function watchSource(source: Source, on: KernelEvents, receiveBuffer: number): { close(): void } {
  let closed = false;
  let connection: Connection | null = null;
  let retry: ReturnType<typeof setTimeout> | null = null;

  const receive = (datagram: Uint8Array, fd: number): void => {
    if (closed) return;
    let meaning: Meaning;
    try {
      meaning = source.meaning(datagram, fd);
    } catch (error) {
      return on.lost(`${source.name}: ${reasonOf(error)}`);
    }
    if (meaning !== null) on[meaning]();
  };

  const start = (): void => {
    const fd = openSource(source, receiveBuffer);
    let failure: unknown = null;
    void connectDescriptor({
      fd,
      socket: {
        data: (_connection, datagram) => receive(datagram, fd),
        error: (_connection, error) => void (failure = error),
        close: (_connection, error) => reopen(reasonOf(error ?? failure ?? "closed")),
      },
    }).then(
      (opened) => {
        connection = opened;
        if (closed) opened.terminate();
      },
      (error: unknown) => {
        // What Bun refuses to watch it leaves open.
        libc.close(fd);
        reopenLater(reasonOf(error));
      },
    );
  };

  // An overflown socket is closed by Bun (ENOBUFS). What the readers find after `lost` is covered by the new socket.
  const reopen = (reason: string): void => {
    connection = null;
    if (closed) return;
    try {
      start();
    } catch {
      return reopenLater(reason);
    }
    on.lost(`${source.name}: ${reason}`);
  };

  const reopenLater = (reason: string): void => {
    if (!closed) retry = setTimeout(reopen, REOPEN_AFTER_MILLISECONDS, reason);
  };

  start();
  return {
    close(): void {
      closed = true;
      if (retry !== null) clearTimeout(retry);
      connection?.terminate();
    },
  };
}

const reasonOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error
    ? String(error.code)
    : error instanceof Error
      ? error.message
      : String(error);

function openSource({ protocol, groups, join }: Source, receiveBuffer: number): number {
  const fd = libc.socket(libc.AF_NETLINK, libc.SOCK_RAW | libc.SOCK_CLOEXEC | libc.SOCK_NONBLOCK, protocol);
  try {
    growReceiveBuffer(fd, receiveBuffer);
    libc.bind(fd, netlinkAddress(groups));
    join(fd);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Without CAP_NET_ADMIN in the initial user namespace the buffer grows to net.core.rmem_max only. */
function growReceiveBuffer(fd: number, bytes: number): void {
  try {
    libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVBUFFORCE, u32Bytes(bytes));
  } catch (error) {
    if (!(error instanceof libc.SystemError) || error.code !== "EPERM") throw error;
    libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVBUF, u32Bytes(bytes));
  }
}
