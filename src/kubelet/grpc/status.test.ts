import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { codeOf, decodeMessage, describeStatus, encodeMessage, status, StatusError } from "./status.ts";

test.each([
  ["no device", "no device"],
  ["100 %", "100 %25"],
  ["a\nb\t\x7f", "a%0Ab%09%7F"],
  ["Größe", "Gr%C3%B6%C3%9Fe"],
  ["😀", "%F0%9F%98%80"],
  ["", ""],
])("the message %j travels as %j", (text, encoded) => {
  expect(encodeMessage(text)).toBe(encoded);
  expect(decodeMessage(encoded)).toBe(text);
});

test.each([
  ["50% done", "50% done"],
  ["%", "%"],
  ["%zz%41", "%zzA"],
  ["%FF", "\uFFFD"],
])("%j, which no peer should send, is read as %j", (encoded, text) => {
  expect(decodeMessage(encoded)).toBe(text);
});

test("every message comes back, and is printable ASCII on its way", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const encoded = encodeMessage(text);
      expect(encoded).toMatch(/^[ -~]*$/);
      expect(decodeMessage(encoded)).toBe(text.toWellFormed());
    }),
  );
});

test("a status is told by number and name, also one that is not known", () => {
  expect(describeStatus(status.UNIMPLEMENTED)).toBe("12 UNIMPLEMENTED");
  expect(describeStatus(99)).toBe("99 (no known status)");
});

test("what was thrown without a status is INTERNAL", () => {
  expect(codeOf(new StatusError(status.UNAVAILABLE, "gone"))).toBe(status.UNAVAILABLE);
  expect(codeOf(new TypeError("x"))).toBe(status.INTERNAL);
  expect(codeOf(null)).toBe(status.INTERNAL);
});
