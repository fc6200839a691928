import { expect, test } from "bun:test";
import { aDevice, aPf, aSpec } from "../../test/support/device.ts";
import { assignPools } from "../pools/assign.ts";
import { named, nearMiss } from "./find-by-name.ts";

const devices = [aPf(), aDevice({ rdma: { names: ["mlx5_1"] } }), aDevice({ id: "0001:3b:02.a", interfaces: [] })];
const pools = assignPools(
  [aSpec({ name: "net" }), aSpec({ name: "net", prefix: "a.io", resource: "a.io/net" })],
  devices,
);
const found = (word: string) => {
  const { devices: those, pools: these } = named(word, devices, pools);
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
  ["3b:02.a", []],
  ["ENS1F0", []],
  ["", []],
])("%p names %j", (word, names) => {
  expect(found(word)).toEqual(names);
});

test.each([
  ["ens1f0v2", "ens1f0v1"],
  ["0000:3b:02.4", "0000:3b:02.1"],
  ["intel.com/nett", "intel.com/net"],
  ["frobnicate", null],
])("%s is a near miss of %p", (word, near) => {
  expect(nearMiss(word, devices, pools)).toBe(near);
});
