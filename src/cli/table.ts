// How does text line up and get its colours? Cells are as wide as a terminal shows them, and can't break out of it.

import { oneLine } from "../text.ts";

/** What a piece of text means; the colour follows. */
export type Tone = "head" | "good" | "bad" | "doubt" | "quiet" | "plain";

/** What a terminal can show. */
export interface Style {
  readonly colour: boolean;
  /** How many columns it has; null when there is no terminal. */
  readonly columns: number | null;
}

/** A cell of a table: text, or text with a tone. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** SGR parameters (ECMA-48): bold, green, red, yellow, faint. */
const codes: Readonly<Record<Tone, string>> = { head: "1", good: "32", bad: "31", doubt: "33", quiet: "2", plain: "" };

/** Text of one line in its tone; without colours it has none. Control characters are escaped: interfaces may have such names. */
export function paint(text: string, tone: Tone, { colour }: Style): string {
  const shown = oneLine(text);
  return colour && codes[tone] !== "" && shown !== "" ? `\x1b[${codes[tone]}m${shown}\x1b[0m` : shown;
}

/** How many columns a terminal takes for the text: two for each ideograph, none for a combining mark. */
export const displayWidth = (text: string): number => Bun.stringWidth(text);

/** A table of left-aligned columns two spaces apart, ended, with or without a header; control characters are escaped. */
export function table(header: readonly string[] | null, rows: readonly (readonly Cell[])[], style: Style): string {
  const head = header?.map((text): Cell => ({ text, tone: "head" }));
  const cells = (head ? [head, ...rows] : rows).map((row) =>
    row.map((cell) => {
      const { text, tone } = typeof cell === "string" ? ({ text: cell, tone: "plain" } as const) : cell;
      const shown = oneLine(text);
      return { shown, tone, width: displayWidth(shown) };
    }),
  );
  const widths: number[] = [];
  for (const row of cells) row.forEach(({ width }, index) => (widths[index] = Math.max(width, widths[index] ?? 0)));
  const lines = cells.map((row) => {
    const last = row.findLastIndex(({ shown }) => shown !== "");
    return row
      .slice(0, last + 1)
      .map(({ shown, tone, width }, index) => {
        const gap = index === last ? 0 : (widths[index] ?? 0) - width + 2;
        return paint(shown, tone, style) + " ".repeat(gap);
      })
      .join("");
  });
  return `${lines.join("\n")}\n`;
}
