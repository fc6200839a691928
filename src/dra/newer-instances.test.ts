import { describe, expect, test } from "bun:test";
import { aPool, context, vfs, written } from "../../test/support/published-slices.ts";
import { type InstanceStamp, isNewerStamp, newStamp, stampAnnotation, stampOf, textOfStamp } from "./instance-stamp.ts";
import { noNewerInstances, seeInstances, standbyEnd } from "./newer-instances.ts";
import type { ResourceSlice } from "./resource-slice.ts";
import { desiredSlices } from "./slices.ts";

const { driver } = context;
const [base] = written([], desiredSlices([aPool(vfs(1))], context), context);
const own: InstanceStamp = { time: 5000, id: "00000005" };
const stamped = (stamp: InstanceStamp | string | null, resourceVersion = "1"): ResourceSlice => {
  if (!base) throw new Error("no slice");
  const annotations =
    stamp === null
      ? {}
      : typeof stamp === "string"
        ? { [`${driver}/instance`]: stamp }
        : stampAnnotation(driver, stamp);
  return { ...base, metadata: { ...base.metadata, resourceVersion, annotations } };
};

describe("a stamp", () => {
  test("is read as it is written", () => {
    for (const time of [0, 5000, Date.parse("2026-11-28T12:34:56.789Z"), Date.parse("9999-12-31T23:59:59.999Z")])
      expect(stampOf(stamped({ time, id: "0a1b2c3d" }), driver)).toEqual({ time, id: "0a1b2c3d" });
    expect(textOfStamp({ time: Date.parse("2026-11-28T12:34:56.789Z"), id: "0a1b2c3d" })).toBe(
      "2026-11-28T12:34:56.789Z-0a1b2c3d",
    );
  });

  test.each([
    "",
    "5000",
    "2026-13-28T12:34:56.789Z-0a1b2c3d",
    "+12026-11-28T12:34:56.789Z-0a1b2c3d",
    "2026-11-28T12:34:56.789Z-",
  ])("is not %p", (text) => {
    expect(stampOf(stamped(text), driver)).toBeNull();
  });

  test("is not another driver's", () => {
    expect(stampOf(stamped(own), "other.example.com")).toBeNull();
    expect(stampOf(stamped(null), driver)).toBeNull();
  });

  test("of a new instance is newer than all that are there, whatever the clock says", () => {
    const times = [0, 7000, 9000].map((time) => stamped({ time, id: "ffffffff" }));
    expect(newStamp(times, driver, 8000, "00000000")).toEqual({ time: 9001, id: "00000000" });
    expect(newStamp(times, driver, 9500, "00000000").time).toBe(9500);
    const last = { time: Date.parse("9999-12-31T23:59:59.999Z"), id: "00000001" };
    expect(textOfStamp(newStamp([stamped(last)], driver, 0, "00000002"))).toBe("9999-12-31T23:59:59.999Z-00000002");
  });

  test("is newer by its time, then by its id, and never than itself", () => {
    expect(isNewerStamp({ time: 5001, id: "00000000" }, own)).toBe(true);
    expect(isNewerStamp({ time: 5000, id: "00000006" }, own)).toBe(true);
    expect(isNewerStamp(own, own)).toBe(false);
  });
});

describe("a newer instance", () => {
  const times = { first: 60_000, longest: 3_600_000 };
  const newer: InstanceStamp = { time: 6000, id: "00000006" };
  const see = (
    before: ReturnType<typeof noNewerInstances>,
    found: readonly ResourceSlice[],
    now: number,
    lastWrite: number | null = null,
  ) => seeInstances(before, found, { driver, stamp: own, lastWrite }, now, times);
  const none = noNewerInstances(times);

  test("keeps this one on standby for a minute after its last write", () => {
    expect(standbyEnd(none, 0)).toBeNull();
    const seen = see(none, [stamped(newer)], 1000);
    expect(standbyEnd(seen, 1000)).toBe(61_000);
    expect(seen.newest).toEqual(newer);
    // The same state again, by events about other slices.
    expect(standbyEnd(see(seen, [stamped(newer)], 50_000), 50_000)).toBe(61_000);
    expect(standbyEnd(see(seen, [stamped(newer, "2")], 50_000), 50_000)).toBe(110_000);
    expect(standbyEnd(seen, 61_000)).toBeNull();
  });

  test.each([
    ["an older one", { time: 4000, id: "ffffffff" }],
    ["itself", own],
    ["none of ours", null],
  ])("is not %s", (_, stamp) => {
    expect(standbyEnd(see(none, [stamped(stamp)], 1000), 1000)).toBeNull();
  });

  test("that writes again whenever this one did is left alone ever longer, up to an hour", () => {
    let state = see(none, [stamped(newer, "1")], 0);
    const waits: number[] = [];
    for (let version = 2, now = 0; version < 12; version++) {
      now = (state.lastWrite ?? 0) + state.standby;
      state = see(state, [stamped(newer, String(version))], now + 10, now);
      waits.push(state.standby / 1000);
    }
    expect(waits).toEqual([120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600, 3600]);
  });

  test("that writes by itself does not make the standby longer", () => {
    const state = see(see(none, [stamped(newer, "1")], 0), [stamped(newer, "2")], 10_000);
    expect(state.standby).toBe(60_000);
  });

  test("is the newest of several", () => {
    const newest = { time: 9000, id: "00000009" };
    expect(see(none, [stamped(newer, "1"), stamped(newest, "2"), stamped(own, "3")], 0).newest).toEqual(newest);
  });
});
