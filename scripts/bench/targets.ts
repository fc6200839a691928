// How much of another plugin's figures may ours be? The targets, and the table of a paired run.

import type { Figures } from "./measure.ts";
import { quantile } from "./quantile.ts";
import { nameOf, type Shape } from "./shapes.ts";
import { shown, table } from "./table.ts";

/** The figures of all runs on nodes of one shape. */
export interface PairedRuns {
  readonly shape: Shape;
  readonly ours: readonly Figures[];
  readonly other: readonly Figures[];
}

/** A bound of one of our figures: a multiple of the other plugin's, or a value. */
interface Target {
  readonly figure: string;
  readonly limit: number;
  readonly unit: "times" | "ms";
  /** Whether ours must be at least that much; at most otherwise. */
  readonly atLeast?: true;
}

const times = (figure: string, limit: number): Target => ({ figure, limit, unit: "times" });

/** The upstream plugin discovers all devices again for each pool, so ours must start far earlier with many pools. */
const readyTimes = ({ pools }: Shape): number => (pools >= 16 ? 1 / 50 : 1.1);

const targetsOf = (shape: Shape): Target[] => [
  times("ready ms", readyTimes(shape)),
  times("first 200 p99 µs", 3),
  times("Allocate 1 p50 µs", 1),
  times("Allocate 1 p99 µs", 1.2),
  times("Allocate 1 CPU µs", 0.9),
  times("Allocate 8 p50 µs", 1),
  times("Allocate 8 p99 µs", 1.2),
  times("Allocate 8 CPU µs", 0.9),
  { ...times("4 callers calls/s", 0.8), atLeast: true },
  times("idle PSS MiB", 1),
  times("idle private MiB", 1.6),
  { figure: "idle CPU ms/min", limit: 10, unit: "ms" },
];

/** The median of a figure, and the least and the greatest value where there are several; "" when it was not measured. */
function cellOf(runs: readonly Figures[], figure: string): string {
  const values = runs.flatMap((run) => run[figure] ?? []).toSorted((a, b) => a - b);
  if (values.length === 0) return "";
  const median = shown(quantile(values, 0.5));
  return values.length === 1 ? median : `${median} (${shown(values[0] ?? 0)} to ${shown(values.at(-1) ?? 0)})`;
}

const medianOf = (runs: readonly Figures[], figure: string): number =>
  quantile(
    runs.flatMap((run) => run[figure] ?? []),
    0.5,
  );

/** The table of a paired run, a row a figure that was measured: medians and ranges, our multiple, and whether the target is met. */
export function pairedTable(paired: readonly PairedRuns[]): string {
  const rows = paired.flatMap(({ shape, ours, other }) =>
    targetsOf(shape).flatMap(({ figure, limit, unit, atLeast = false }) => {
      const [one, two] = [medianOf(ours, figure), medianOf(other, figure)];
      if (Number.isNaN(one)) return [];
      const value = unit === "times" ? one / two : one;
      const isMet = atLeast ? value >= limit : value <= limit;
      const target = `${atLeast ? "at least" : "at most"} ${shown(limit)} ${unit}`;
      const cells = [cellOf(other, figure), cellOf(ours, figure), shown(one / two), target, isMet ? "yes" : "no"];
      return [[nameOf(shape), figure, ...cells]];
    }),
  );
  return table(["VFs/pools", "figure", "other", "ours", "times", "target", "met"], rows);
}
