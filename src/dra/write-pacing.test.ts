import { describe, expect, test } from "bun:test";
import type { KubeErrorKind } from "../kube/errors.ts";
import { publisherTimes } from "./publisher-times.ts";
import {
  dueOf,
  failedPace,
  isProblem,
  newPace,
  reachablePace,
  settledPace,
  type SlicePace,
  type WriteReason,
  writtenPace,
} from "./write-pacing.ts";

const times = publisherTimes.pacing;
const fresh = newPace(times);
const wrote = (pace: SlicePace, reason: WriteReason, now: number) =>
  writtenPace(pace, { want: "w", reason, received: null }, now, times);

describe("a write is due", () => {
  const created = wrote(fresh, "gain", 1000);
  const needed = (pace: SlicePace, since: number): SlicePace => ({ ...pace, neededSince: since });
  const cases: readonly [what: string, pace: SlicePace, reason: WriteReason, now: number, due: number][] = [
    ["of a new slice: at once", fresh, "gain", 5000, 5000],
    ["of a loss that is the first: at once", settledPace(fresh, "w"), "loss", 5000, 5000],
    ["of a loss right after a write: half a second after it", created, "loss", 1100, 1500],
    ["of a loss later: at once", created, "loss", 1600, 1500],
    ["of a gain: after the window", needed(created, 9000), "gain", 9000, 10_000],
    [
      "of a gain that was never preceded by a write: after the window",
      needed(settledPace(fresh, "w"), 9000),
      "gain",
      9000,
      10_000,
    ],
    ["of a gain after a loss: after the interval", needed(wrote(fresh, "loss", 9000), 9100), "gain", 9200, 11_000],
    ["of a first repair: at once", created, "repair", 1001, 1001],
    ["of a second repair: a second after the first", wrote(created, "repair", 2000), "repair", 2100, 3000],
  ];

  test.each(cases)("%s", (_, pace, reason, now, due) => {
    expect(dueOf(pace, reason, now, times)).toBe(due);
  });

  test("of repairs: 1, 2, 4 … 30 s after the one before, and at once again after a minute of calm", () => {
    let pace = wrote(created, "repair", 10_000);
    const waits: number[] = [];
    for (let count = 0; count < 7; count++) {
      const before = pace.lastRepair ?? 0;
      const due = dueOf(pace, "repair", before + 1, times);
      waits.push(due - before);
      pace = wrote(pace, "repair", due);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    const later = (pace.lastRepair ?? 0) + times.repairCalm;
    expect(dueOf(pace, "repair", later, times)).toBeLessThanOrEqual(later);
    expect(wrote(pace, "repair", later).repairs).toBe(1);
  });

  test("of gains after losses: 2, 4, 8 … 60 s after the loss, and 2 s again after two minutes of calm", () => {
    let [pace, now] = [fresh, 0];
    const intervals: number[] = [];
    for (let count = 0; count < 7; count++) {
      pace = wrote(pace, "loss", now);
      intervals.push(pace.interval);
      now = dueOf({ ...pace, neededSince: now }, "gain", now, times);
      pace = wrote(pace, "gain", now);
      now += 1000;
    }
    expect(intervals).toEqual([2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(wrote(pace, "loss", now + times.calm).interval).toBe(2000);
  });

  test("of a first loss after the creation: 2 s before the gain", () => {
    expect(wrote(created, "loss", 5000).interval).toBe(2000);
  });
});

describe("a failed write is tried again", () => {
  const failed = (kinds: readonly KubeErrorKind[], retryAfter: number | null = null, chance = 0) => {
    let pace = fresh;
    const waits = kinds.map((kind) => {
      pace = failedPace(pace, { kind, retryAfter }, 1000, chance, times);
      return (pace.retryAt ?? 0) - 1000;
    });
    return { pace, waits };
  };

  test("after ever longer waits, up to 30 s", () => {
    expect(failed(Array.from({ length: 8 }, () => "unavailable")).waits).toEqual([
      500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
    ]);
    expect(failed(Array.from({ length: 2000 }, () => "invalid")).waits.at(-1)).toBe(30_000);
  });

  test("soon when the slice only has changed meanwhile", () => {
    for (const kind of ["conflict", "alreadyExists", "notFound"] as const)
      expect(failed([kind, kind, kind]).waits).toEqual([20, 40, 80]);
  });

  test("not before the server says so, and a fleet not at once", () => {
    expect(failed(["unavailable"], 7000).waits).toEqual([7000]);
    expect(failed(["unavailable"], 100, 1).waits).toEqual([625]);
  });

  test("whatever its reason", () => {
    const { pace } = failed(["invalid", "invalid"]);
    for (const reason of ["repair", "loss", "gain"] as const) expect(dueOf(pace, reason, 1000, times)).toBe(2000);
  });

  test("at once when the server is back, unless it was not away, or had said when", () => {
    const now = 1100;
    const due = (kind: KubeErrorKind, retryAfter: number | null) =>
      dueOf(reachablePace(failed([kind], retryAfter).pace), "loss", now, times);
    expect(due("unavailable", null)).toBe(now);
    expect(due("unauthorized", null)).toBe(now);
    expect(due("unavailable", 7000)).toBe(8000);
    expect(due("invalid", null)).toBe(1500);
  });

  test("and is forgotten when it succeeds, or is not needed any more", () => {
    const { pace } = failed(["unavailable", "unavailable"]);
    for (const next of [settledPace(pace, "w"), wrote(pace, "gain", 5000)])
      expect(next).toMatchObject({ retryAt: null, failures: 0, isOutage: false, settled: "w" });
  });

  test("and is a problem unless clients only met", () => {
    expect(isProblem("unavailable", 1)).toBe(true);
    expect(isProblem("conflict", 4)).toBe(false);
    expect(isProblem("conflict", 5)).toBe(true);
  });
});
