import { describe, expect, test } from "bun:test";
import { aDevice, aParent, aPf, aSubFunction, pciAddress } from "../../test/support/device.ts";
import { aPool, aVf, context, served, vfs, written } from "../../test/support/published-slices.ts";
import { sliceProblems } from "../../test/support/resource-api.ts";
import type { Device } from "../host/device.ts";
import type { Pool } from "../pools/pool.ts";
import { resourceSlices } from "./resource-slice.ts";
import { desiredSlices, type SliceContext, sliceWrites } from "./slices.ts";
import { dropsTaints } from "./taint-support.ts";

/** The pools of slices, each with the names of its devices. */
const published = (pools: readonly Pool[], own: Partial<SliceContext> = {}) =>
  Object.fromEntries(
    desiredSlices(pools, { ...context, ...own }).map(({ pool, devices }) => [pool, devices.map(({ name }) => name)]),
  );

describe("the pools of slices", () => {
  test("are one a PF, and their devices are in the order of their indexes, whichever of the plugin's pools has them", () => {
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

  // As a 1.34.4 API server sends one whose devices are [].
  test("is read when it has no devices", () => {
    const text =
      '{"apiVersion":"resource.k8s.io/v1","kind":"ResourceSlice","metadata":{"name":"s","creationTimestamp":null},"spec":{"driver":"d","nodeName":"n","pool":{"name":"p","generation":1,"resourceSliceCount":1},"devices":null}}';
    expect(resourceSlices.parse(JSON.parse(text)).spec.devices).toBeUndefined();
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
