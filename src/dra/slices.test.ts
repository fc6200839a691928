import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { aClaim, aDevice, aParent, aPf, aSpec, aSubFunction, pciAddress } from "../../test/support/device.ts";
import { sliceProblems } from "../../test/support/resource-api.ts";
import type { Device } from "../host/device.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { type ResourceSlice, resourceSlices } from "./resource-slice.ts";
import { type DesiredSlice, desiredSlices, dropsTaints, type SliceContext, sliceWrites } from "./slices.ts";

const context: SliceContext = {
  driver: "sriovdp.example.com",
  node: { name: "node-a", uid: "3f2c1a00-0000-4000-8000-000000000001" },
  attributes: "default",
  hasTaints: true,
  heldElsewhere: new Set(),
};

const aPool = (devices: readonly Device[], unhealthy: readonly string[] = [], spec: Partial<PoolSpec> = {}): Pool => ({
  spec: aSpec(spec),
  claims: new Map(devices.map((device) => [device.id, aClaim(device)])),
  unhealthy: new Map(unhealthy.map((id) => [id, "the link of its PF is down"])),
});

/** VF `index` of the PF at 0000:3b:00.0, or of another one. */
function aVf(index: number, pf = "0000:3b:00.0"): Device {
  const id = `${pf.slice(0, -4)}${(2 + (index >> 3)).toString(16).padStart(2, "0")}.${index & 7}`;
  return aDevice({ id, pci: pciAddress(id), functionIndex: index, pf: aParent({ address: pciAddress(pf) }) });
}

const vfs = (count: number, pf?: string) => Array.from({ length: count }, (_, index) => aVf(index, pf));

/** The pools of slices, each with the names of its devices. */
const published = (pools: readonly Pool[], own: Partial<SliceContext> = {}) =>
  Object.fromEntries(
    desiredSlices(pools, { ...context, ...own }).map(({ pool, devices }) => [pool, devices.map(({ name }) => name)]),
  );

/** What the API server has after the writes; each of them is one that it takes. */
function written(
  found: readonly ResourceSlice[],
  desired: readonly DesiredSlice[],
  own: SliceContext = context,
): ResourceSlice[] {
  const now = new Map(found.map((slice) => [slice.metadata.name, slice]));
  for (const { action, slice } of sliceWrites(desired, found, own)) {
    const { name } = slice.metadata;
    const before = now.get(name);
    if (action === "delete") {
      expect(now.delete(name)).toBe(true);
      continue;
    }
    expect(before === undefined).toBe(action === "create");
    expect(sliceProblems(slice, before)).toEqual([]);
    now.set(name, served(slice));
  }
  return [...now.values()];
}

let version = 0;
function served(slice: ResourceSlice): ResourceSlice {
  const devices = (slice.spec.devices ?? []).map((device) => ({
    ...device,
    ...(device.taints && { taints: device.taints.map((taint) => ({ timeAdded: "2026-11-28T09:00:00Z", ...taint })) }),
  }));
  const metadata = {
    uid: "3f2c1a00-0000-4000-8000-00000000000a",
    ...slice.metadata,
    resourceVersion: String(++version),
    managedFields: [{ manager: "sriovdp" }],
  };
  return resourceSlices.parse(JSON.parse(JSON.stringify({ ...slice, metadata, spec: { ...slice.spec, devices } })));
}

describe("the pools of slices", () => {
  test("are one a PF, and their devices are in the order of their indexes, whichever pool of ours has them", () => {
    const [first, second] = [vfs(12), vfs(2, "0000:af:00.1")];
    const pools = [
      aPool([...first.slice(6), ...second].toReversed()),
      aPool(first.slice(0, 6), [], { prefix: "intel.com", name: "other" }),
    ];
    const names = published(pools);
    expect(Object.keys(names)).toEqual(["node-a/0000-3b-00.0", "node-a/0000-af-00.1"]);
    expect(names["node-a/0000-3b-00.0"]).toEqual(first.map(({ id }) => id.replaceAll(/[:.]/g, "-")));
  });

  test("are cut at 64 indexes, so that no device moves when others come and go", () => {
    const many = vfs(130);
    const whole = published([aPool(many)]);
    expect(Object.entries(whole).map(([pool, names]) => [pool, names.length])).toEqual([
      ["node-a/0000-3b-00.0", 64],
      ["node-a/0000-3b-00.0/128", 2],
      ["node-a/0000-3b-00.0/64", 64],
    ]);
    const some = published([aPool(many.filter((_, index) => index % 3 === 0))]);
    for (const [pool, names] of Object.entries(some)) for (const name of names) expect(whole[pool]).toContain(name);
  });

  test("keep VFs, SFs and the PF itself apart: each kind has indexes of its own", () => {
    const pf = aParent({ address: pciAddress("0000:3b:00.0") });
    const functions = [aVf(0), aSubFunction({ functionIndex: 0, pf }), aPf()];
    expect(published([aPool(functions)])).toEqual({
      "node-a/0000-3b-00.0": ["0000-3b-02-0"],
      "node-a/0000-3b-00.0/function": ["0000-3b-00-0"],
      "node-a/0000-3b-00.0/sf-0": ["mlx5-core-sf-4"],
    });
  });

  test("of devices without PF or index are one a device", () => {
    const accelerators = ["0000:b1:00.0", "0000:b2:00.0"].map((id) =>
      aDevice({ id, pci: pciAddress(id), pciClass: 0x12, pf: null, functionIndex: null }),
    );
    const unknown = aSubFunction({ functionIndex: null });
    expect(Object.keys(published([aPool([...accelerators, unknown])]))).toEqual([
      "node-a/0000-b1-00.0/function",
      "node-a/0000-b2-00.0/function",
      "node-a/mlx5-core.sf.4/function",
    ]);
  });

  test("never have more than 64 devices, even with equal indexes", () => {
    const same = vfs(70).map((device) => ({ ...device, functionIndex: 3 }));
    const names = published([aPool(same)]);
    expect(Object.values(names).map(({ length }) => length)).toEqual([64, 6]);
    expect(new Set(Object.values(names).flat()).size).toBe(70);
  });

  test("leave out resources with a name too long for multus to find, and no others", () => {
    const long = { prefix: `${"a".repeat(40)}.com`, name: "b".repeat(30) };
    expect(published([aPool(vfs(1), [], long), aPool(vfs(1, "0000:af:00.0"))])).toEqual({
      "node-a/0000-af-00.0": ["0000-af-02-0"],
    });
  });
});

describe("a device that must not be allocated", () => {
  const [down = aVf(0), held = aVf(1)] = vfs(2);
  const pools = [aPool([down, held], [down.id])];
  const heldElsewhere = new Set([held.id]);

  test("has a NoSchedule taint", () => {
    const [slice] = desiredSlices(pools, { ...context, heldElsewhere });
    expect(slice?.devices.map(({ taints }) => taints)).toEqual([
      [{ key: "sriovdp.example.com/unhealthy", effect: "NoSchedule" }],
      [{ key: "sriovdp.example.com/held", value: "device-plugin", effect: "NoSchedule" }],
    ]);
  });

  test("is left out when the API server drops taints", () => {
    expect(published(pools, { hasTaints: false })).toEqual({ "node-a/0000-3b-00.0": ["0000-3b-02-1"] });
    expect(published(pools, { hasTaints: false, heldElsewhere })).toEqual({});
  });

  test("keeps the time of its taint, and gets a new one with a new taint", () => {
    const before = written([], desiredSlices(pools, context), context);
    const later = desiredSlices(pools, { ...context, heldElsewhere: new Set([down.id]) });
    const [update] = sliceWrites(later, before, context);
    expect(update?.slice.spec.devices?.[0]?.taints?.map(({ key, timeAdded }) => [key, timeAdded])).toEqual([
      ["sriovdp.example.com/unhealthy", "2026-11-28T09:00:00Z"],
      ["sriovdp.example.com/held", undefined],
    ]);
  });

  test("reveals an API server that drops taints", () => {
    const [create] = sliceWrites(desiredSlices(pools, context), [], context);
    if (!create) throw new Error("no write");
    const received = served(create.slice);
    expect(dropsTaints(create.slice, received)).toBe(false);
    const devices = received.spec.devices?.map(({ name, attributes }) => ({ name, attributes }));
    expect(dropsTaints(create.slice, { ...received, spec: { ...received.spec, devices } })).toBe(true);
    expect(dropsTaints(received, received)).toBe(false);
  });
});

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

  test("are none when all slices are as desired, whatever others added", () => {
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

  test("keep labels, annotations and finalizers of others, and add ours", () => {
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
          const wanted = desiredSlices([aPool(devices, ids(unhealthy))], own);
          found = written(found, wanted, own);
          expect(sliceWrites(wanted, found, own)).toEqual([]);
          for (const slice of found) expect(sliceProblems(slice)).toEqual([]);
        }
      }),
      { seed: 20_261_128, numRuns: 100 },
    );
  });
});

describe("what is sent", () => {
  const longName = `${"n".repeat(240)}.example.com`;
  const cases: [string, readonly Device[], Partial<SliceContext>][] = [
    ["64 VFs", vfs(64), {}],
    ["64 VFs with all attributes", vfs(64), { attributes: "extended" }],
    ["every kind of device", [aVf(1), aSubFunction(), aPf()], { attributes: "extended" }],
    [
      "a node with the longest name",
      [aVf(1), aVf(70), aSubFunction(), aPf()],
      { node: { ...context.node, name: longName } },
    ],
    ["a driver with the longest name", [aVf(1)], { driver: `${"d".repeat(55)}.example` }],
  ];

  test.each(cases)("of %s is what the API takes", (_, devices, own) => {
    const all = { ...context, ...own };
    const writes = sliceWrites(desiredSlices([aPool(devices, [devices[0]?.id ?? ""])], all), [], all);
    expect(writes.length).toBeGreaterThan(0);
    for (const { slice } of writes) {
      expect(sliceProblems(slice)).toEqual([]);
    }
    expect(new Set(writes.map(({ slice }) => slice.metadata.name)).size).toBe(writes.length);
    expect(new Set(writes.map(({ slice }) => slice.spec.pool.name)).size).toBe(writes.length);
  });

  test("has other names for another node, however long those are", () => {
    const names = ["a", "b"].flatMap((letter) => {
      const node = { ...context.node, name: `${"n".repeat(240)}${letter}` };
      return desiredSlices([aPool([aVf(0)])], { ...context, node }).flatMap(({ name, pool }) => [name, pool]);
    });
    expect(new Set(names).size).toBe(4);
  });

  // A thousand nodes with 64 VFs cost the scheduler 226 MB with these, and 533 MB with sixteen attributes.
  test("is at most 350 bytes a device with the default attributes", () => {
    const largest = vfs(64, "10000:3b:00.0").map((device) => ({ ...device, pcieRoot: "pci10000:3a", numaNode: 15 }));
    const [slice] = desiredSlices(
      [aPool(largest, [], { prefix: "openshift.io", name: "sriov_network_mlx5" })],
      context,
    );
    for (const device of slice?.devices ?? []) expect(JSON.stringify(device).length).toBeLessThanOrEqual(350);
    expect(slice?.devices).toHaveLength(64);
  });

  test("differs from what the API would refuse", () => {
    const [create] = sliceWrites(desiredSlices([aPool(vfs(65))], context), [], context);
    if (!create) throw new Error("no write");
    const devices = [
      ...(create.slice.spec.devices ?? []),
      {
        name: "A_1",
        attributes: { "a/b/c": { string: "x".repeat(65) } },
        taints: [{ key: "unhealthy", effect: "Never" }],
      },
    ];
    const wrong = { ...create.slice, spec: { ...create.slice.spec, devices, podName: "a" } };
    expect(sliceProblems(wrong)).toEqual([
      'spec.podName: Invalid key: Expected never but received "podName"',
      "65 devices",
      "device A_1",
      "attribute a/b/c",
      "length of a/b/c",
      "taint unhealthy",
      "effect of taint unhealthy",
    ]);
  });
});

describe("a slice of the API server", () => {
  test("is read with all its fields, known or not", () => {
    const text =
      '{"apiVersion":"resource.k8s.io/v1","kind":"ResourceSlice","metadata":{"name":"s","labels":{"a":"b"}},"spec":{"driver":"d","pool":{"name":"p","generation":1,"resourceSliceCount":1},"allNodes":true,"devices":[{"name":"x","attributes":{"a":{"version":"1.0.0"}},"capacity":{}}]}}';
    expect(JSON.parse(JSON.stringify(resourceSlices.parse(JSON.parse(text))))).toEqual(JSON.parse(text));
  });

  test.each([
    "null",
    "[]",
    "{}",
    '{"apiVersion":"resource.k8s.io/v1beta1","kind":"ResourceSlice"}',
    '{"apiVersion":"resource.k8s.io/v1","kind":"ResourceSlice","metadata":{},"spec":{}}',
  ])("is not %s", (text) => {
    expect(() => resourceSlices.parse(JSON.parse(text))).toThrow();
  });
});
