// A picture of a command and its output in a terminal window, in the colors of the output.

import { element, picture, xml } from "./svg.ts";

const cell = { width: 7.8, height: 18, font: 13 };
const margin = { x: 18, top: 46, bottom: 16 };

/** The styles of the SGR parameters that the tables use (src/cli/table.ts). */
const styles: Readonly<Record<string, string>> = { "0": "", "1": "b", "2": "f", "31": "r", "32": "g", "33": "y" };

const style = `
.w{fill:#0f1720;stroke:#334155}
text{font:${cell.font}px ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dee8;white-space:pre}
.b{font-weight:700;fill:#fff}.f{fill:#8593a6}.r{fill:#ff8a80}.g{fill:#7ee2a0}.y{fill:#f4cf6f}.p{fill:#6cb6ff}`;

interface Span {
  readonly text: string;
  readonly style: string;
}

/** Cuts a line at its escape sequences. */
function spansOf(line: string): Span[] {
  const spans: Span[] = [];
  let style = "";
  for (const part of line.split("\x1b[")) {
    const [, code, text] = /^(?:(\d+)m)?(.*)$/.exec(part) ?? [];
    if (code !== undefined) style = styles[code] ?? "";
    if (text !== undefined && text !== "") spans.push({ text, style });
  }
  return spans;
}

/** One line; every span is set to its columns, whatever monospaced font there is. */
function lineOf(spans: readonly Span[], row: number): string {
  const y = margin.top + row * cell.height;
  let column = 0;
  return spans
    .map(({ text, style }) => {
      const start = column;
      column += text.length;
      if (text.trim() === "") return "";
      const attributes = { x: margin.x + start * cell.width, y, textLength: text.length * cell.width };
      return element("text", { ...attributes, class: style || undefined, "xml:space": "preserve" }, xml(text));
    })
    .join("");
}

/** A window with commands and what they print; `columns` is its width in characters. */
export function terminalPicture(
  title: string,
  columns: number,
  sessions: readonly { readonly command: string; readonly output: string }[],
): string {
  const lines: Span[][] = sessions.flatMap(({ command, output }, index) => [
    ...(index > 0 ? [[]] : []),
    [
      { text: "$ ", style: "p" },
      { text: command, style: "b" },
    ],
    ...output.trimEnd().split("\n").map(spansOf),
  ]);
  const width = columns * cell.width + 2 * margin.x;
  const height = margin.top + (lines.length - 1) * cell.height + margin.bottom + 4;
  return picture(
    width,
    height,
    title,
    style,
    element("rect", { class: "w", x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 9 }),
    ...["#ff5f57", "#febc2e", "#28c840"].map((fill, index) =>
      element("circle", { cx: margin.x + 5 + index * 18, cy: 18, r: 5.5, fill }),
    ),
    ...lines.map(lineOf).filter((line) => line !== ""),
  );
}
