// How does text line up and get its colors? Cells are as wide as a terminal shows them, and can't break out of it.

import { oneLine } from "../text.ts";

/** What a piece of text means; the color follows. */
export type Tone = "head" | "good" | "bad" | "warning" | "dim" | "plain";

/** What a terminal can show. */
export interface Style {
  readonly color: boolean;
  /** How many columns it has; null when there is no terminal. */
  readonly columns: number | null;
  /** Whether the terminal shows ASCII alone. */
  readonly ascii?: boolean;
  /** Whether nothing is hidden or truncated when columns run out. */
  readonly wide?: boolean;
}

/** A cell of a table: text, or text with a tone. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** SGR parameters (ECMA-48): bold, green, red, yellow, faint. */
const codes: Readonly<Record<Tone, string>> = { head: "1", good: "32", bad: "31", warning: "33", dim: "2", plain: "" };

/** Text of one line in its tone; without colors it has none. Control characters are escaped: interfaces may have such names. */
export function paint(text: string, tone: Tone, { color, ascii = false }: Style): string {
  const shown = ascii ? inAscii(oneLine(text)) : oneLine(text);
  return color && codes[tone] !== "" && shown !== "" ? `\x1b[${codes[tone]}m${shown}\x1b[0m` : shown;
}

/** Characters beyond ASCII as escapes: names of interfaces may have them. */
export const inAscii = (text: string): string =>
  text.replaceAll(/[^\0-\u007F]/gu, (character) =>
    character === "\u2026" ? "..." : `\\u${character.codePointAt(0)?.toString(16).padStart(4, "0")}`,
  );

/** How many columns a terminal takes for the text: two for each ideograph, none for a combining mark. */
export const displayWidth = (text: string): number => Bun.stringWidth(text);

/**
 * A table of left-aligned columns two spaces apart, ended, with or without a header; control characters are escaped. The last cell of a
 * row is cut off where the terminal ends; without a header it goes on below itself.
 */
export function table(header: readonly string[] | null, rows: readonly (readonly Cell[])[], style: Style): string {
  const head = header?.map((text): Cell => ({ text, tone: "head" }));
  const cells = (head ? [head, ...rows] : rows).map((row) =>
    row.map((cell) => {
      const { text, tone } = typeof cell === "string" ? ({ text: cell, tone: "plain" } as const) : cell;
      const shown = style.ascii === true ? inAscii(oneLine(text)) : oneLine(text);
      return { shown, tone, width: displayWidth(shown) };
    }),
  );
  const widths: number[] = [];
  for (const row of cells) row.forEach(({ width }, index) => (widths[index] = Math.max(width, widths[index] ?? 0)));
  if (header === null && style.columns !== null) narrow(cells, widths, style.columns);
  const lines = cells.map((row) => {
    const last = row.findLastIndex(({ shown }) => shown !== "");
    let column = 0;
    const parts = row.slice(0, last + 1).map(({ shown, tone, width }, index) => {
      if (index === last) return lastCell(shown, tone, { header, column, style });
      const gap = (widths[index] ?? 0) - width + 2;
      column += width + gap;
      return paint(shown, tone, style) + " ".repeat(gap);
    });
    // A last cell on a line of its own leaves blanks behind.
    return parts.join("").replaceAll(/ +(?=\n)/g, "");
  });
  return `${lines.join("\n")}\n`;
}

interface ShownCell {
  shown: string;
  width: number;
}

/** Cuts off cells before the last one, of the widest column first, where those alone are wider than the terminal. */
function narrow(cells: readonly (readonly ShownCell[])[], widths: number[], room: number): void {
  const before = Math.max(0, widths.length - 1);
  for (;;) {
    const surplus = widths.slice(0, before).reduce((sum, width) => sum + width + 2, -2) - room;
    const widest = Math.max(...widths.slice(0, before));
    if (surplus <= 0 || widest <= leastWidth) return;
    const index = widths.indexOf(widest);
    const width = Math.max(leastWidth, widest - surplus);
    widths[index] = width;
    for (const row of cells) {
      const cell = row[index];
      if (cell && index < row.length - 1 && cell.width > width) {
        cell.shown = truncated(cell.shown, width);
        cell.width = displayWidth(cell.shown);
      }
    }
  }
}

/** A last cell that has less room than this begins a line of its own. */
const leastRoom = 20;

/** The last cell of a row: cut off below a header, else in as many lines as it takes, below one another. */
function lastCell(
  shown: string,
  tone: Tone,
  {
    header,
    column,
    style,
  }: { readonly header: readonly string[] | null; readonly column: number; readonly style: Style },
): string {
  const all = style.columns ?? Infinity;
  const room = all - column;
  if (displayWidth(shown) <= room) return paint(shown, tone, style);
  if (header !== null) return paint(truncated(shown, Math.max(room, leastWidth)), tone, style);
  const isBelow = room < leastRoom;
  const indent = `\n${" ".repeat(isBelow ? 4 : column)}`;
  const width = isBelow ? Math.max(all - 4, leastWidth) : room;
  const lines = wrapped(shown, width).map((line) => paint(truncated(line, width), tone, style));
  return (isBelow ? indent : "") + lines.join(indent);
}

/** A column of a table that fits its terminal: what it shows of one row; "" where nothing applies. */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row, fitted: Fitted) => Cell;
  /** Left out when there is no room, the largest first; columns without stay. */
  readonly yields?: number;
  /** Shown though no row fills it. */
  readonly always?: true;
  /** Shown by -o wide alone. */
  readonly wideOnly?: true;
}

/** What fitting decided, for cells that depend on it. */
export interface Fitted {
  /** Titles of the columns that are left out. */
  readonly hidden: readonly string[];
  /** Whether the last column has less room than its longest cell. */
  readonly terse: boolean;
}

/** The room that the last column has at least, before other columns yield to it. */
const lastRoom = 32;

const textOf = (cell: Cell): string => (typeof cell === "string" ? cell : cell.text);

const dash = (cell: Cell): Cell => (textOf(cell) === "" ? { text: "-", tone: "dim" } : cell);

/**
 * A table with as many columns as the terminal has room for, ended; columns that no row fills are left out, and a note says which
 * ones the terminal has no room for. What is too long even then is cut off at the end of its line.
 */
export function fittedTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], style: Style): string {
  const room = style.wide === true ? Infinity : (style.columns ?? Infinity);
  const everything: Fitted = { hidden: [], terse: false };
  const filled = columns
    .filter(({ wideOnly }) => wideOnly !== true || style.wide === true)
    .map((column) => ({ ...column, cells: rows.map((row) => textOf(column.cell(row, everything))) }))
    .filter(({ always, cells }) => always === true || cells.some((text) => text !== ""));
  const last = filled.at(-1);
  const widths = new Map(
    filled.map(({ title, cells }) => [
      title,
      Math.max(...[title, ...cells].map((text) => displayWidth(oneLine(text)))) + 2,
    ]),
  );
  const widthOf = ({ title }: Column<Row>) => widths.get(title) ?? 0;
  const yielding = filled
    .filter(({ yields }) => yields !== undefined)
    .sort((a, b) => (a.yields ?? 0) - (b.yields ?? 0));
  const hidden: string[] = [];
  const isKept = ({ title }: Column<Row>) => !hidden.includes(title);
  const needed = (least: number) =>
    filled
      .filter(isKept)
      .reduce((sum, column) => sum + (column === last ? Math.min(widthOf(column), least) : widthOf(column)), -2);
  while (needed(lastRoom) > room && yielding.length > 0) hidden.push(yielding.pop()?.title ?? "");
  const kept = filled.filter(isKept);
  const fitting = { hidden, terse: needed(Infinity) > room };
  const shown = rows.map((row) => kept.map(({ cell }) => dash(cell(row, fitting))));
  const widest = kept.map(({ title }, index) =>
    Math.max(displayWidth(title), ...shown.map((cells) => displayWidth(oneLine(textOf(cells[index] ?? ""))))),
  );
  const caps = capped(widest, room);
  const cells = shown.map((row) => row.map((cell, index) => cutTo(cell, caps[index] ?? Infinity)));
  const text = table(
    kept.map(({ title }) => title),
    cells,
    { ...style, columns: room === Infinity ? null : room },
  );
  const order = filled.map(({ title }) => title).filter((title) => hidden.includes(title));
  const note = order.length === 0 ? "" : `columns hidden: terminal too narrow: ${order.join(", ")}; -o wide shows all`;
  return (
    text +
    wrapped(note, room)
      .map((line) => `${paint(line, "dim", style)}\n`)
      .join("")
  );
}

/** The narrowest that a column is made, so that something of each cell can be read. */
const leastWidth = 12;

/** Widths of columns that together fit the room, where they can: what is too much is taken from the widest. */
function capped(widths: readonly number[], room: number): readonly number[] {
  const caps = [...widths];
  // The last cell is cut off by the table itself.
  const rest = () => caps.slice(0, -1).reduce((sum, width) => sum + width + 2, Math.min(caps.at(-1) ?? 0, leastWidth));
  for (;;) {
    const surplus = rest() - room;
    const widest = Math.max(...caps.slice(0, -1));
    if (surplus <= 0 || widest <= leastWidth) return caps;
    caps[caps.indexOf(widest)] = Math.max(leastWidth, widest - surplus);
  }
}

function cutTo(cell: Cell, width: number): Cell {
  const shown = truncated(oneLine(textOf(cell)), width);
  return typeof cell === "string" ? shown : { ...cell, text: shown };
}

/** Words in lines of at most this many columns; none for "". */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter((each) => each !== "")) {
    const line = lines.at(-1);
    if (line !== undefined && displayWidth(line) + 1 + displayWidth(word) <= columns)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** A text of at most this many columns, "..." for what is cut off. */
export function truncated(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let shown = "";
  let width = 0;
  for (const character of text) {
    width += displayWidth(character);
    if (width > columns - 3) break;
    shown += character;
  }
  return `${shown}...`;
}
