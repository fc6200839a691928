import { describe, expect, test } from "bun:test";
import { aDevice, aPf, pciAddress } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import {
  applyExclusions,
  exclusionChanges,
  type ExclusionMemory,
  noExclusions,
  type ScanMoment,
} from "./exclusions.ts";

const free = { defaultRoute: null, vfs: 0 };
const configured = { defaultRoute: "bond0", vfs: 0 };
const advertised = { defaultRoute: "rail0", isRouteAdvertised: true as const, vfs: 0 };

const moment = (overrides: Partial<ScanMoment> = {}): ScanMoment => ({
  now: 0,
  time: 1_700_000_000_000,
  hasDefaultRoute: true,
  uptime: null,
  isForgetting: false,
  ...overrides,
});

/** Scans one after the other; the last one's result. */
function scans(steps: readonly (readonly [devices: readonly Device[], at: Partial<ScanMoment>])[]) {
  let memory: ExclusionMemory = noExclusions;
  let result = applyExclusions([], memory, moment());
  for (const [devices, at] of steps) {
    result = applyExclusions(devices, memory, moment(at));
    memory = result.memory;
  }
  return result;
}
const rulesAfter = (...steps: Parameters<typeof scans>[0]) => scans(steps).exclusions.map(({ rule }) => rule);

describe("a configured default route", () => {
  test("excludes its function for as long as that is there, however long the route is gone", () => {
    const steps = [
      [[aPf({ host: configured })], {}],
      [[aPf({ host: free })], { now: 3_600_000 }],
    ] as const;
    expect(rulesAfter(...steps)).toEqual(["default-route"]);
    expect(scans(steps).devices[0]?.host.defaultRoute).toBe("bond0");
    expect(scans(steps).recheckIn).toBeNull();
  });

  test("ends with a reload, unless it is still there", () => {
    const before = [[aPf({ host: configured })], {}] as const;
    expect(rulesAfter(before, [[aPf({ host: free })], { isForgetting: true }])).toEqual([]);
    expect(rulesAfter(before, [[aPf({ host: configured })], { isForgetting: true }])).toEqual(["default-route"]);
  });

  test("outlasts the binding of another driver, and a PF that is rescanned", () => {
    const before = [[aPf({ host: configured })], {}] as const;
    expect(rulesAfter(before, [[aPf({ host: free, driver: null })], {}])).toEqual(["default-route"]);
    expect(rulesAfter(before, [[aPf({ host: free, instance: "2" })], {}])).toEqual(["default-route"]);
  });

  test("ends when the function leaves", () => {
    expect(rulesAfter([[aPf({ host: configured })], {}], [[], {}], [[aPf({ host: free })], {}])).toEqual([]);
  });

  test("stays one when an advertised route takes its place for a while", () => {
    const steps = [
      [[aPf({ host: configured })], {}],
      [[aPf({ host: advertised })], { now: 1000 }],
      [[aPf({ host: free })], { now: 2000 }],
      [[aPf({ host: free })], { now: 200_000 }],
    ] as const;
    expect(rulesAfter(...steps)).toEqual(["default-route"]);
  });
});

describe("an advertised default route", () => {
  const begun = [[aPf({ host: advertised })], {}] as const;
  const gone = (now: number, hasDefaultRoute = true) => [[aPf({ host: free })], { now, hasDefaultRoute }] as const;

  test("excludes its function until 60 s after it moved elsewhere", () => {
    expect(rulesAfter(begun, gone(1000))).toEqual(["default-route"]);
    expect(scans([begun, gone(1000), gone(21_000)]).recheckIn).toBe(40_000);
    expect(rulesAfter(begun, gone(1000), gone(60_999))).toEqual(["default-route"]);
    expect(rulesAfter(begun, gone(1000), gone(61_000))).toEqual([]);
  });

  test("counts the 60 s again when it comes back, and while no default route exists at all", () => {
    const back = [[aPf({ host: advertised })], { now: 50_000 }] as const;
    expect(rulesAfter(begun, gone(1000), back, gone(51_000), gone(110_000))).toEqual(["default-route"]);
    expect(rulesAfter(begun, gone(1000), gone(30_000, false), gone(62_000), gone(100_000))).toEqual(["default-route"]);
    expect(rulesAfter(begun, gone(1000, false), gone(400_000, false))).toEqual(["default-route"]);
  });

  test("becomes a lasting one when a configured route joins it", () => {
    const joined = [[aPf({ host: configured })], { now: 1000 }] as const;
    expect(rulesAfter(begun, joined, gone(2000), gone(100_000))).toEqual(["default-route"]);
  });
});

describe("below a PF", () => {
  const sf = (overrides: Partial<Device>) =>
    aDevice({ id: "mlx5_core.sf.4", bus: "auxiliary", pci: pciAddress("0000:3b:00.0"), auxType: "sf", ...overrides });

  test("an SF that takes the number of a removed one does not inherit its exclusion", () => {
    const steps = [
      [[sf({ host: configured })], {}],
      [[sf({ host: free, instance: "2" })], {}],
    ] as const;
    expect(rulesAfter(...steps)).toEqual([]);
    expect(scans(steps).devices[0]?.host).toEqual(free);
  });

  test("the same SF keeps it", () => {
    expect(rulesAfter([[sf({ host: configured })], {}], [[sf({ host: free })], {}])).toEqual(["default-route"]);
  });
});

describe("a PF with VFs", () => {
  test("is excluded while its VFs are re-created", () => {
    const steps = [
      [[aPf({ host: { defaultRoute: null, vfs: 8 } })], {}],
      [[aPf({ host: free })], {}],
    ] as const;
    expect(scans(steps).devices[0]?.host.vfs).toBe(8);
    expect(rulesAfter(...steps, [[aPf({ host: free })], { isForgetting: true }])).toEqual([]);
  });

  test("says how many it has now", () => {
    const result = scans([
      [[aPf({ host: { defaultRoute: null, vfs: 8 } })], {}],
      [[aPf({ host: { defaultRoute: null, vfs: 2 } })], {}],
    ]);
    expect(result.exclusions.map(({ reason }) => reason)).toEqual(["PF with 2 VFs"]);
  });

  test("does not concern accelerators, which are offered beside their VFs", () => {
    expect(rulesAfter([[aPf({ pciClass: 0x12, host: { defaultRoute: null, vfs: 2 } })], {}])).toEqual([]);
  });
});

describe("before the network is up", () => {
  const booting = (uptime: number, more: Partial<ScanMoment> = {}) => ({ uptime, hasDefaultRoute: false, ...more });

  test("a function that may become the uplink is excluded until a default route is seen", () => {
    const pf = aPf({ host: free });
    expect(rulesAfter([[pf], booting(20_000)])).toEqual(["no-default-route-yet"]);
    expect(rulesAfter([[pf], booting(20_000)], [[pf], booting(30_000, { hasDefaultRoute: true })])).toEqual([]);
  });

  test("a route that was seen once ends it for good", () => {
    const pf = aPf({ host: free });
    expect(rulesAfter([[pf], booting(20_000, { hasDefaultRoute: true })], [[pf], booting(30_000)])).toEqual([]);
  });

  test("five minutes after boot it ends, and a scan follows then", () => {
    const pf = aPf({ host: free });
    expect(scans([[[pf], booting(290_000)]]).recheckIn).toBe(10_000);
    expect(rulesAfter([[pf], booting(290_000)], [[pf], booting(300_000)])).toEqual([]);
  });

  test("a VF, a function without an interface, and a node whose uptime is unknown are not concerned", () => {
    expect(rulesAfter([[aDevice({ host: free }), aPf({ interfaces: [], host: free })], booting(20_000)])).toEqual([]);
    expect(rulesAfter([[aPf({ host: free })], { uptime: null, hasDefaultRoute: false }])).toEqual([]);
  });
});

test("an exclusion says since when it lasts and when it ends", () => {
  const time = 1_700_000_000_000;
  const [exclusion] = scans([
    [[aPf({ host: advertised })], { time }],
    [[aPf({ host: advertised })], { time: time + 5000 }],
  ]).exclusions;
  expect(exclusion).toEqual({
    device: "0000:3b:00.0",
    rule: "default-route",
    reason: "carries an advertised default route (rail0)",
    until: "60 s after the last such route has moved elsewhere",
    since: time,
  });
});

test("only what begins and what ends is a change, not another reason for the same rule", () => {
  const [before, now] = [
    scans([[[aPf({ host: configured })], {}]]).exclusions,
    scans([[[aPf({ host: { defaultRoute: "eno1", vfs: 2 } })], {}]]).exclusions,
  ];
  expect(exclusionChanges(before, now).began.map(({ rule }) => rule)).toEqual(["pf-with-vfs"]);
  expect(exclusionChanges(now, before).ended.map(({ rule }) => rule)).toEqual(["pf-with-vfs"]);
});
