// How is a file changed so that no reader ever sees half of it? Write beside it, then rename.

import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, basename } from "node:path";

let counter = 0;

/**
 * Writes a file by rename; throws the system's error and leaves the old file as it was when that fails.
 *
 * The temporary name starts with "." and ends in ".tmp", so that no reader of the folder takes it for a file of its own.
 */
export function writeAtomic(path: string, content: string, mode: number): void {
  const temporary = `${dirname(path)}/.${basename(path).slice(0, 200)}.${process.pid}.${counter++}.tmp`;
  try {
    const file = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(file, content);
      fchmodSync(file, mode);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** How old a temporary file must be before it is taken for one that a killed process left, in milliseconds. */
const abandonedAfter = 60_000;

/** Removes temporary files of `writeAtomic` that a killed process left for files whose names `ours` knows. */
export function removeAbandoned(folder: string, ours: (name: string) => boolean): void {
  for (const entry of readdirSync(folder)) {
    const name = /^\.(.+)\.\d+\.\d+\.tmp$/.exec(entry)?.[1];
    if (name === undefined || !ours(name)) continue;
    const path = `${folder}/${entry}`;
    const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (written !== undefined && Date.now() - written > abandonedAfter) rmSync(path, { force: true });
  }
}

/**
 * Makes a folder that this process can write to.
 *
 * The reference's library makes its folders, at every level, without any permission bits; a process without
 * CAP_DAC_OVERRIDE can't enter them, but their owner may mend them, from the top.
 */
export function ensureFolder(path: string): void {
  const above = dirname(path);
  if (above !== path) ensureFolder(above);
  if (!existsSync(path)) mkdirSync(path, { mode: 0o755 });
  if ((statSync(path).mode & 0o700) !== 0o700) chmodSync(path, 0o755);
}

/** A file's text; null when there is none. */
export function contentOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
