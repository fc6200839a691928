// Where does a command print, and in which form? What it found goes to standard output, what is wrong to standard error.

import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import type { Options } from "./options.ts";
import type { CommandLine } from "./parse.ts";
import { inAscii, type Style } from "./table.ts";

/** Exit statuses. */
export const exitStatus = { ok: 0, failure: 1, operatorMistake: 2 } as const;

/** Where a command prints. */
export interface Output extends Style {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Writes bytes to standard output. */
  readonly bytes: (bytes: Uint8Array) => void;
}

/** Whether the locale has no other characters than ASCII (POSIX, Environment Variables: LC_ALL wins over LC_CTYPE over LANG). */
export function isAsciiOnly(environment: Readonly<Record<string, string | undefined>>): boolean {
  const locale = ["LC_ALL", "LC_CTYPE", "LANG"].map((name) => environment[name] ?? "").find((value) => value !== "");
  return !/utf-?8/i.test(locale ?? "");
}

/** Whether colors are for this stream: a terminal takes them, unless NO_COLOR is set or TERM is "dumb". */
export function takesColor(isTerminal: boolean, environment: Readonly<Record<string, string | undefined>>): boolean {
  return isTerminal && (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
}

/**
 * Writes everything, however long a pipe makes it wait: what streams have not written is lost when the process
 * ends. Throws when the reader is gone, or the disk is full.
 */
function writeAll(fd: number, text: string | Uint8Array): void {
  let rest = typeof text === "string" ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}

/** The process's own streams. */
export const output: Output = {
  out: (text) => writeAll(1, text),
  bytes: (bytes) => writeAll(1, bytes),
  err: (text) => {
    try {
      writeAll(2, output.ascii ? inAscii(text) : text);
    } catch {
      // The exit status shows it too, and the reader is gone.
    }
  },
  get color() {
    return takesColor(isatty(1), process.env);
  },
  get ascii() {
    return isAsciiOnly(process.env);
  },
  get columns() {
    return isatty(1) ? process.stdout.columns : null;
  },
};

/** The style of a command's tables. */
export const styleOf = ({ options }: CommandLine, { color, columns, ascii = false }: Style): Style => ({
  color,
  columns,
  ascii,
  wide: options.output === "wide",
});

/** Prints `data` as JSON or YAML, or as the result of `text` for a person. */
export async function print(
  { out, ascii = false }: Output,
  format: Options["output"],
  data: unknown,
  text: () => string,
): Promise<void> {
  if (format === "table" || format === "wide") out(ascii ? inAscii(text()) : text());
  else if (format === "json") out(`${JSON.stringify(data, null, 2).replaceAll(/[\u007F-\u009F]/g, escaped)}\n`);
  else {
    const { stringify } = await import("yaml");
    // As in JSON, all that is said twice is written twice; YAML 1.1 quotes what its readers would take for a number.
    out(stringify(data, { version: "1.1", aliasDuplicateObjects: false, lineWidth: 0 }));
  }
}

/** The control characters that JSON leaves as they are, and that a terminal does not. */
const escaped = (character: string): string => `\\u00${character.charCodeAt(0).toString(16)}`;
