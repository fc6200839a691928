import { expect, test } from "bun:test";
import { BackOff } from "./back-off.ts";

test("waits double up to the maximum, each at most a quarter longer", () => {
  for (let round = 0; round < 50; round++) {
    const backOff = new BackOff(1000, 30_000);
    for (const least of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      const wait = backOff.wait();
      expect(wait).toBeGreaterThanOrEqual(least);
      expect(wait).toBeLessThanOrEqual(least * 1.25);
    }
  }
});

test("a fleet does not try in step", () => {
  expect(new Set(Array.from({ length: 50 }, () => new BackOff(1000, 30_000).wait())).size).toBeGreaterThan(10);
});

test("after a success the first wait is short again", () => {
  const backOff = new BackOff(1000, 30_000);
  for (let tries = 0; tries < 9; tries++) backOff.wait();
  backOff.reset();
  expect(backOff.wait()).toBeLessThanOrEqual(1250);
});
