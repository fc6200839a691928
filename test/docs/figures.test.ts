// Do the pages that name a figure name the one that was measured? docs/reference/performance.md has all.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

const read = (page: string): string => readFileSync(`${import.meta.dir}/../../${page}`, "utf8");

/** The cells of a row of performance.md's paired table, as numbers without their thousands separators. */
function measured(figure: string): number[] {
  const [row = ""] = read("docs/reference/performance.md")
    .split("\n")
    .filter((line) => line.startsWith(`| ${figure} |`));
  const cells = row.split("|").slice(2, -1);
  return cells.map((cell) => Number(cell.replaceAll(",", "")));
}

/** A number as a page gives it: seconds with as many digits as there. */
const rounded = (milliseconds: number | undefined, like: string): string =>
  ((milliseconds ?? Number.NaN) / 1000).toFixed(like.split(".")[1]?.length ?? 0);

const [, , , upstream, ours] = measured("ready, ms");

test("README.md: the time until a node with 256 VFs is ready", () => {
  const [, named = ""] = /256 VFs in 16 pools is ready in ([\d.]+) s/.exec(read("README.md")) ?? [];
  expect(named).toBe(rounded(ours, named));
});

test("drop-in.md: the same, beside the upstream plugin's", () => {
  const row = /time to start with 256 VFs in 16 pools \| ([\d.]+) s \| ([\d.]+) s/;
  const [, theirs = "", named = ""] = row.exec(read("docs/get-started/drop-in.md")) ?? [];
  expect([theirs, named]).toEqual([rounded(upstream, theirs), rounded(ours, named)]);
});
