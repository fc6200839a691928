import { expect, test } from "bun:test";
import type { ScanStatus, PoolStatus } from "./plugin-status.ts";
import { livenessOf, scanLimit, readinessOf } from "./probes.ts";

const scans: ScanStatus = {
  count: 1,
  failures: 0,
  failure: null,
  lastEnd: null,
  lastMs: 1,
  runningMs: null,
  stalled: null,
};

const pool = (
  state: NonNullable<PoolStatus["registration"]>["state"] | null,
  reason: string | null = null,
): PoolStatus => ({
  resource: "intel.com/a",
  deviceType: "netDevice",
  registration: state && { state, reason, since: "", registrations: 0, failures: 0, lastAt: null, streams: 0 },
  devices: [],
  allocations: { calls: 0, failures: 0, devices: 0, lastAt: null },
  changes: { toUnhealthy: 0, toHealthy: 0, linkFlaps: 0 },
});

test.each([
  [null, true],
  [scanLimit, true],
  [scanLimit + 1, false],
])("a scan that has been running for %p ms: alive %p", (runningMs, ok) => {
  expect(livenessOf({ scans: { ...scans, runningMs } }).ok).toBe(ok);
});

test.each<[Parameters<typeof pool>[0], whileThere: boolean, whileAway: boolean]>([
  [null, true, true],
  ["connected", true, true],
  ["standby", true, true],
  ["announced", false, true],
  ["waiting", false, true],
  ["rejected", false, true],
  ["failed", false, false],
])(
  "with a pool that is %p the plugin is ready %p while the kubelet is there, %p while it is away",
  (state, there, away) => {
    const status = { ready: true, scans, pools: [pool("connected"), pool(state, "why")] };
    expect([readinessOf(status, true).ok, readinessOf(status, false).ok]).toEqual([there, away]);
  },
);

test("every reason is listed", () => {
  const pools = [pool("rejected", "no"), pool("failed", "disk full")];
  expect(readinessOf({ ready: false, scans: { ...scans, failure: "EMFILE" }, pools }, true).reasons).toEqual([
    "the initial node scan is not complete",
    "the last node scan failed: EMFILE",
    "the kubelet rejects pool intel.com/a: no",
    "pool intel.com/a has no socket: disk full",
  ]);
});
