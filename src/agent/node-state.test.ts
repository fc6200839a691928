import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { aDevice, aPf } from "../../test/support/device.ts";
import { until } from "../../test/support/until.ts";
import type { Device } from "../host/device.ts";
import type { NodeScan } from "../host/scanner.ts";
import { createLog } from "../process/log.ts";
import { NodeState } from "./node-state.ts";
import { ScheduledScans } from "./scheduled-scans.ts";

let root: string;
let log: ReturnType<typeof createLog>;
beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/node-state-`);
  log = createLog({ format: "text", verbosity: 0, folder: `${root}/log`, stderr: "errors" });
});
afterAll(async () => {
  await log.finish();
  rmSync(root, { recursive: true });
});

let rescans: string[];
let scheduled: ScheduledScans;
let node: NodeState;
beforeEach(() => {
  rescans = [];
  scheduled = new ScheduledScans((stale) => rescans.push(stale));
  node = new NodeState(root, scheduled, log);
});

const scanOf = (devices: readonly Device[], more: Partial<NodeScan> = {}): NodeScan => ({
  devices,
  problems: [],
  hasDefaultRoute: true,
  isWhole: true,
  began: performance.now(),
  ...more,
});
const uplink = aPf({ host: { defaultRoute: "eno1", vfs: 0 } });
const former = aPf();

test("before the first scan there is no device and no exclusion", () => {
  expect({ scan: node.scan, devices: node.devices, exclusions: node.exclusions }).toEqual({
    scan: null,
    devices: [],
    exclusions: [],
  });
});

test("what a pod hides from a scan is remembered, and what left is forgotten", () => {
  node.take(scanOf([aDevice({ linkType: "ether" })]));
  node.take(scanOf([aDevice({ linkType: null })]));
  expect(node.devices[0]?.linkType).toBe("ether");
  node.take(scanOf([]));
  node.take(scanOf([aDevice({ linkType: null })]));
  expect(node.devices[0]?.linkType).toBeNull();
});

test("an exclusion lasts until its end", () => {
  node.take(scanOf([uplink]));
  node.take(scanOf([former]));
  expect(node.exclusions).toHaveLength(1);
  node.forgetExclusions();
  node.take(scanOf([former]));
  expect(node.exclusions).toEqual([]);
});

test("an exclusion whose reason is gone ends with a scan that can have seen that: a whole one, begun after the request", () => {
  node.take(scanOf([uplink]));
  const began = performance.now() - 1;
  node.forgetExclusions();
  node.take(scanOf([former], { began }));
  node.take(scanOf([former], { isWhole: false }));
  expect(node.exclusions).toHaveLength(1);
  node.take(scanOf([former]));
  expect(node.exclusions).toEqual([]);
});

test("a scan that was taken already changes nothing", () => {
  const scan = scanOf([uplink]);
  node.take(scan);
  const { devices } = node;
  node.take(scan);
  expect(node.devices).toBe(devices);
});

test("a node that has just booted is scanned again when its exclusions end by time", async () => {
  mkdirSync(`${root}/proc`);
  writeFileSync(`${root}/proc/uptime`, "299.95 1.00\n");
  const young = new NodeState(root, scheduled, log);
  young.take(scanOf([former], { hasDefaultRoute: false }));
  expect(young.exclusions.map(({ rule }) => rule)).toEqual(["no-default-route-yet"]);
  await until("a rescan is requested", () => rescans.length > 0);
  expect(rescans).toEqual(["links"]);
  scheduled.close();
  rmSync(`${root}/proc`, { recursive: true });
});
