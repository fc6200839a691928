import { afterEach, beforeEach, expect, test } from "bun:test";
import { until } from "../../test/support/until.ts";
import { ScheduledScans } from "./scheduled-scans.ts";

let due: string[];
let scheduled: ScheduledScans;
beforeEach(() => {
  due = [];
  scheduled = new ScheduledScans((stale) => due.push(stale));
});
afterEach(() => scheduled.close());

const isDue = (...stale: string[]) => until(`${stale.join()} is due`, () => due.join() === stale.join());

test("each reason has its own scan", async () => {
  scheduled.set("names", "functions", 2);
  scheduled.set("ports", "links", 1);
  await isDue("links", "functions");
});

test("setting replaces the scan of a reason, and null takes it away", async () => {
  scheduled.set("names", "functions", 60_000);
  scheduled.set("names", "links", 1);
  scheduled.set("ports", "functions", 1);
  scheduled.set("ports", "functions", null);
  await isDue("links");
  scheduled.set("names", "functions", 1);
  await isDue("links", "functions");
});

test("adding leaves the scan that is there, until that was due", async () => {
  scheduled.add("retry", "functions", 1);
  scheduled.add("retry", "links", 0);
  await isDue("functions");
  scheduled.add("retry", "links", 1);
  await isDue("functions", "links");
});

test("nothing is due after closing", async () => {
  const other: string[] = [];
  const later = new ScheduledScans((stale) => other.push(stale));
  scheduled.set("names", "functions", 1);
  scheduled.close();
  scheduled.set("ports", "links", 1);
  later.set("names", "links", 20);
  await until("the later one is due", () => other.length > 0);
  later.close();
  expect(due).toEqual([]);
});
