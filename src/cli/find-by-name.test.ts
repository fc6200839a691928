import { describe, expect, test } from "bun:test";
import { aDevice, aParent, aPf, aSpec, pciAddress } from "../../test/support/device.ts";
import { assignPools } from "../pools/assign.ts";
import { span } from "./describe.ts";
import { named, nearMiss } from "./find-by-name.ts";

const devices = [aPf(), aDevice({ rdma: { names: ["mlx5_1"] } }), aDevice({ id: "0001:3b:02.a", interfaces: [] })];
const pools = assignPools(
  [aSpec({ name: "net" }), aSpec({ name: "net", prefix: "a.io", resource: "a.io/net" })],
  devices,
);
const allocations = new Map([["0000:3b:02.1", { pod: "default/app" }]]);
const names = { devices, pools, allocations };
const found = (word: string) => {
  const { devices: those, pools: these } = named(word, names);
  return [...those.map(({ id }) => id), ...these.map(({ spec }) => spec.resource)];
};

test.each([
  ["0000:3b:02.1", ["0000:3b:02.1"]],
  ["0000:3B:02.1", ["0000:3b:02.1"]],
  ["3b:02.1", ["0000:3b:02.1"]],
  ["ens1f0v1", ["0000:3b:02.1"]],
  ["mlx5_1", ["0000:3b:02.1"]],
  ["ens1f0", ["0000:3b:00.0"]],
  ["a.io/net", ["a.io/net"]],
  ["net", ["intel.com/net", "a.io/net"]],
  ["default/app", ["0000:3b:02.1"]],
  ["3b:02.a", []],
  ["ENS1F0", []],
  ["", []],
])("%p names %j", (word, expected) => {
  expect(found(word)).toEqual(expected);
});

test.each([
  ["ens1f0v2", "ens1f0v1"],
  ["0000:3b:02.4", "0000:3b:02.1"],
  ["intel.com/nett", "intel.com/net"],
  ["frobnicate", null],
])("%s is a near miss of %p", (word, near) => {
  expect(nearMiss(word, names)).toBe(near);
});

describe("a range as the tables print it", () => {
  const run = Array.from({ length: 40 }, (_, index) =>
    aDevice({
      id: `0000:3b:0${2 + (index >> 3)}.${index % 8}`,
      functionIndex: index,
      interfaces: [`ens-1f0v${index}`],
      rdma: { names: [`mlx5_${index}`] },
    }),
  );
  const other = aDevice({ id: "0000:5e:02.3", functionIndex: 3, pf: aParent({ address: pciAddress("0000:5e:00.0") }) });
  const inRange = (word: string) =>
    named(word, { devices: [...run, other], pools: [], allocations: new Map() }).devices.map(
      ({ functionIndex }) => functionIndex,
    );

  test.each([
    [0, 3],
    [1, 2],
    [7, 8],
    [0, 39],
    [9, 10],
    [30, 39],
  ])("from %i to %i names what is in it", (from, to) => {
    const expected = run.slice(from, to + 1).map(({ functionIndex }) => functionIndex);
    const ends = [run[from]!, run[to]!] as const;
    const ids = span(ends[0].id, ends[1].id);
    const words = [ids, ids.slice("0000:".length), `${ends[0].id}-${ends[1].id}`];
    for (const word of [...words, span(`ens-1f0v${from}`, `ens-1f0v${to}`), span(`mlx5_${from}`, `mlx5_${to}`)])
      expect({ word, found: inRange(word) }).toEqual({ word, found: expected });
  });

  test.each(["0000:3b:02.3-02.1", "0000:3b:02.0-", "-", "0000:3b:02.0-5e:02.3", "ens-1f0v0-x"])(
    "%s names nothing",
    (word) => {
      expect(inRange(word)).toEqual([]);
    },
  );
});
