// The progress of long work: one line on a terminal, overwritten every second and removed when the work is done; nothing in pipes and logs.

import { isatty, type WriteStream } from "node:tty";

/** The line of work that goes on. */
export interface Progress {
  /** Prints a line of its own that stays. */
  readonly say: (line: string) => void;
  /** Says what is done now: at once, since what follows may keep the process busy. */
  readonly step: (text: string) => void;
  readonly stop: () => void;
}

/** Where progress is shown. */
export interface ProgressPlace {
  readonly isTerminal: boolean;
  readonly columns: number;
  readonly write: (text: string) => void;
  readonly print: (line: string) => void;
}

const standardError = (): ProgressPlace => ({
  isTerminal: isatty(2) && process.env["TERM"] !== "dumb",
  columns: (process.stderr as WriteStream).columns ?? 80,
  write: (text) => void process.stderr.write(text),
  print: (line) => console.log(line),
});

/** To the line's start, and all of it erased (ECMA-48 CR and EL). */
const erase = "\r\x1b[K";

/** Shows how far work is, by what `text` says, with the time since it began, until it is stopped. */
export function startProgress(text: () => string, place: ProgressPlace = standardError()): Progress {
  const { isTerminal, columns, write, print } = place;
  const started = performance.now();
  let now = text;
  const show = () => {
    if (!isTerminal) return;
    const line = `${clock(performance.now() - started)} ${now()}`;
    write(erase + (line.length < columns ? line : `${line.slice(0, columns - 4)}...`));
  };
  // Work that fails must not be kept from ending.
  const timer = isTerminal ? setInterval(show, 1000).unref() : null;
  show();
  return {
    say: (line) => {
      if (isTerminal) write(erase);
      print(line);
      show();
    },
    step: (what) => {
      now = () => what;
      show();
    },
    stop: () => {
      if (timer) clearInterval(timer);
      if (isTerminal) write(erase);
    },
  };
}

/** Milliseconds as "2:05". */
export function clock(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
