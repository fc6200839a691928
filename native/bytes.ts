// How do numbers and texts become bytes, and back? Pure; the byte order is a parameter and is the host's by default.

export type ByteOrder = "little" | "big";

/** The byte order of the machine that runs us, which is also that of netlink and ioctl structures. */
export const hostOrder: ByteOrder = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? "little" : "big";

/** A DataView on exactly the given bytes; reads beyond them throw RangeError. */
export const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Reads numbers at byte offsets; an offset outside the bytes throws RangeError. */
export interface Reader {
  u8(offset: number): number;
  u16(offset: number): number;
  u32(offset: number): number;
  i32(offset: number): number;
  u64(offset: number): bigint;
}

/** A reader of the given bytes. */
export function reader(bytes: Uint8Array, order: ByteOrder = hostOrder): Reader {
  const data = view(bytes);
  const little = order === "little";
  return {
    u8: (offset) => data.getUint8(offset),
    u16: (offset) => data.getUint16(offset, little),
    u32: (offset) => data.getUint32(offset, little),
    i32: (offset) => data.getInt32(offset, little),
    u64: (offset) => data.getBigUint64(offset, little),
  };
}

/** Writes numbers at byte offsets and returns itself; an offset outside the bytes throws RangeError. */
export interface Writer {
  readonly bytes: Uint8Array;
  u8(offset: number, value: number): Writer;
  u16(offset: number, value: number): Writer;
  u32(offset: number, value: number): Writer;
  i32(offset: number, value: number): Writer;
  u64(offset: number, value: bigint): Writer;
  /** Copies raw bytes. */
  raw(offset: number, value: Uint8Array): Writer;
}

/** A writer over the given bytes, or over as many new zero bytes. */
export function writer(target: Uint8Array | number, order: ByteOrder = hostOrder): Writer {
  const bytes = typeof target === "number" ? new Uint8Array(target) : target;
  const data = view(bytes);
  const little = order === "little";
  const self: Writer = {
    bytes,
    u8: (offset, value) => (data.setUint8(offset, value), self),
    u16: (offset, value) => (data.setUint16(offset, value, little), self),
    u32: (offset, value) => (data.setUint32(offset, value, little), self),
    i32: (offset, value) => (data.setInt32(offset, value, little), self),
    u64: (offset, value) => (data.setBigUint64(offset, value, little), self),
    raw: (offset, value) => (bytes.set(value, offset), self),
  };
  return self;
}

/** One u32 as four bytes. */
export const u32Bytes = (value: number, order: ByteOrder = hostOrder): Uint8Array =>
  writer(4, order).u32(0, value).bytes;

const encoder = new TextEncoder();
const lossyDecoder = new TextDecoder();

/** A text as UTF-8 with the terminating NUL of C. */
export const terminated = (text: string): Uint8Array => encoder.encode(`${text}\0`);

/** The text before the first NUL, or all of it; bytes that are not UTF-8 become U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return lossyDecoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** All parts one behind the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Lower-case hexadecimal digits, two a byte. */
export const hexOf = (bytes: Uint8Array): string => bytes.toHex();
