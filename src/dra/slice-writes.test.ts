import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { aPool, aVf, context, vfs, written } from "../../test/support/published-slices.ts";
import { sliceProblems } from "../../test/support/resource-api.ts";
import type { ResourceSlice } from "./resource-slice.ts";
import { desiredSlices, isLoss, sliceWrites } from "./slices.ts";

describe("the writes", () => {
  const pools = [aPool([...vfs(3), ...vfs(2, "0000:af:00.0")])];
  const desired = desiredSlices(pools, context);
  const there = written([], desired, context);

  test("create a slice a pool, which belongs to the node", () => {
    const [create, ...more] = sliceWrites(desired, [], context);
    expect(more.map(({ action }) => action)).toEqual(["create"]);
    expect(create?.slice).toMatchObject({
      metadata: {
        name: "node-a-sriovdp.example.com-0000-3b-00.0",
        ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "node-a", uid: context.node.uid, controller: true }],
      },
      spec: {
        driver: "sriovdp.example.com",
        nodeName: "node-a",
        pool: { name: "node-a/0000-3b-00.0", generation: 1, resourceSliceCount: 1 },
      },
    });
  });

  test("are empty when all slices are as desired, whatever others added", () => {
    expect(sliceWrites(desired, there, context)).toEqual([]);
    const edited = there.map((slice) => ({
      ...slice,
      metadata: { ...slice.metadata, labels: { a: "b" }, annotations: { c: "d" }, finalizers: ["e"] },
      spec: { ...slice.spec, aNewField: true },
    }));
    expect(sliceWrites(desired, edited, context, { "sriovdp.example.com/instance": "2" })).toEqual([]);
  });

  test("of a link that flaps are one each time, of the same generation, and at most 32 KiB", () => {
    const all = vfs(64);
    const before = written([], desiredSlices([aPool(all)], context), context);
    const down = desiredSlices(
      [
        aPool(
          all,
          all.map(({ id }) => id),
        ),
      ],
      context,
    );
    const tainted = written(before, down, context);
    const [goesDown, ...more] = sliceWrites(down, before, context);
    const [comesUp, ...others] = sliceWrites(desiredSlices([aPool(all)], context), tainted, context);
    expect([...more, ...others]).toEqual([]);
    for (const write of [goesDown, comesUp]) {
      expect(write).toMatchObject({ action: "update", slice: { spec: { pool: { generation: 1 } } } });
      expect(JSON.stringify(write?.slice).length).toBeLessThanOrEqual(32_768);
    }
    // Another change while all taints are there, with their times.
    const [held] = sliceWrites(
      desiredSlices(
        [
          aPool(
            all,
            all.map(({ id }) => id),
          ),
        ],
        { ...context, attributes: "default", heldElsewhere: new Set([all[0]?.id ?? ""]) },
      ),
      tainted,
      context,
    );
    expect(JSON.stringify(held?.slice).length).toBeLessThanOrEqual(32_768);
  });

  test("repair a changed or deleted slice, and no other", () => {
    const [first, second] = there;
    if (!first || !second) throw new Error("no slices");
    expect(sliceWrites(desired, [second], context).map(({ action, slice }) => [action, slice.metadata.name])).toEqual([
      ["create", first.metadata.name],
    ]);
    const stolen = { ...first, spec: { ...first.spec, devices: first.spec.devices?.slice(1) } };
    expect(sliceWrites(desired, [stolen, second], context).map(({ action }) => action)).toEqual(["update"]);
  });

  test("keep labels, annotations and finalizers of others, and add their own", () => {
    const [first] = there;
    if (!first) throw new Error("no slice");
    const theirs = { labels: { a: "b" }, annotations: { c: "d" }, finalizers: ["e"] };
    const edited = { ...first, metadata: { ...first.metadata, ...theirs }, spec: { ...first.spec, devices: [] } };
    const [update] = sliceWrites(desired, [edited], context, { "sriovdp.example.com/instance": "2" });
    expect(JSON.parse(JSON.stringify(update?.slice.metadata))).toEqual({
      ...first.metadata,
      ...theirs,
      annotations: { c: "d", "sriovdp.example.com/instance": "2" },
      managedFields: undefined,
      ownerReferences: first.metadata.ownerReferences,
    });
  });

  test("update the owner when the Node object was recreated", () => {
    const node = { ...context.node, uid: "3f2c1a00-0000-4000-8000-000000000002" };
    const updates = sliceWrites(desired, there, { ...context, node });
    expect(updates.map(({ action, slice }) => [action, slice.metadata.ownerReferences?.[0]?.uid])).toEqual([
      ["update", node.uid],
      ["update", node.uid],
    ]);
  });

  test("delete obsolete slices before any is created", () => {
    const writes = sliceWrites(desiredSlices([aPool(vfs(1, "0000:d8:00.0"))], context), there, context);
    expect(writes.map(({ action }) => action)).toEqual(["delete", "delete", "create"]);
  });

  test("replace another slice of the pool, with a generation above it", () => {
    const [first] = there;
    if (!first) throw new Error("no slice");
    const pool = { ...first.spec.pool, generation: 7, resourceSliceCount: 2 };
    const rival = { ...first, metadata: { ...first.metadata, name: "00000-other" }, spec: { ...first.spec, pool } };
    for (const found of [[rival], [rival, first]]) {
      const [remove, write] = sliceWrites(desired, found, context);
      expect([remove?.action, remove?.slice.metadata.name]).toEqual(["delete", "00000-other"]);
      expect(write?.slice.spec.pool).toEqual({ name: first.spec.pool.name, generation: 8, resourceSliceCount: 1 });
    }
  });

  test("replace a slice of our name that is of another pool, since that can't be changed", () => {
    const [first, second] = there;
    if (!first || !second) throw new Error("no slices");
    const other = { ...first, spec: { ...first.spec, pool: { ...first.spec.pool, name: "node-a" } } };
    expect(
      sliceWrites(desired, [other, second], context).map(({ action, slice }) => [action, slice.metadata.name]),
    ).toEqual([
      ["delete", first.metadata.name],
      ["create", first.metadata.name],
    ]);
  });

  test("leave nothing to do, whatever was there", () => {
    const pf = fc.constantFrom("0000:3b:00.0", "0000:af:00.1", "10000:01:00.0");
    const device = fc.tuple(fc.nat(200), pf).map(([index, address]) => aVf(index, address));
    const state = fc.record({
      devices: fc.array(device, { maxLength: 100 }),
      unhealthy: fc.array(fc.nat(99)),
      held: fc.array(fc.nat(99)),
      hasTaints: fc.boolean(),
      attributes: fc.constantFrom("default" as const, "extended" as const),
    });
    fc.assert(
      fc.property(fc.array(state, { minLength: 1, maxLength: 4 }), (states) => {
        let found: ResourceSlice[] = [];
        for (const { devices, unhealthy, held, hasTaints, attributes } of states) {
          const ids = (numbers: readonly number[]) => numbers.flatMap((number) => devices[number]?.id ?? []);
          const own = { ...context, hasTaints, attributes, heldElsewhere: new Set(ids(held)) };
          const desired = desiredSlices([aPool(devices, ids(unhealthy))], own);
          found = written(found, desired, own);
          expect(sliceWrites(desired, found, own)).toEqual([]);
          for (const slice of found) expect(sliceProblems(slice)).toEqual([]);
        }
      }),
      { seed: 20_261_128, numRuns: 100 },
    );
  });
});

describe("a change of devices", () => {
  const [a, b] = desiredSlices([aPool(vfs(2))], context).flatMap(({ devices }) => devices);
  if (!a || !b) throw new Error("no devices");
  const taint = { key: "a/b", effect: "NoSchedule" };
  const tainted = { ...a, taints: [taint] };
  test.each([
    ["nothing", [a, b], [a, b], false],
    ["another order", [a, b], [b, a], false],
    ["a device more", [a], [a, b], false],
    ["a device less", [a, b], [b], true],
    ["a taint more", [a], [tainted], true],
    ["a second taint", [tainted], [{ ...a, taints: [taint, { key: "a/c", effect: "NoSchedule" }] }], true],
    ["a taint with another value", [tainted], [{ ...a, taints: [{ ...taint, value: "x" }] }], true],
    ["a taint with a time", [tainted], [{ ...a, taints: [{ ...taint, timeAdded: "2026-01-01T00:00:00Z" }] }], false],
    ["a taint less", [tainted], [a], false],
    ["another attribute", [a], [{ ...a, attributes: { ...a.attributes, driver: { string: "x" } } }], true],
    [
      "the order of attributes",
      [a],
      [{ ...a, attributes: Object.fromEntries(Object.entries(a.attributes).toReversed()) }],
      false,
    ],
  ])("by %s takes nothing away, or does", (_, before, after, expected) => {
    expect(isLoss(before, after)).toBe(expected);
  });
});
