// The log: one line per event: a constant message, then its fields. Values of additionalInfo are
// never logged at any level.

import { createConsola, LogLevels, type LogObject } from "consola/core";
import { createStream } from "rotating-file-stream";
import { oneLine } from "../text.ts";
import type { Level } from "./log-message-row.ts";
import type { LogAt, LogFields, LogMessage } from "./log-messages.ts";
import { levelOf } from "./verbosity.ts";

/** How much is logged, and where to. */
export interface LogOptions {
  readonly format: "text" | "json";
  readonly verbosity: number;
  /** The folder of the log files; null for none. */
  readonly folder: string | null;
  /** What also goes to standard error while there is a folder. */
  readonly stderr: "all" | "errors";
}

interface Sink {
  readonly write: (line: string, severe: boolean) => void;
  /** Resolves when everything that was logged is written. */
  readonly finish?: () => Promise<void>;
}

/** The program's one logger. */
export type Log = LogAt<Level | "fatal">;

/** How much of the log is kept in memory for a bug report: in a container it is nowhere else. */
const recentLimits = { lines: 400, characters: 64 << 10 } as const;

/** The last lines that were logged. */
class RecentLines {
  readonly #lines: string[] = [];
  #length = 0;

  add(line: string): void {
    this.#lines.push(line.slice(0, recentLimits.characters));
    this.#length += this.#lines.at(-1)?.length ?? 0;
    while (this.#lines.length > recentLimits.lines || this.#length > recentLimits.characters)
      this.#length -= this.#lines.shift()?.length ?? 0;
  }

  get text(): string {
    return this.#lines.join("");
  }
}

/** Makes the logger. Lines look like "2026-11-24T10:41:15.123Z INFO  pool is served resource=intel.com/a devices=8". */
export function createLog(
  options: LogOptions,
): Log & { readonly finish: () => Promise<void>; readonly recent: () => string } {
  const format = options.format === "json" ? formatJson : formatLine;
  const notice = <M extends LogMessage>(message: M, fields: LogFields<M>) =>
    format({ date: new Date(), type: "warn", args: [message, fields] });
  writer ??= stderrWriter();
  const { write: toStderr, takeDropped } = writer;
  let all = options.folder === null || options.stderr === "all";
  const toStderrIf = (line: string, severe: boolean) => {
    if (!all && !severe) return;
    const lines = takeDropped();
    if (lines > 0) toStderr(notice("standard error was not read; lines dropped", { lines }));
    toStderr(line);
  };
  const recent = new RecentLines();
  const sinks: Sink[] = [{ write: toStderrIf }];
  if (options.folder !== null) {
    const { folder } = options;
    const failed = ({ message: reason }: Error) => {
      // What can't be written to the folder goes to standard error.
      all = true;
      toStderr(notice("cannot write to the log folder; logging to standard error", { folder, reason }));
    };
    sinks.push(fileSink(folder, failed));
  }
  const log = createConsola({
    level: levelOf(options.verbosity),
    throttle: 0,
    reporters: [
      {
        log: (entry) => {
          const line = format(entry);
          recent.add(line);
          for (const { write } of sinks) write(line, entry.level <= LogLevels.error);
        },
      },
    ],
  });
  const finish = async () => {
    await Promise.all(sinks.map((sink) => sink.finish?.()));
  };
  return Object.assign(log, { finish, recent: () => recent.text });
}

/** How many lines wait at most for a reader of standard error that is slow, or does not read. */
const maxBacklog = 4096;

interface Writer {
  readonly write: (line: string) => void;
  /** How many lines were dropped since the last call; 0 while none can be written. */
  readonly takeDropped: () => number;
}

/** The process has one standard error. */
let writer: Writer | null = null;

/**
 * Writes lines to standard error, whether it works or not: a log that can't be written is not a reason to exit. A pipe without
 * a reader (EPIPE) or a full disk (ENOSPC) costs the lines; behind a reader that does not read, lines beyond the backlog are
 * dropped, since Bun keeps in memory what a pipe does not take.
 */
function stderrWriter(): Writer {
  let backlog = 0;
  let dropped = 0;
  const { stderr } = process;
  stderr.on("error", () => (backlog = 0));
  stderr.on("drain", () => (backlog = Math.max(0, backlog - 1)));
  return {
    write: (line) => {
      if (backlog >= maxBacklog) dropped++;
      // For each write that a pipe does not take at once Bun returns false, and emits "drain" later.
      else if (!stderr.write(line)) backlog++;
    },
    takeDropped: () => {
      if (backlog >= maxBacklog) return 0;
      const lines = dropped;
      dropped = 0;
      return lines;
    },
  };
}

/** Ten files of 10 MiB at most; a folder that can't be written to is reported once and costs the files, not the plugin. */
function fileSink(folder: string, failed: (error: Error) => void): Sink {
  const stream = createStream("sriovdp.log", { path: folder, size: "10M", maxFiles: 10 });
  let broken = false;
  stream.on("error", (error: Error) => {
    if (!broken) failed(error);
    broken = true;
  });
  return {
    write: (line) => !broken && stream.write(line),
    finish: () =>
      new Promise((resolve) => {
        if (broken) return resolve();
        stream.on("error", () => resolve());
        stream.end(() => resolve());
      }),
  };
}

type Entry = Pick<LogObject, "date" | "type" | "args">;

/** One line, ended. Control characters of values are escaped, so that a line stays a line. */
export function formatLine({ date, type, args }: Entry): string {
  const [message, fields] = partsOf(args);
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${formatValue(value)}`);
  return `${date.toISOString()} ${levelName(type).padEnd(5)} ${oneLine(message)}${pairs.join("")}\n`;
}

/**
 * One JSON object on a line, ended: "time", "level" and "message", then the fields. Of a long list the first elements are
 * written, and under "KEY_more" the number of the rest.
 */
export function formatJson({ date, type, args }: Entry): string {
  const [message, fields] = partsOf(args);
  const line: Record<string, unknown> = { time: date.toISOString(), level: levelName(type).toLowerCase(), message };
  for (const [key, value] of Object.entries(fields)) {
    const name = key in line ? `field_${key}` : key;
    line[name] = jsonValue(value);
    if (Array.isArray(value) && value.length > longestList) {
      line[name] = jsonValue(value.slice(0, longestList));
      line[`${name}_more`] = value.length - longestList;
    }
  }
  return `${JSON.stringify(line)}\n`;
}

const levelName = (type: string) => (type === "error" || type === "fatal" ? "ERROR" : type.toUpperCase());

function partsOf(args: readonly unknown[]): [message: string, fields: Readonly<Record<string, unknown>>] {
  const [message, fields] = args as [unknown, Readonly<Record<string, unknown>> | undefined];
  return [String(message), fields ?? {}];
}

/** Of further elements of a list only the number is written. */
const longestList = 16;

function formatValue(value: unknown): string {
  if (Array.isArray(value)) {
    const more = value.length - longestList;
    return formatValue(value.slice(0, longestList).join(",") + (more > 0 ? `, and ${more} more` : ""));
  }
  const text = typeof value === "string" ? value : jsonOf(value);
  return /^[^\s"=\\\p{Cc}]+$/u.test(text) ? text : oneLine(JSON.stringify(text));
}

/** A value that JSON can write: itself, or its text. */
function jsonValue(value: unknown): unknown {
  if (value === undefined) return null;
  try {
    return value instanceof Error || JSON.stringify(value) === undefined ? jsonOf(value) : value;
  } catch {
    return String(value);
  }
}

/** A value as JSON; one that JSON can't write, as its own text. */
function jsonOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
