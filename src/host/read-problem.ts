// What could not be read? A device that can't be read is skipped, with one warning that names the file.

import { messageOf } from "../text.ts";

/** One thing that was skipped: `key` identifies repeats, `message` is a whole sentence. */
export interface ReadProblem {
  readonly key: string;
  readonly message: `${string} is skipped: ${string}` | `needVhostNet: ${string}`;
}

/** Runs a reader; when it throws, notes the problem and returns null. */
export function tryRead<T>(problems: ReadProblem[], key: string, what: string, read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    problems.push({ key, message: `${what} is skipped: ${messageOf(error)}` });
    return null;
  }
}

/** A fact that devices do without: null where it can't be read, and no warning. */
export function orUnknown<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
