import { expect, test } from "bun:test";
import type { PoolStatus, ScanStatus, Status } from "./plugin-status.ts";
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
    const status = { ready: true, scans, pools: [pool("connected"), pool(state, "why")], dra: null };
    expect([readinessOf(status, true).ok, readinessOf(status, false).ok]).toEqual([there, away]);
  },
);

test("every reason is listed", () => {
  const pools = [pool("rejected", "no"), pool("failed", "disk full")];
  expect(readinessOf({ ready: false, scans: { ...scans, failure: "EMFILE" }, pools, dra: null }, true).reasons).toEqual(
    [
      "the initial node scan is not complete",
      "the last node scan failed: EMFILE",
      "the kubelet rejects pool intel.com/a: no",
      "pool intel.com/a has no socket: disk full",
    ],
  );
});

const publication = { mode: "publishing", reason: null, isCurrent: true, problem: null } as const;
const writes = { create: 0, update: 0, delete: 0, repair: 0, failed: 0 };

test.each<[Partial<NonNullable<Status["dra"]>["publication"]>, readonly string[]]>([
  [{}, []],
  [{ mode: "starting", isCurrent: false }, ["ResourceSlices are not published yet"]],
  [{ mode: "starting", isCurrent: false, problem: "no right" }, ["ResourceSlices cannot be written: no right"]],
  [{ isCurrent: false, problem: "no right" }, ["ResourceSlices cannot be written: no right"]],
  // A write that waits for its interval, as while a link flaps.
  [{ isCurrent: false }, []],
  [{ mode: "standby", isCurrent: false }, []],
  [{ mode: "withdrawn", isCurrent: false, problem: "no right" }, []],
])("with a publication that is %p what is missing is %p", (own, reasons) => {
  const dra = {
    driver: "dra.example.com",
    node: "node-a",
    publication: { ...publication, writes, ...own },
    published: null,
    claims: 0,
    devicePlugin: [],
    heldByDevicePlugin: [],
  };
  expect(readinessOf({ ready: true, scans, pools: [], dra }, true).reasons).toEqual(reasons);
});
