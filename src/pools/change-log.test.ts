import { describe, expect, test } from "bun:test";
import { aClaim, aDevice, aParent, aSpec } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools } from "./assign.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import { startLogLines, changeLogLines, warningsOf } from "./change-log.ts";

const spec = aSpec();

const poolOf = (ids: readonly string[], unhealthy: Readonly<Record<string, string>> = {}): Pool => ({
  spec,
  claims: new Map(ids.map((id) => [id, aClaim(aDevice({ id }))])),
  unhealthy: new Map(Object.entries(unhealthy)),
});

const linesOf = (before: Pool, now: Pool) =>
  changeLogLines(before, now).map(({ level, message }) => `${level} ${message}`);

test("a pool that did not change is not logged", () => {
  expect(linesOf(poolOf(["a", "b"], { b: "why" }), poolOf(["a", "b"], { b: "why" }))).toEqual([]);
});

test("devices that were added and removed are named", () => {
  const [line] = changeLogLines(poolOf(["a", "b"]), poolOf(["b", "c"]));
  expect(line).toMatchObject({ level: "info", fields: { added: ["c"], removed: ["a"], devices: 2 } });
});

test("devices that became Unhealthy are logged once per reason, and those that recovered", () => {
  const before = poolOf(["a", "b", "c", "d"], { d: "x", c: "x" });
  const lines = changeLogLines(before, poolOf(["a", "b", "c", "d"], { a: "x", b: "x", c: "y" }));
  expect(lines.map(({ message, fields }) => [message, fields["reason"], fields["devices"]])).toEqual([
    ["devices are Unhealthy", "x", ["a", "b"]],
    ["devices are Unhealthy", "y", ["c"]],
    ["devices are Healthy again", undefined, ["d"]],
  ]);
});

test("an Unhealthy device that left is not called Healthy again", () => {
  expect(linesOf(poolOf(["a"], { a: "x" }), poolOf([]))).toEqual(["info the pool's devices changed"]);
});

test("a pool that starts with Unhealthy devices warns once per reason, with their number and the switch", () => {
  const [, warning, ...more] = startLogLines(poolOf(["a", "b", "c"], { a: "pf0 is down", b: "pf0 is down" }));
  expect(more).toEqual([]);
  expect(warning).toMatchObject({ level: "warn", fields: { reason: "pf0 is down", functions: 2 } });
  expect(warning?.message).toContain("--link-health=false");
});

describe("a config that is doubtful on this node", () => {
  const devices = [0, 1].map((functionIndex) => aDevice({ id: `0000:3b:02.${functionIndex}`, functionIndex }));
  const at = (specs: readonly PoolSpec[], node: readonly Device[] = devices, before: ReadonlySet<string> = new Set()) =>
    warningsOf(before, assignPools(specs, node), node);
  const beyond = aSpec({ selectors: [{ pfNames: [{ pf: "ens1f0", ranges: [[0, 7]] }] }] });
  const nothing = aSpec({ name: "none", selectors: [{ drivers: ["vfio-pci"] }] });

  test("is warned about once per warning, with the pool and the selector", () => {
    expect(at([beyond, nothing]).lines).toEqual([
      {
        level: "warn",
        message: "config warning",
        fields: {
          resource: beyond.resource,
          selector: "selectors[0].pfNames[0]",
          warning: "ens1f0 has the VFs 0-1 on this node; #2-7 selects nothing",
        },
      },
      {
        level: "warn",
        message: "config warning",
        fields: { resource: nothing.resource, warning: expect.stringContaining("selects nothing on this node") },
      },
    ]);
  });

  test("is warned about again only for what is new, and for what comes back", () => {
    const first = at([beyond, nothing]);
    expect(at([beyond, nothing], devices, first.known).lines).toEqual([]);
    const vfio = devices.map((device) => ({ ...device, driver: "vfio-pci" }));
    const second = at([nothing], vfio, first.known);
    expect(second.lines).toEqual([]);
    expect(at([nothing], devices, second.known).lines).toHaveLength(1);
  });

  test("of many pools and devices costs about as much as the choice itself", () => {
    const specs = Array.from({ length: 128 }, (_, index) =>
      aSpec({
        name: `p${index}`,
        selectors: [{ drivers: ["vfio-pci"], pfNames: [{ pf: `p${index}`, ranges: [[0, 7]] }] }],
      }),
    );
    const many = Array.from({ length: 1000 }, (_, index) =>
      aDevice({
        id: `0000:3b:${index}`,
        functionIndex: index % 64,
        pf: aParent({ interfaceName: `q${index >> 6}`, link: null }),
      }),
    );
    // Time of the processor: the machine may do other things meanwhile.
    const cost = <T>(run: () => T): [number, T] => {
      const before = process.cpuUsage();
      const result = run();
      return [process.cpuUsage(before).user / 1000, result];
    };
    const [choice, pools] = cost(() => assignPools(specs, many));
    const [warnings, { lines }] = cost(() => warningsOf(new Set(), pools, many));
    expect(lines.length).toBe(2 * specs.length);
    expect(warnings).toBeLessThan(10 * choice + 200);
  });
});
