// Generic netlink (include/uapi/linux/genetlink.h): families by name, their groups, requests and dumps.
// Ids are resolved at each use and never kept: a module that is loaded again gets others.

import { type ByteOrder, hostOrder, terminated, writer } from "../bytes.ts";
import {
  type Attribute,
  type Attributes,
  type Message,
  NetlinkFormatError,
  decodeAttributes,
  encodeAttributes,
} from "./message.ts";
import { NETLINK_GENERIC, NetlinkError, NetlinkSocket, type Transport, openTransport } from "./socket.ts";

const GENL_HEADER = 4;
/** The fixed id of the controller family, which lists the others, and of its only multicast group. */
export const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const CTRL_ATTR_VERSION = 3;
const CTRL_ATTR_MCAST_GROUPS = 7;
const CTRL_ATTR_MCAST_GRP_NAME = 1;
const CTRL_ATTR_MCAST_GRP_ID = 2;

export interface GenericFamily {
  readonly name: string;
  readonly id: number;
  readonly version: number;
  /** Multicast group ids by name. */
  readonly groups: ReadonlyMap<string, number>;
}

export interface GenericReply {
  readonly command: number;
  readonly attributes: Attributes;
}

/** The payload of a generic request: genlmsghdr (command, version, reserved u16) and attributes. */
export const encodeGeneric = (command: number, version: number, attributes: readonly Attribute[] = []): Uint8Array => {
  const encoded = encodeAttributes(attributes);
  return writer(GENL_HEADER + encoded.length)
    .u8(0, command)
    .u8(1, version)
    .raw(GENL_HEADER, encoded).bytes;
};

/** A generic message's command and attributes. Throws NetlinkFormatError. */
export function decodeGeneric({ payload }: Message, order: ByteOrder = hostOrder): GenericReply {
  if (payload.length < GENL_HEADER) throw new NetlinkFormatError(`generic message of ${payload.length} bytes`);
  return { command: payload[0]!, attributes: decodeAttributes(payload, GENL_HEADER, order) };
}

/** A family out of the controller's answer. Throws NetlinkFormatError. */
export function decodeFamily(message: Message, order: ByteOrder = hostOrder): GenericFamily {
  const { attributes } = decodeGeneric(message, order);
  const name = attributes.string(CTRL_ATTR_FAMILY_NAME);
  const id = attributes.u16(CTRL_ATTR_FAMILY_ID);
  if (name === null || id === null) throw new NetlinkFormatError("generic family without name or id");
  const groups = new Map<string, number>();
  for (const { data } of attributes.nested(CTRL_ATTR_MCAST_GROUPS)?.entries ?? []) {
    const group = decodeAttributes(data, 0, order);
    const groupName = group.string(CTRL_ATTR_MCAST_GRP_NAME);
    const groupId = group.u32(CTRL_ATTR_MCAST_GRP_ID);
    if (groupName !== null && groupId !== null) groups.set(groupName, groupId);
  }
  return { name, id, version: attributes.u32(CTRL_ATTR_VERSION) ?? 1, groups };
}

/** A socket for requests to generic families. All methods throw what NetlinkSocket throws. */
export class GenericNetlink {
  readonly #socket: NetlinkSocket;

  constructor(open: (protocol: number) => Transport = openTransport) {
    this.#socket = new NetlinkSocket(NETLINK_GENERIC, open);
  }

  /** The family of a name; null when no loaded module offers it in this network namespace. */
  family(name: string): GenericFamily | null {
    const question = encodeGeneric(CTRL_CMD_GETFAMILY, 1, [{ type: CTRL_ATTR_FAMILY_NAME, data: terminated(name) }]);
    try {
      const [answer] = this.#socket.request(GENL_ID_CTRL, 0, question);
      return answer === undefined ? null : decodeFamily(answer);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENOENT") return null;
      throw error;
    }
  }

  /** One request with one answer; null when the kernel has none. */
  request(family: GenericFamily, command: number, attributes: readonly Attribute[]): GenericReply | null {
    const [answer] = this.#socket.request(family.id, 0, encodeGeneric(command, family.version, attributes));
    return answer === undefined ? null : decodeGeneric(answer);
  }

  /** All objects that a command lists. */
  dump(family: GenericFamily, command: number): readonly GenericReply[] {
    return this.#socket
      .dump(family.id, encodeGeneric(command, family.version))
      .map((message) => decodeGeneric(message));
  }

  close(): void {
    this.#socket.close();
  }
}
