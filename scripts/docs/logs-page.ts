// What docs/reference/logs.md says of each line: tables of the messages, kept between marks; the text around them is written by hand.

import type { LogMessageRow } from "../../src/process/log-message-row.ts";
import { logMessages, logReports } from "../../src/process/log-messages.ts";
import { table, withMade } from "./marked.ts";

const rows = (messages: Readonly<Record<string, LogMessageRow>>): string =>
  table(
    ["message", "level", "fields", "meaning"],
    Object.entries(messages).map(([message, { levels, fields, meaning }]) => [
      `\`${message.replaceAll("|", "\\|")}\``,
      levels.join(", "),
      fields.map((field) => `\`${field}\``).join(", "),
      meaning,
    ]),
  );

/** The page with its tables as they are now. */
export const logsPage = (before: string): string =>
  withMade(before, { messages: rows(logMessages), reports: rows(logReports) });
