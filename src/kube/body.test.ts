import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { BodyError, linesOf, readBeginning, readBody } from "./body.ts";

/** A body that comes in these pieces. */
const bodyOf = (...pieces: readonly Uint8Array[]) =>
  new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });

const cutAt = (text: string, places: readonly number[]): Uint8Array[] => {
  const bytes = Buffer.from(text);
  const ends = [...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
};

test("lines are the same in whichever pieces they come, also when those cut a character", async () => {
  const lines = fc.array(fc.string({ unit: "grapheme" }).map((line) => line.replaceAll("\n", "")));
  await fc.assert(
    fc.asyncProperty(lines, fc.array(fc.nat()), async (all, places) => {
      const body = bodyOf(...cutAt(all.map((line) => `${line}\n`).join(""), places));
      expect(await Array.fromAsync(linesOf(body, 10_000))).toEqual(all);
    }),
    { seed: 20_261_128, numRuns: 300 },
  );
});

test.each([
  [4, "abcd\n", null],
  [4, "abcde\n", "a line has more than 4 bytes"],
  [4, "abcde", "a line has more than 4 bytes"],
  [4, "ab\nabcde", "a line has more than 4 bytes"],
  [4, "ä€\n", "a line has more than 4 bytes"],
  [4, "abc", "the connection ended in the middle of a line"],
])("of at most %d bytes a line, %j ends with %p", async (max, text, message) => {
  for (const pieces of [cutAt(text, []), cutAt(text, [1, 2, 3, 4, 5])]) {
    const reading = Array.fromAsync(linesOf(bodyOf(...pieces), max));
    if (message === null) expect(await reading).toEqual([text.trim()]);
    else expect(reading).rejects.toThrow(message);
    await reading.catch(() => {});
  }
});

test("a body is read up to its limit, and its beginning without one", async () => {
  expect(await readBody(bodyOf(...cutAt("abcd", [2])), 4)).toBe("abcd");
  expect(readBody(bodyOf(...cutAt("abcde", [2])), 4)).rejects.toThrow(BodyError);
  expect(await readBeginning(bodyOf(...cutAt("abcde", [2])), 4)).toBe("abcd");
  expect(await readBody(null, 4)).toBe("");
});
