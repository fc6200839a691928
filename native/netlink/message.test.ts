import { describe, expect, test } from "bun:test";
import { readCapture } from "../../test/netlink/replay.ts";
import { type ByteOrder, concat, terminated, u32Bytes, writer } from "../bytes.ts";
import {
  type Attributes,
  type Message,
  NLA_F_NESTED,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_DONE,
  NLMSG_ERROR,
  NetlinkFormatError,
  decodeAttributes,
  decodeError,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
} from "./message.ts";

const orders: ByteOrder[] = ["little", "big"];
const bytes = (...values: number[]): Uint8Array => new Uint8Array(values);

describe.each(orders)("in %s-endian order", (order) => {
  const message: Message = {
    type: 0x1234,
    flags: 0x0305,
    sequence: 0xfedcba98,
    port: 4711,
    payload: bytes(1, 2, 3, 4, 5),
  };

  test("messages come back as they were sent, one behind the other", () => {
    const next = { ...message, type: 3, payload: bytes() };
    const datagram = concat([encodeMessage(message, order), encodeMessage(next, order)]);
    expect(datagram.length).toBe(24 + 16);
    expect(decodeMessages(datagram, order)).toEqual([message, next]);
  });

  test("attributes come back as they were sent, the nested ones too", () => {
    const inner = [
      { type: 1, data: u32Bytes(7, order) },
      { type: 2, data: terminated("eth0") },
    ];
    const outer = [
      { type: 300, data: bytes(9) },
      { type: 18, data: encodeAttributes(inner, order) },
      { type: 19, data: bytes() },
    ];
    const decoded = decodeAttributes(encodeAttributes(outer, order), 0, order);
    expect(decoded.entries).toEqual(outer);
    expect(decoded.nested(18)?.entries).toEqual(inner);
  });

  test("every getter reads its size, and only null is absent", () => {
    const attributes = decodeAttributes(
      encodeAttributes(
        [
          { type: 1, data: bytes(0) },
          { type: 2, data: writer(2, order).u16(0, 0xfffe).bytes },
          { type: 3, data: u32Bytes(0xfffffffe, order) },
          { type: 4, data: writer(8, order).u64(0, 2n ** 63n).bytes },
          { type: 5, data: bytes() },
        ],
        order,
      ),
      0,
      order,
    );
    expect(attributes.u8(1)).toBe(0);
    expect(attributes.u16(2)).toBe(0xfffe);
    expect(attributes.u32(3)).toBe(0xfffffffe);
    expect(attributes.i32(3)).toBe(-2);
    expect(attributes.u64(4)).toBe(2n ** 63n);
    expect(attributes.has(5)).toBe(true);
    expect(attributes.string(5)).toBe("");
    for (const get of ["u8", "u16", "u32", "i32", "u64", "string", "bytes", "nested"] as const) {
      expect(attributes[get](99)).toBeNull();
    }
    expect(() => attributes.u16(1)).toThrow(NetlinkFormatError);
    expect(() => attributes.u64(3)).toThrow(NetlinkFormatError);
  });

  test("a verdict has the kernel's text, with the request repeated or not", () => {
    const request = { type: 18, flags: 1, sequence: 1, port: 2, payload: bytes(1, 2, 3, 4, 5, 6, 7) };
    const words = encodeAttributes(
      [
        { type: 1, data: terminated("Unknown device type") },
        { type: 2, data: u32Bytes(20, order) },
      ],
      order,
    );
    const echo = encodeMessage(request, order);
    const refusal = (flags: number, parts: Uint8Array[]): Message => ({
      type: NLMSG_ERROR,
      flags,
      sequence: 1,
      port: 2,
      payload: concat([writer(4, order).i32(0, -95).bytes, ...parts]),
    });
    const verdict = { errno: 95, message: "Unknown device type", offset: 20 };
    expect(decodeError(refusal(NLM_F_ACK_TLVS, [echo, words]), order)).toEqual(verdict);
    expect(decodeError(refusal(NLM_F_ACK_TLVS | NLM_F_CAPPED, [echo.subarray(0, 16), words]), order)).toEqual(verdict);
    expect(decodeError(refusal(0, [echo]), order)).toEqual({ errno: 95, message: null, offset: null });
    expect(decodeError({ ...refusal(NLM_F_ACK_TLVS, [words]), type: NLMSG_DONE }, order)).toEqual(verdict);
  });
});

test("the mark of nested and of network-order attributes is not part of the type", () => {
  const attributes = decodeAttributes(encodeAttributes([{ type: 18 | NLA_F_NESTED, data: bytes() }]));
  expect(attributes.has(18)).toBe(true);
});

test("of a repeated attribute the last counts, and all are available", () => {
  const repeated = [1, 2].map((value) => ({ type: 7, data: bytes(value) }));
  const attributes = decodeAttributes(encodeAttributes(repeated));
  expect(attributes.u8(7)).toBe(2);
  expect(attributes.all(7)).toEqual([bytes(1), bytes(2)]);
});

test("the last attribute and the last message may go unpadded", () => {
  expect(decodeAttributes(encodeAttributes([{ type: 1, data: bytes(1) }]).subarray(0, 5)).u8(1)).toBe(1);
  const unpadded = encodeMessage({ type: 1, flags: 0, sequence: 0, port: 0, payload: bytes(1) }).subarray(0, 17);
  expect(decodeMessages(unpadded)).toHaveLength(1);
});

test("an attribute too long for its length field is not encoded", () => {
  expect(() => encodeAttributes([{ type: 1, data: new Uint8Array(65532) }])).toThrow(RangeError);
});

describe("wrong lengths", () => {
  const withLength = (length: number): Uint8Array => writer(32).u32(0, length).bytes;

  test.each([0, 1, 15, 33, 0x7fffffff, 0xffffffff])(
    "a message of %d bytes in a datagram of 32 is refused",
    (length) => {
      expect(() => decodeMessages(withLength(length))).toThrow(NetlinkFormatError);
    },
  );

  test.each([0, 1, 3, 9, 0xffff])("an attribute of %d bytes in a payload of 8 is refused", (length) => {
    expect(() => decodeAttributes(writer(8).u16(0, length).bytes)).toThrow(NetlinkFormatError);
  });

  test("the rest of a header is refused, and so is a payload that ends before its attributes begin", () => {
    expect(() => decodeMessages(new Uint8Array(15))).toThrow(NetlinkFormatError);
    expect(() => decodeAttributes(new Uint8Array(3))).toThrow(NetlinkFormatError);
    expect(() => decodeAttributes(new Uint8Array(8), 12)).toThrow(NetlinkFormatError);
  });

  test("a verdict whose repeated request claims to be longer than the message is refused", () => {
    const payload = concat([writer(4).i32(0, -1).bytes, writer(16).u32(0, 0xfffffff0).bytes]);
    expect(() => decodeError({ type: NLMSG_ERROR, flags: NLM_F_ACK_TLVS, sequence: 0, port: 0, payload })).toThrow(
      NetlinkFormatError,
    );
    expect(() => decodeError({ type: NLMSG_ERROR, flags: 0, sequence: 0, port: 0, payload: bytes(1, 2) })).toThrow(
      NetlinkFormatError,
    );
  });
});

const captures = [
  "host-links",
  "stacked-links",
  "host-routes",
  "multipath-routes",
  "nexthops-routes",
  "host-family-ethtool",
];

/** Reads everything that can be read as attributes, eight levels deep. */
function walk(attributes: Attributes, depth = 8): number {
  if (depth === 0) return 0;
  return attributes.entries.reduce((count, { data }) => {
    try {
      return count + 1 + walk(decodeAttributes(data), depth - 1);
    } catch (error) {
      if (!(error instanceof NetlinkFormatError)) throw error;
      return count + 1;
    }
  }, 0);
}

test.each(captures)("every truncation of %s is refused or read as fewer messages", (name) => {
  for (const datagram of readCapture(name).datagrams) {
    const whole = decodeMessages(datagram).length;
    for (let length = 0; length < datagram.length; length++) {
      try {
        expect(decodeMessages(datagram.subarray(0, length)).length).toBeLessThan(whole);
      } catch (error) {
        expect(error).toBeInstanceOf(NetlinkFormatError);
      }
    }
  }
});

test.each(captures)("any byte of %s may be wrong without another outcome than an answer or a refusal", (name) => {
  for (const datagram of readCapture(name).datagrams) {
    for (let offset = 0; offset < datagram.length; offset += 1) {
      const wrong = datagram.slice();
      wrong[offset] = wrong[offset]! ^ 0xff;
      try {
        for (const message of decodeMessages(wrong)) {
          walk(decodeAttributes(message.payload, Math.min(message.payload.length, 12)), 2);
          if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) decodeError(message);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(NetlinkFormatError);
      }
    }
  }
});
