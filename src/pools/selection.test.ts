// What holds of selection whatever the node and the config are, tried with many of both.

import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import * as v from "valibot";
import { aDevice, aParent, aPf, aSpec, pciAddress } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools, placements } from "./assign.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import { matches, selectors, type SelectorObject } from "./selectors.ts";

const run = { seed: 20_261_124, numRuns: 300 };

const pfs = ["ens1f0", "ens2f0"];

/** VF `index` of a PF, by an address of its own. */
const vf = (pf: number, index: number, vendor: string, driver: string | null): Device =>
  aDevice({
    id: `0000:${pf}b:01.${index}`,
    vendor,
    driver,
    pf: aParent({ address: pciAddress(`0000:${pf}b:00.0`), interfaceName: pfs[pf] ?? null, link: null }),
    functionIndex: index,
  });

/** Some VFs of two PFs, and perhaps the PFs and one that carries the default route; in the order of their addresses. */
const nodes: fc.Arbitrary<Device[]> = fc
  .tuple(
    fc.uniqueArray(
      fc.tuple(
        fc.integer({ min: 0, max: 1 }),
        fc.integer({ min: 0, max: 7 }),
        fc.constantFrom("8086", "15b3"),
        fc.constantFrom("iavf", "vfio-pci", null),
      ),
      { selector: ([pf, index]) => `${pf} ${index}`, maxLength: 12 },
    ),
    fc.subarray([
      aPf({ id: "0000:0b:00.0", interfaces: ["ens1f0"], host: { defaultRoute: null, vfs: 8 } }),
      aPf({ id: "0000:5b:00.0", interfaces: ["ens5f0"] }),
      aPf({ id: "0000:6b:00.0", interfaces: ["ens6f0"], host: { defaultRoute: "ens6f0", vfs: 0 } }),
    ]),
  )
  .map(([vfs, others]) => [...vfs.map((each) => vf(...each)), ...others].toSorted((a, b) => (a.id < b.id ? -1 : 1)));

/** "3", "2-5": an index, or a range; one whose ends are the wrong way round makes its entry select nothing. */
const range = fc
  .tuple(fc.integer({ min: 0, max: 7 }), fc.option(fc.integer({ min: 0, max: 7 }), { nil: null }))
  .map(([from, to]) => (to === null || to < from ? `${from}` : `${from}-${to}`));

/** An entry of pfNames as an operator writes it: "ens1f0", "ens2f0#0,4-6". */
const pfName = fc
  .tuple(fc.constantFrom(...pfs), fc.array(range, { maxLength: 3 }))
  .map(([pf, ranges]) => (ranges.length === 0 ? pf : `${pf}#${ranges.join(",")}`));

const parsed = (entries: readonly string[]) => v.parse(selectors.pfNames.schema, entries);

const selectorObjects: fc.Arbitrary<SelectorObject> = fc.record(
  {
    vendors: fc.subarray(["8086", "15b3"]),
    drivers: fc.subarray(["iavf", "vfio-pci", "ice"]),
    pciAddresses: fc.subarray(["0000:0b:01.0", "0000:1b:01.3", "0000:5b:00.0"]),
    pfNames: fc.array(pfName, { maxLength: 2 }).map(parsed),
  },
  { requiredKeys: [] },
);

const configs: fc.Arbitrary<PoolSpec[]> = fc
  .array(fc.array(selectorObjects, { maxLength: 3 }), { maxLength: 4 })
  .map((entries) => entries.map((selectors, index) => aSpec({ name: `pool${index}`, selectors })));

const held = (specs: readonly PoolSpec[], devices: readonly Device[]) =>
  fc
    .array(fc.tuple(fc.constantFrom(...devices.map(({ id }) => id), "gone"), fc.nat(specs.length)))
    .map((pairs) => new Map(pairs.map(([id, pool]) => [id, specs[pool]?.resource ?? "intel.com/gone"])));

/** What each pool won, whatever the order. */
const won = (pools: readonly Pool[]) =>
  pools.map(({ spec, claims, unhealthy }) => ({
    resource: spec.resource,
    claims: new Map([...claims].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    unhealthy: new Map([...unhealthy].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }));

const isOffered = ({ driver, host }: Device) => driver !== null && host.vfs === 0 && host.defaultRoute === null;

describe("whatever is configured, and whatever is on the node,", () => {
  test("a device is in the first pool that selects it, by the first selector object that matches, or in none", () => {
    fc.assert(
      fc.property(configs, nodes, (specs, devices) => {
        const pools = assignPools(specs, devices);
        for (const device of devices) {
          const first = isOffered(device)
            ? specs.find(({ selectors }) => selectors.some((selectorObject) => matches(device, selectorObject)))
            : undefined;
          const podAllocations = pools.filter(({ claims }) => claims.has(device.id));
          expect(podAllocations.map(({ spec }) => spec.resource)).toEqual(first ? [first.resource] : []);
          const selectorObject = first?.selectors.find((each) => matches(device, each));
          if (selectorObject) expect(podAllocations[0]?.claims.get(device.id)?.selectorObject).toBe(selectorObject);
        }
      }),
      run,
    );
  });

  test("an entry that is added at the end takes nothing from those before it", () => {
    fc.assert(
      fc.property(configs, fc.array(selectorObjects, { maxLength: 3 }), nodes, (specs, selectors, devices) => {
        const more = [...specs, aSpec({ name: "last", selectors })];
        expect(won(assignPools(more, devices)).slice(0, -1)).toEqual(won(assignPools(specs, devices)));
      }),
      run,
    );
  });

  test("entries that don't select the same devices may be in any order", () => {
    const apart = fc
      .tuple(selectorObjects, selectorObjects)
      .map(([a, b]) => [
        aSpec({ name: "a", selectors: [{ ...a, vendors: ["8086"] }] }),
        aSpec({ name: "b", selectors: [{ ...b, vendors: ["15b3"] }] }),
      ]);
    fc.assert(
      fc.property(apart, nodes, (specs, devices) => {
        expect(won(assignPools(specs.toReversed(), devices)).toReversed()).toEqual(won(assignPools(specs, devices)));
      }),
      run,
    );
  });

  test("the order in which the node lists its devices does not count", () => {
    const listings = nodes.chain((devices) =>
      fc.tuple(fc.constant(devices), fc.shuffledSubarray(devices, { minLength: devices.length })),
    );
    fc.assert(
      fc.property(configs, listings, (specs, [devices, shuffled]) => {
        expect(won(assignPools(specs, shuffled))).toEqual(won(assignPools(specs, devices)));
      }),
      run,
    );
  });

  test("a device that a pod holds is in the pool that it came from, or in none, and no device is in two", () => {
    const cases = fc
      .tuple(configs, nodes)
      .chain(([specs, devices]) => fc.tuple(fc.constant(specs), fc.constant(devices), held(specs, devices)));
    fc.assert(
      fc.property(cases, ([specs, devices, podAllocations]) => {
        const pools = assignPools(specs, devices, podAllocations);
        const all = pools.flatMap(({ claims }) => [...claims.keys()]);
        expect(new Set(all).size).toBe(all.length);
        const placed = placements(pools);
        for (const { id } of devices) {
          const holder = podAllocations.get(id);
          if (holder === undefined) continue;
          const isConfigured = specs.some(({ resource }) => resource === holder);
          expect(placed.get(id)).toBe(isConfigured ? holder : undefined);
        }
      }),
      run,
    );
  });
});

describe("ranges of functions", () => {
  const anyVf = fc
    .tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 7 }))
    .map(([pf, index]) => vf(pf, index, "8086", "iavf"));

  test("of several entries add up", () => {
    fc.assert(
      fc.property(fc.array(pfName, { minLength: 1, maxLength: 4 }), anyVf, (entries, device) => {
        const one = entries.some((entry) => matches(device, { pfNames: parsed([entry]) }));
        expect(matches(device, { pfNames: parsed(entries) })).toBe(one);
      }),
      run,
    );
  });

  test("of one entry add up as if each were in an entry of its own", () => {
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 4 }), anyVf, (ranges, device) => {
        const apart = ranges.map((each) => `ens1f0#${each}`);
        const together = [`ens1f0#${ranges.join(",")}`];
        expect(matches(device, { pfNames: parsed(together) })).toBe(matches(device, { pfNames: parsed(apart) }));
      }),
      run,
    );
  });

  test("hold the indexes from the first to the last, both included", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 7 }), anyVf, (from, to, device) => {
        const isIn =
          device.pf?.interfaceName === "ens1f0" && from <= device.functionIndex! && device.functionIndex! <= to;
        expect(matches(device, { pfNames: parsed([`ens1f0#${from}-${to}`]) })).toBe(isIn);
      }),
      run,
    );
  });
});
