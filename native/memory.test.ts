import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { releaseExecutable, unchangedMappings } from "./memory.ts";

const mapping = (range: string, permissions: string, path: string, kilobytes: Record<string, number>) =>
  `${range} ${permissions} 00001000 fd:00 1234                       ${path}\n` +
  ["Rss", "Shared_Dirty", "Private_Dirty", "Anonymous", "Swap"]
    .map((field) => `${`${field}:`.padEnd(16)}${String(kilobytes[field] ?? 0).padStart(8)} kB\n`)
    .join("");

test("only what is read-only and was not changed counts as unchanged", () => {
  const smaps = [
    mapping("400000-500000", "r--p", "/usr/bin/sriovdp", { Rss: 12 }),
    mapping("500000-900000", "r-xp", "/usr/bin/sriovdp", { Rss: 1000 }),
    // Constants with addresses, which the loader put in and then protected.
    mapping("900000-910000", "r--p", "/usr/bin/sriovdp", { Rss: 64, Private_Dirty: 60, Anonymous: 60 }),
    // The same, swapped out.
    mapping("920000-930000", "r--p", "/usr/bin/sriovdp", { Rss: 0, Swap: 60 }),
    // Just installed: the file's own pages are not on disk yet.
    mapping("930000-940000", "r--p", "/usr/bin/sriovdp", { Rss: 64, Private_Dirty: 64 }),
    mapping("910000-920000", "rw-p", "/usr/bin/sriovdp", { Rss: 64 }),
    mapping("7f0000000000-7f0000100000", "r-xp", "/usr/lib/libc.so.6", { Rss: 500 }),
    mapping("7f0000200000-7f0000300000", "r-xp", "", { Rss: 500 }),
  ].join("");
  expect(unchangedMappings(smaps, "/usr/bin/sriovdp")).toEqual([
    { start: 0x400000, end: 0x500000, resident: 12 << 10 },
    { start: 0x500000, end: 0x900000, resident: 1000 << 10 },
    { start: 0x930000, end: 0x940000, resident: 64 << 10 },
  ]);
  expect(unchangedMappings(smaps, "/usr/bin/other")).toEqual([]);
});

test("the executable's pages leave the process, and it runs on", () => {
  const resident = () =>
    unchangedMappings(readFileSync("/proc/self/smaps", "utf8"), readlinkSync("/proc/self/exe")).reduce(
      (sum, { resident }) => sum + resident,
      0,
    );
  const before = resident();
  expect(releaseExecutable()).toBeGreaterThan(before / 2);
  expect(resident()).toBeLessThan(before);
  expect([3, 1, 2].toSorted()).toEqual([1, 2, 3]);
});
