// What is wrong with the operator's file, where, and what to do about it.

import { oneLine } from "../text.ts";

/**
 * One finding in the config file.
 *
 * "error" rejects the file; "skip" rejects the entry it is in, and the others run, as the upstream plugin does;
 * "warning" is doubtful and runs.
 */
export interface Problem {
  readonly severity: "error" | "skip" | "warning";
  /** Where in the file: "resourceList[2].selectors[0].vendors"; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** Line and column, from 1; null for what is about no place in the file. */
  readonly line: number | null;
  readonly column: number | null;
}

/** The order of a file: what is about no place in it comes first. */
export const inFileOrder = (a: Problem, b: Problem): number =>
  (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

/** A printed problem. */
export type ProblemLine = `${string}: ${"error" | "warning"}: ${string}`;

/** Prints a problem on one line: "FILE:LINE:COLUMN: warning: PATH: MESSAGE"; "FILE: error: MESSAGE" for what is about no place in it. */
export function formatProblem(file: string, { severity, path, message, line, column }: Problem): ProblemLine {
  const kind = severity === "skip" ? "error: entry skipped" : severity;
  const place = line === null ? file : `${file}:${line}:${column}`;
  return oneLine(`${place}: ${kind}: ${path === "" ? "" : `${path}: `}${message}`) as ProblemLine;
}

/** The known word that was probably meant: the nearest within two edits (one for short words); null when none is near. */
export function didYouMean(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let nearest = word.length < 5 ? 2 : 3;
  for (const candidate of known) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    if (edits < nearest) [best, nearest] = [candidate, edits];
  }
  return best;
}

/** The Levenshtein distance of two words of at most 64 characters; Infinity for longer ones. */
function distance(a: string, b: string): number {
  if (Math.max(a.length, b.length) > 64) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? Infinity;
}
