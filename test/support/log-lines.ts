// Is every line that the plugin logged documented? Message, level and fields must be those of a row of src/process/log-messages.ts.

import type { Level, LogMessageRow } from "../../src/process/log-message-row.ts";
import { logMessages, logReports } from "../../src/process/log-messages.ts";

const textLine = /^\d{4}-\d{2}-\d{2}T[\d:.]+Z (DEBUG|INFO|WARN|ERROR) +(.*)$/;

/** What the capitals of a report stand for. */
const anything = /\b(?:FILE|LINE|COLUMN|PATH|PROBLEM|REASON|DEVICE|METHOD)\b/;

const reports = Object.entries<LogMessageRow>(logReports).map(([form, row]) => {
  // A problem of the file as a whole has no path, and may have no line.
  const text = form
    .replace(":LINE:COLUMN", "")
    .replace("PATH: ", "")
    .split(anything)
    .map((part) => RegExp.escape(part));
  return { pattern: new RegExp(`^${text.join(".+?")}`), row };
});

/** The row of a line, and what follows its message; null when it has none. */
function rowOf(text: string): { readonly row: LogMessageRow; readonly rest: string } | null {
  const found = Object.entries<LogMessageRow>(logMessages)
    .filter(([message]) => text === message || text.startsWith(`${message} `))
    .toSorted(([a], [b]) => b.length - a.length)[0];
  if (found) return { row: found[1], rest: text.slice(found[0].length) };
  const report = reports.find(({ pattern }) => pattern.test(text));
  return report ? { row: report.row, rest: report.row.fields.length === 0 ? "" : text } : null;
}

/** What is wrong with a line of the text log, as a sentence; null when it is documented, or is no line of the log. */
export function undocumented(line: string): string | null {
  const [, level = "", text = ""] = textLine.exec(line) ?? [];
  if (level === "") return null;
  const found = rowOf(text);
  if (!found) return `no row for: ${line}`;
  if (!found.row.levels.includes(level.toLowerCase() as Level)) return `the row has other levels than: ${line}`;
  const fields = [...found.rest.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').matchAll(/ (\w+)=/g)].map(
    ([, name = ""]) => name,
  );
  const unknown = fields.filter((name) => !found.row.fields.includes(name));
  return unknown.length === 0 ? null : `the row has no field ${unknown.join(", ")}: ${line}`;
}
