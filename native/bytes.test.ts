import { describe, expect, test } from "bun:test";
import {
  type ByteOrder,
  concat,
  hexOf,
  hostOrder,
  reader,
  terminated,
  textOf,
  u32Bytes,
  view,
  writer,
} from "./bytes.ts";

describe.each(["little", "big"] as ByteOrder[])("in %s-endian order", (order) => {
  test("every number is read as it was written", () => {
    const { bytes } = writer(24, order)
      .u8(0, 0xfe)
      .u16(2, 0xfedc)
      .u32(4, 0xfedcba98)
      .i32(8, -2)
      .u64(16, 0xfedcba9876543210n);
    const data = reader(bytes, order);
    expect([data.u8(0), data.u16(2), data.u32(4), data.i32(8), data.u64(16)]).toEqual([
      0xfe,
      0xfedc,
      0xfedcba98,
      -2,
      0xfedcba9876543210n,
    ]);
  });

  test("reading or writing outside the bytes throws", () => {
    const bytes = new Uint8Array(8).subarray(0, 3);
    expect(() => reader(bytes, order).u32(0)).toThrow(RangeError);
    expect(() => reader(bytes, order).u8(-1)).toThrow(RangeError);
    expect(() => writer(bytes, order).u16(2, 1)).toThrow(RangeError);
  });
});

test("the two orders differ by which byte comes first", () => {
  expect(hexOf(u32Bytes(0x01020304, "big"))).toBe("01020304");
  expect(hexOf(u32Bytes(0x01020304, "little"))).toBe("04030201");
  expect(hexOf(u32Bytes(1))).toBe(hexOf(u32Bytes(1, hostOrder)));
});

test("a view keeps to its part of a larger buffer", () => {
  const part = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
  expect(view(part).byteLength).toBe(2);
  expect(reader(part).u8(0)).toBe(2);
});

test("texts end at their NUL, or where the bytes end", () => {
  expect(textOf(terminated("eth0"))).toBe("eth0");
  expect(textOf(new TextEncoder().encode("eth0"))).toBe("eth0");
  expect(textOf(new TextEncoder().encode("eth0\0rest"))).toBe("eth0");
  expect(textOf(new Uint8Array(0))).toBe("");
});

test("parts are joined in order", () => {
  expect(hexOf(concat([new Uint8Array([1]), new Uint8Array(0), new Uint8Array([2, 3])]))).toBe("010203");
  expect(concat([]).length).toBe(0);
});
