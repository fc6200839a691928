// How is a file changed so that no reader ever sees half of it? Write beside it, then rename.

import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  lstatSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, basename } from "node:path";
import { namesIn } from "./folder-names.ts";
import { readText } from "./read-text.ts";

/**
 * Writes a file by rename; throws the system's error and leaves the old file as it was when that fails.
 *
 * The temporary name starts with "." and ends in ".tmp", so that no reader of the folder takes it for a file of its own. It
 * ends in a random number: in their containers two plugins that overlap are both process 1.
 */
export function writeAtomic(path: string, content: string, mode: number): void {
  const [chance = 0] = crypto.getRandomValues(new Uint32Array(1));
  const temporary = `${dirname(path)}/.${basename(path).slice(0, 200)}.${process.pid}.${chance}.tmp`;
  const file = openSync(temporary, "wx", 0o600);
  try {
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

/** Removes temporary files of `writeAtomic` that a killed process left for files whose names `isOwn` accepts; the folder may be missing. */
export function removeTemporaryFiles(folder: string, isOwn: (name: string) => boolean): void {
  for (const entry of namesIn(folder)) {
    const name = /^\.(.+)\.\d+\.\d+\.tmp$/.exec(entry)?.[1];
    if (name === undefined || !isOwn(name)) continue;
    const path = `${folder}/${entry}`;
    const written = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (written !== undefined && Date.now() - written > abandonedAfter) rmSync(path, { force: true });
  }
}

/**
 * Makes a folder that this process can write to.
 *
 * The upstream plugin's library makes its folders, at every level, without any permission bits; a process without
 * CAP_DAC_OVERRIDE can't enter them, but their owner may change them, from the top. Folders with any bit are left as they
 * are: "/" itself may be 0555.
 */
export function ensureFolder(path: string): void {
  const above = dirname(path);
  if (above !== path) ensureFolder(above);
  const isNew = !existsSync(path);
  if (isNew) mkdirSync(path);
  // Whatever the umask: its readers need not be root.
  if (isNew || (statSync(path).mode & 0o777) === 0) chmodSync(path, 0o755);
}

/** Removes what has this name, a link and not what it leads to; false for a folder, which is never the plugin's, and when it is missing. */
export function removeFile(path: string): boolean {
  // A read-only file system refuses even the removal of a missing file.
  if (!lstatSync(path, { throwIfNoEntry: false })) return false;
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (["ENOENT", "EISDIR", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** No file of the plugin is larger, in bytes. */
const largest = 16 << 20;

/** A file's text; null when it is missing, or can't be the plugin's: a link, a FIFO, a folder. */
export function contentOf(path: string): string | null {
  try {
    return readText(path, largest, "refuse");
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (["ENOENT", "ELOOP", "EINVAL", "EISDIR", "EFBIG", "ENXIO"].includes(code)) return null;
    throw error;
  }
}
