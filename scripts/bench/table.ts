// Figures as tables in Markdown: beside the published ones, or beside those of another run.

import type { Figures } from "./measure.ts";
import { published } from "./published.ts";

/** A figure as a person reads it: three digits that count. */
export const shown = (value: number): string =>
  Number.isNaN(value) ? "?" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** A table in Markdown. */
export const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const range = ([least, most]: readonly [number, number]): string =>
  least === most ? shown(least) : `${shown(least)} to ${shown(most)}`;

/** Our figures in the order of their names' first appearance, one row a figure, one column a shape. */
export function shapeTable(figures: Figures): string {
  const shapes = [...new Set(Object.keys(figures).map((name) => name.split(" ", 1)[0] ?? ""))];
  const names = [...new Set(Object.keys(figures).map((name) => name.slice(name.indexOf(" ") + 1)))];
  const cell = (shape: string, name: string) => {
    const value = figures[`${shape} ${name}`];
    return value === undefined ? "" : shown(value);
  };
  return table(
    ["VFs/pools", ...shapes],
    names.map((name) => [name, ...shapes.map((shape) => cell(shape, name))]),
  );
}

/** What was measured of the published figures, with the target and whether it is met. */
export function publishedTable(figures: Figures): string {
  const rows = published.flatMap(({ figure, upstream, limit, atLeast }) => {
    const value = figures[figure];
    if (value === undefined) return [];
    const isMet = atLeast ? value >= limit : value <= limit;
    const bound = `${atLeast ? "at least" : "at most"} ${shown(limit)}`;
    return [[figure, upstream === null ? "never" : range(upstream), shown(value), bound, isMet ? "yes" : "no"]];
  });
  return table(["figure", "upstream", "sriovdp", "target", "met"], rows);
}

/** Ratios to another run's figures. */
export function comparison(figures: Figures, earlier: Figures): string {
  const rows = Object.entries(figures).map(([name, value]) => {
    const before = earlier[name];
    return [name, before === undefined ? "" : shown(before), shown(value), before ? (value / before).toFixed(2) : ""];
  });
  return table(["figure", "then", "now", "ratio"], rows);
}

/** By how much figures grow with the node: from the first of two shapes to the second, a VF and a pool. */
export function growth(figures: Figures, from: string, to: string): string {
  const rows = Object.entries(figures).flatMap(([name, value]) => {
    if (!name.startsWith(`${to} `)) return [];
    const figure = name.slice(to.length + 1);
    const before = figures[`${from} ${figure}`];
    return before === undefined ? [] : [[figure, shown(before), shown(value), (value / before).toFixed(2)]];
  });
  return table(["figure", from, to, "times"], rows);
}
