// The wire format of netlink messages and attributes (include/uapi/linux/netlink.h), in either byte order. Pure.
// A message that is truncated or has a wrong length throws NetlinkFormatError.

import { type ByteOrder, concat, hostOrder, reader, textOf, view, writer } from "../bytes.ts";

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
/** In an error message: the request is not repeated behind its header. */
export const NLM_F_CAPPED = 0x100;
/** In an error message: attributes of the extended acknowledgement follow. */
export const NLM_F_ACK_TLVS = 0x200;

const HEADER = 16;
const ATTRIBUTE_HEADER = 4;
/** The bit that marks an attribute holding attributes. */
export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

// Without the bit mask that would make a negative number of a lying length beyond 2^31.
const aligned = (length: number): number => length + (-length & 3);

/** Bytes from which no netlink message can be made. */
export class NetlinkFormatError extends Error {
  override readonly name = "NetlinkFormatError";
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** The netlink port that an answer is sent to; 0 in notifications. */
  readonly port: number;
  readonly payload: Uint8Array;
}

/** A message with its header, padded to four bytes. */
export function encodeMessage(message: Message, order: ByteOrder = hostOrder): Uint8Array {
  return writer(aligned(HEADER + message.payload.length), order)
    .u32(0, HEADER + message.payload.length)
    .u16(4, message.type)
    .u16(6, message.flags)
    .u32(8, message.sequence)
    .u32(12, message.port)
    .raw(HEADER, message.payload).bytes;
}

/** All messages of a datagram; the payloads are views of it. Throws NetlinkFormatError. */
export function decodeMessages(datagram: Uint8Array, order: ByteOrder = hostOrder): readonly Message[] {
  const data = reader(datagram, order);
  const messages: Message[] = [];
  for (let offset = 0; offset < datagram.length;) {
    if (datagram.length - offset < HEADER) throw new NetlinkFormatError(`message header cut off at byte ${offset}`);
    const length = data.u32(offset);
    if (length < HEADER || length > datagram.length - offset) {
      throw new NetlinkFormatError(`message at byte ${offset} claims ${length} of ${datagram.length - offset} bytes`);
    }
    messages.push({
      type: data.u16(offset + 4),
      flags: data.u16(offset + 6),
      sequence: data.u32(offset + 8),
      port: data.u32(offset + 12),
      payload: datagram.subarray(offset + HEADER, offset + length),
    });
    offset += aligned(length);
  }
  return messages;
}

export interface Attribute {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Attributes one behind the other, each padded to four bytes. Throws RangeError when one exceeds 65531 bytes. */
export function encodeAttributes(attributes: readonly Attribute[], order: ByteOrder = hostOrder): Uint8Array {
  return concat(
    attributes.map(({ type, data }) => {
      const length = ATTRIBUTE_HEADER + data.length;
      if (length > 0xffff) throw new RangeError(`attribute ${type} of ${data.length} bytes`);
      return writer(aligned(length), order).u16(0, length).u16(2, type).raw(ATTRIBUTE_HEADER, data).bytes;
    }),
  );
}

/** Attributes by type. A getter returns null when the type is absent and throws NetlinkFormatError when it is too short. */
export interface Attributes {
  readonly entries: readonly Attribute[];
  has(type: number): boolean;
  u8(type: number): number | null;
  u16(type: number): number | null;
  u32(type: number): number | null;
  i32(type: number): number | null;
  u64(type: number): bigint | null;
  /** The text before the first NUL. */
  string(type: number): string | null;
  bytes(type: number): Uint8Array | null;
  nested(type: number): Attributes | null;
  /** Every attribute of the type, in order. */
  all(type: number): readonly Uint8Array[];
}

/** The attributes in a payload from `offset` on; of a repeated type the getters give the last, as nla_parse does. Throws NetlinkFormatError. */
export function decodeAttributes(bytes: Uint8Array, offset = 0, order: ByteOrder = hostOrder): Attributes {
  const entries = attributeEntries(bytes, offset, order);
  const find = (type: number): Uint8Array | null => entries.findLast((entry) => entry.type === type)?.data ?? null;
  const little = order === "little";
  // A bare DataView: a host has thousands of attributes, and a reader for each is what a dump's time would go into.
  const number = <T>(type: number, size: number, get: (data: DataView) => T): T | null => {
    const data = find(type);
    if (data === null) return null;
    if (data.length < size) throw new NetlinkFormatError(`attribute ${type} has ${data.length} bytes, not ${size}`);
    return get(view(data));
  };
  return {
    entries,
    has: (type) => find(type) !== null,
    u8: (type) => number(type, 1, (data) => data.getUint8(0)),
    u16: (type) => number(type, 2, (data) => data.getUint16(0, little)),
    u32: (type) => number(type, 4, (data) => data.getUint32(0, little)),
    i32: (type) => number(type, 4, (data) => data.getInt32(0, little)),
    u64: (type) => number(type, 8, (data) => data.getBigUint64(0, little)),
    string: (type) => {
      const data = find(type);
      return data === null ? null : textOf(data);
    },
    bytes: find,
    nested: (type) => {
      const data = find(type);
      return data === null ? null : decodeAttributes(data, 0, order);
    },
    all: (type) => entries.filter((entry) => entry.type === type).map((entry) => entry.data),
  };
}

function attributeEntries(bytes: Uint8Array, start: number, order: ByteOrder): readonly Attribute[] {
  if (start > bytes.length) throw new NetlinkFormatError(`${bytes.length} bytes, at least ${start} expected`);
  const data = view(bytes);
  const little = order === "little";
  const entries: Attribute[] = [];
  for (let offset = start; offset < bytes.length;) {
    if (bytes.length - offset < ATTRIBUTE_HEADER)
      throw new NetlinkFormatError(`attribute header cut off at byte ${offset}`);
    const length = data.getUint16(offset, little);
    if (length < ATTRIBUTE_HEADER || length > bytes.length - offset) {
      throw new NetlinkFormatError(`attribute at byte ${offset} claims ${length} of ${bytes.length - offset} bytes`);
    }
    const type = data.getUint16(offset + 2, little) & NLA_TYPE_MASK;
    entries.push({ type, data: bytes.subarray(offset + ATTRIBUTE_HEADER, offset + length) });
    offset += aligned(length);
  }
  return entries;
}

/** The kernel's answer to a request: errno is positive, 0 for success; message and offset come from the extended acknowledgement. */
export interface KernelAnswer {
  readonly errno: number;
  readonly message: string | null;
  /** The byte of the request that the kernel objects to. */
  readonly offset: number | null;
}

/** The kernel's answer in an ERROR or DONE message. Throws NetlinkFormatError. */
export function decodeError(answer: Message, order: ByteOrder = hostOrder): KernelAnswer {
  const { type, flags, payload } = answer;
  // Older kernels send DONE without an errno.
  if (type === NLMSG_DONE && payload.length < 4) return { errno: 0, message: null, offset: null };
  if (payload.length < 4) throw new NetlinkFormatError(`error message of ${payload.length} bytes`);
  const errno = Math.abs(reader(payload, order).i32(0));
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno, message: null, offset: null };
  const attributes = decodeAttributes(payload, type === NLMSG_DONE ? 4 : endOfEcho(answer, order), order);
  return { errno, message: attributes.string(NLMSGERR_ATTR_MSG), offset: attributes.u32(NLMSGERR_ATTR_OFFS) };
}

/** Where the request's echo ends: behind its header, or behind all of it when it wasn't capped (netlink_ack in af_netlink.c). */
function endOfEcho({ flags, payload }: Message, order: ByteOrder): number {
  if (payload.length < 4 + HEADER) throw new NetlinkFormatError(`error message of ${payload.length} bytes`);
  return 4 + ((flags & NLM_F_CAPPED) !== 0 ? HEADER : aligned(reader(payload, order).u32(4)));
}
