import { expect, test } from "bun:test";
import { aDevice, aSpec } from "../../test/support/device.ts";
import { assignPools } from "./assign.ts";
import { diff, inSafeOrder, movesBetween, unseenMoves, withoutGained, withoutLost } from "./diff.ts";
import type { Pool } from "./pool.ts";

const equal = (a: Pool, b: Pool) => Bun.deepEquals(a, b);
const pool = (name: string, ...ids: string[]) => {
  const [made] = assignPools(
    [aSpec({ name })],
    ids.map((id) => aDevice({ id })),
  );
  if (!made) throw new Error("a spec makes a pool");
  return made;
};
const running = (...pools: Pool[]) => new Map(pools.map((each) => [each.spec.resource, each]));

test("a pool that got its first device is started", () => {
  const now = pool("A", "0000:3b:02.1");
  expect(diff(new Map(), [now], equal)).toEqual([{ kind: "start", pool: now }]);
});

test("a pool that never had a device is not started", () => {
  expect(diff(new Map(), [pool("A")], equal)).toEqual([]);
});

test("a pool that lost its last device goes on with an empty list", () => {
  expect(diff(running(pool("A", "0000:3b:02.1")), [pool("A")], equal)).toEqual([{ kind: "update", pool: pool("A") }]);
});

test("an unchanged pool has no effect", () => {
  expect(diff(running(pool("A", "0000:3b:02.1")), [pool("A", "0000:3b:02.1")], equal)).toEqual([]);
});

test("a pool that left the config is stopped before others are changed", () => {
  const now = pool("B", "0000:3b:02.1");
  expect(diff(running(pool("A", "0000:3b:02.1")), [now], equal)).toEqual([
    { kind: "stop", resource: "intel.com/A" },
    { kind: "start", pool: now },
  ]);
});

test("pools that lose devices change before those that get them", () => {
  const [a, b, c] = ["0000:3b:02.1", "0000:3b:02.2", "0000:3b:02.3"] as const;
  const before = running(pool("A", a), pool("B", b, c), pool("C", c));
  const effects = diff(before, [pool("A", a, b), pool("B", c), pool("D", c)], equal);
  expect(inSafeOrder(effects, before).map((effect) => effect.kind)).toEqual(["stop", "update", "update", "start"]);
  const updated = inSafeOrder(effects, before).flatMap((effect) =>
    effect.kind === "update" ? [effect.pool.spec.name] : [],
  );
  expect(updated).toEqual(["B", "A"]);
});

test("the devices of a swap are two moves; those that leave, come or stay are not moves", () => {
  const [a, b, c, d] = ["0000:3b:02.1", "0000:3b:02.2", "0000:3b:02.3", "0000:3b:02.4"] as const;
  const before = running(pool("A", a, c), pool("B", b, d));
  expect(movesBetween(before, [pool("A", b, c), pool("B", a, "0000:3b:02.5")])).toEqual([
    { id: b, from: "intel.com/B", to: "intel.com/A" },
    { id: a, from: "intel.com/A", to: "intel.com/B" },
  ]);
  expect(movesBetween(before, [pool("A", a, c), pool("B", b)])).toEqual([]);
  expect(movesBetween(new Map(), [pool("A", a)])).toEqual([]);
});

test("before a pool gains devices it has what it had, without what it loses", () => {
  const [a, b, c] = ["0000:3b:02.1", "0000:3b:02.2", "0000:3b:02.3"] as const;
  const before = { ...pool("A", a, c), unhealthy: new Map([a, c].map((id) => [id, "why"])) };
  const between = withoutLost(before, pool("A", b, c));
  expect([[...between.claims.keys()], [...between.unhealthy.keys()]]).toEqual([[c], [c]]);
});

test("a pool that gains nothing yet has what it keeps, with the health of now", () => {
  const [a, b, c] = ["0000:3b:02.1", "0000:3b:02.2", "0000:3b:02.3"] as const;
  const before = { ...pool("A", a, c), unhealthy: new Map([[a, "why"]]) };
  const after = { ...pool("A", b, c), unhealthy: new Map([b, c].map((id) => [id, "now"])) };
  const between = withoutGained(before, after);
  expect([[...between.claims.keys()], [...between.unhealthy]]).toEqual([[c], [[c, "now"]]]);
});

test.each<[what: string, registered: [string, string[]][], unseen: number]>([
  ["still has the device in the pool that lost it", [["intel.com/A", ["x", "y"]]], 1],
  ["has it there no more", [["intel.com/A", ["y"]]], 0],
  ["has it in the other pool already", [["intel.com/B", ["x"]]], 0],
  ["does not know the resource", [], 0],
])("of a kubelet that %s", (_, registered, unseen) => {
  const known = new Map(registered.map(([resource, ids]) => [resource, new Set(ids)]));
  expect(unseenMoves([{ id: "x", from: "intel.com/A", to: "intel.com/B" }], known)).toHaveLength(unseen);
});
