import { expect, test } from "bun:test";
import { aDevice, aLink, aParent, aSpec } from "../../test/support/device.ts";
import { assignPools } from "../pools/assign.ts";
import type { Pool } from "../pools/pool.ts";
import { countAllocate, countChanges, countScan, histogram, newJournal, newPoolCounts, observe } from "./journal.ts";

test("a value is counted once, in the first bucket that it fits into", () => {
  const seen = histogram([1, 10]);
  for (const value of [0, 1, 1.5, 10, 11]) observe(seen, value);
  expect(seen).toMatchObject({ counts: [2, 2, 1], sum: 23.5 });
});

test("a call of Allocate is counted, and its failure is passed on", () => {
  const journal = newJournal();
  const counts = newPoolCounts();
  expect(countAllocate(journal, counts, 3, () => "answer")).toBe("answer");
  expect(() =>
    countAllocate(journal, counts, 5, () => {
      throw new Error("no");
    }),
  ).toThrow("no");
  expect(counts).toMatchObject({ calls: 2, failures: 1, devices: 3 });
  expect(journal.allocateMs.counts.reduce((sum, count) => sum + count)).toBe(2);
});

test("a scan is counted while it runs, and its failure until one succeeds", async () => {
  const { scans } = newJournal();
  const journal = { ...newJournal(), scans };
  const end = Promise.withResolvers<void>();
  const scan = countScan(journal, () => end.promise);
  expect(scans.began).not.toBeNull();
  end.reject(new Error("EMFILE"));
  expect(scan).rejects.toThrow("EMFILE");
  await scan.catch(() => {});
  expect(scans).toMatchObject({ count: 1, failures: 1, failure: "EMFILE", began: null });
  await countScan(journal, async () => {});
  expect(scans).toMatchObject({ count: 2, failures: 1, failure: null });
});

/** The pool of two VFs below one PF and a third below another. */
function poolOf(first: string, second: string): Pool {
  const below = (interfaceName: string, operstate: string) =>
    aParent({ link: aLink({ interfaceName, operstate, carrier: null }) });
  const devices = [
    aDevice({ id: "0000:3b:02.1", pf: below("ens1f0", first) }),
    aDevice({ id: "0000:3b:02.2", pf: below("ens1f0", first) }),
    aDevice({ id: "0000:5e:02.1", pf: below("ens3f0", second) }),
  ];
  return assignPools([aSpec()], devices)[0] as Pool;
}

test.each<[string, Pool, Pool, { toUnhealthy: number; toHealthy: number; linkFlaps: number }]>([
  ["no change", poolOf("up", "up"), poolOf("up", "up"), { toUnhealthy: 0, toHealthy: 0, linkFlaps: 0 }],
  ["a PF's link down", poolOf("up", "up"), poolOf("down", "up"), { toUnhealthy: 2, toHealthy: 0, linkFlaps: 1 }],
  ["both down", poolOf("up", "up"), poolOf("down", "down"), { toUnhealthy: 3, toHealthy: 0, linkFlaps: 2 }],
  ["one back", poolOf("down", "down"), poolOf("up", "down"), { toUnhealthy: 0, toHealthy: 2, linkFlaps: 0 }],
])("%s is counted by devices, and links by PFs", (_, before, now, expected) => {
  const counts = newPoolCounts();
  countChanges(counts, before, now);
  expect(counts).toMatchObject(expected);
});

test("a device that comes as Unhealthy has not changed", () => {
  const empty = { ...poolOf("up", "up"), claims: new Map() } as Pool;
  const counts = newPoolCounts();
  countChanges(counts, empty, poolOf("down", "down"));
  expect(counts).toMatchObject({ toUnhealthy: 0, linkFlaps: 0 });
});
