import { expect, test } from "bun:test";
import { type PairedRuns, pairedTable } from "./targets.ts";

const small = { vfs: 8, pfs: 1, pools: 1 };
const large = { vfs: 256, pfs: 2, pools: 16 };

/** The cells of the row of a figure. */
function row(figure: string, paired: PairedRuns): string[] {
  const line = pairedTable([paired])
    .split("\n")
    .find((each) => each.includes(`| ${figure} |`));
  return (line ?? "").split(" | ").map((cell) => cell.replace(/^\| | \|$/g, ""));
}

const runs = (figure: string, ...values: readonly number[]) => values.map((value) => ({ [figure]: value }));

test("a figure is the median of its runs, with the range that they had", () => {
  const figure = "Allocate 1 p50 µs";
  const paired = { shape: small, ours: runs(figure, 500, 100, 200), other: runs(figure, 400) };
  expect(row(figure, paired)).toEqual(["8/1", figure, "400", "200 (100 to 500)", "0.50", "at most 1.00 times", "yes"]);
});

test.each([
  ["ready ms", small, 110, 100, "yes"],
  ["ready ms", small, 111, 100, "no"],
  ["ready ms", large, 200, 10_000, "yes"],
  ["ready ms", large, 201, 10_000, "no"],
  ["4 callers calls/s", small, 80, 100, "yes"],
  ["4 callers calls/s", small, 79, 100, "no"],
  ["idle private MiB", small, 16, 10, "yes"],
  ["idle private MiB", small, 17, 10, "no"],
] as const)("%s of %o: %d against %d meets the target: %s", (figure, shape, ours, other, met) => {
  expect(row(figure, { shape, ours: runs(figure, ours), other: runs(figure, other) }).at(-1)).toBe(met);
});

test("idle CPU has a target of its own, whatever the other plugin needs", () => {
  const figure = "idle CPU ms/min";
  const paired = (ours: number) => ({ shape: small, ours: runs(figure, ours), other: runs(figure, 2) });
  expect(row(figure, paired(10)).slice(-2)).toEqual(["at most 10.0 ms", "yes"]);
  expect(row(figure, paired(10.1)).at(-1)).toBe("no");
});

test("a figure that was not measured has no row", () => {
  const table = pairedTable([{ shape: small, ours: runs("ready ms", 1), other: runs("ready ms", 1) }]);
  expect(table.split("\n")).toHaveLength(3);
});

test("a figure that the other plugin did not give meets no target", () => {
  expect(row("ready ms", { shape: small, ours: runs("ready ms", 1), other: [] }).slice(2)).toEqual([
    "",
    "1.00",
    "?",
    "at most 1.10 times",
    "no",
  ]);
});
