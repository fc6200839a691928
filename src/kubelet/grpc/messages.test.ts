import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { prefixed, SingleMessage } from "./messages.ts";
import { status } from "./status.ts";

/** Feeds pieces to a reader of at most 100 bytes, and takes the message. */
function read(...pieces: readonly Uint8Array[]): Buffer {
  const message = new SingleMessage(100);
  for (const piece of pieces) message.add(Buffer.from(piece));
  return message.whole();
}

/** The status of the error that reading these pieces throws. */
function refusal(...pieces: readonly Uint8Array[]): unknown {
  try {
    return read(...pieces);
  } catch (error) {
    return (error as { code: unknown }).code;
  }
}

test("a message is sent behind its length, as grpc-go sends it", () => {
  // Captured: AllocateRequest for one device.
  const request = Buffer.from("0a0e0a0c303030303a31303a30312e30", "hex");
  expect(prefixed(request).toString("hex")).toBe(`0000000010${request.toString("hex")}`);
  expect(prefixed(new Uint8Array()).toString("hex")).toBe("0000000000");
});

test("what is sent is read, in whatever pieces it comes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(fc.nat(105), { maxLength: 6 }), (sent, cuts) => {
      const bytes = prefixed(sent);
      const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
      const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      expect(new Uint8Array(read(...pieces))).toEqual(sent);
    }),
  );
});

test("a message that comes byte by byte costs no more than its bytes", () => {
  // Joined at every piece it would be copied 32 GiB; the test's time limit would end it.
  const sent = prefixed(new Uint8Array(256 << 10).fill(7));
  const message = new SingleMessage(1 << 20);
  for (let at = 0; at < sent.length; at++) message.add(sent.subarray(at, at + 1));
  expect(message.whole()).toHaveLength(256 << 10);
});

test("pieces are not written to, and none but the first is kept", () => {
  const sent = prefixed(Uint8Array.from({ length: 60 }, (_, index) => index));
  const [first, second, third] = [sent.subarray(0, 20), sent.subarray(20, 21), sent.subarray(21)].map((part) =>
    // Each in front of bytes that are not its own.
    Buffer.concat([part, Buffer.alloc(100, 0xee)]).subarray(0, part.length),
  ) as [Buffer, Buffer, Buffer];
  const message = new SingleMessage(100);
  for (const piece of [first, second, third]) {
    message.add(piece);
    if (piece !== first) piece.fill(0xff);
  }
  expect(message.whole()).toEqual(sent.subarray(5));
  expect(new Uint8Array(first.buffer, first.byteOffset + first.length, 100)).toEqual(new Uint8Array(100).fill(0xee));
});

describe("a message is refused", () => {
  test.each([
    ["that never comes", [], status.INTERNAL],
    ["that ends in its prefix", [[0, 0, 0]], status.INTERNAL],
    ["that ends within", [[0, 0, 0, 0, 3, 1, 2]], status.INTERNAL],
    ["that is followed by another", [[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0]], status.INTERNAL],
    ["that is followed by another, in pieces", [[0, 0, 0, 0, 1, 7], [0]], status.INTERNAL],
    ["that is compressed", [[1, 0, 0, 0, 1, 7]], status.UNIMPLEMENTED],
    ["whose flag is none", [[255, 0, 0, 0, 1, 7]], status.UNIMPLEMENTED],
    ["that is a byte too long", [[0, 0, 0, 0, 101]], status.RESOURCE_EXHAUSTED],
    ["that says to be 4 GiB long, before a byte of it came", [[0, 255, 255, 255, 255]], status.RESOURCE_EXHAUSTED],
  ] as const)("%s", (_, pieces, code) => {
    expect(refusal(...pieces.map((piece) => Uint8Array.from(piece)))).toBe(code);
  });

  test("whatever else the bytes are, without another error", () => {
    const codes: readonly unknown[] = [status.INTERNAL, status.UNIMPLEMENTED, status.RESOURCE_EXHAUSTED];
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }), (pieces) => {
        const found = refusal(...pieces);
        expect(Buffer.isBuffer(found) || codes.includes(found)).toBeTrue();
      }),
    );
  });
});
