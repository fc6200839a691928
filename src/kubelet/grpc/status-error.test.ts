import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { codeOf, status, StatusError, statusObjectOf } from "./status-error.ts";

test("a thrown value without a status is INTERNAL", () => {
  expect(codeOf(new StatusError(status.UNAVAILABLE, "gone"))).toBe(status.UNAVAILABLE);
  expect(codeOf(new TypeError("x"))).toBe(status.INTERNAL);
  expect(codeOf(null)).toBe(status.INTERNAL);
});

test("a caller receives the code and the words, of whatever was thrown", () => {
  expect(statusObjectOf(new StatusError(status.NOT_FOUND, "100 % gone: ü\n"))).toEqual({
    code: status.NOT_FOUND,
    details: "100 % gone: ü\n",
  });
  expect(statusObjectOf("a string")).toMatchObject({ code: status.INTERNAL, details: "a string" });
});

// grpc-js encodes the words with encodeURI, which throws on half a surrogate pair: also where the text was cut between two.
test("any words can be sent, and are not longer than a header may be", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.nat(4100), (text, padding) => {
      const { details } = statusObjectOf(new Error("x".repeat(padding) + text));
      expect(details.length).toBeLessThanOrEqual(4096);
      expect(decodeURI(encodeURI(details))).toBe(details);
    }),
  );
});
