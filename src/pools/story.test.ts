import { expect, test } from "bun:test";
import { aClaim, aDevice, aSpec } from "../../test/support/device.ts";
import type { Pool } from "./pool.ts";
import { openingOf, storyOf } from "./story.ts";

const spec = aSpec();

const poolOf = (ids: readonly string[], unhealthy: Readonly<Record<string, string>> = {}): Pool => ({
  spec,
  claims: new Map(ids.map((id) => [id, aClaim(aDevice({ id }))])),
  unhealthy: new Map(Object.entries(unhealthy)),
});

const told = (before: Pool, now: Pool) => storyOf(before, now).map(({ level, message }) => `${level} ${message}`);

test("a pool that did not change is not talked about", () => {
  expect(told(poolOf(["a", "b"], { b: "why" }), poolOf(["a", "b"], { b: "why" }))).toEqual([]);
});

test("devices that came and left are named", () => {
  const [line] = storyOf(poolOf(["a", "b"]), poolOf(["b", "c"]));
  expect(line).toMatchObject({ level: "info", fields: { came: ["c"], left: ["a"], devices: 2 } });
});

test("devices that became Unhealthy are told once a reason, and those that recovered", () => {
  const before = poolOf(["a", "b", "c", "d"], { d: "x", c: "x" });
  const lines = storyOf(before, poolOf(["a", "b", "c", "d"], { a: "x", b: "x", c: "y" }));
  expect(lines.map(({ message, fields }) => [message, fields["reason"], fields["devices"]])).toEqual([
    ["devices are Unhealthy", "x", ["a", "b"]],
    ["devices are Unhealthy", "y", ["c"]],
    ["devices are Healthy again", undefined, ["d"]],
  ]);
});

test("an Unhealthy device that left is not called Healthy again", () => {
  expect(told(poolOf(["a"], { a: "x" }), poolOf([]))).toEqual(["info the pool's devices changed"]);
});

test("a pool that starts with Unhealthy devices warns once a reason, with their number and the switch", () => {
  const [, warning, ...more] = openingOf(poolOf(["a", "b", "c"], { a: "pf0 is down", b: "pf0 is down" }));
  expect(more).toEqual([]);
  expect(warning).toMatchObject({ level: "warn", fields: { reason: "pf0 is down", functions: 2 } });
  expect(warning?.message).toContain("--link-health=false");
});
