// How is a file read that another program may have put there? Only a regular file, up to a limit, and without waiting:
// a FIFO without a writer would block the whole program.

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** A file can't be read for what it is; `code` is that of a system error. */
class FileError extends Error {
  override readonly name = "FileError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The text of a regular file of at most `most` bytes; throws an error with a `code` (EISDIR, EFBIG, or the system's) when it
 * is not one. A symbolic link is followed unless `links` is "refuse" (then ELOOP).
 */
export function readText(path: string, most: number, links: "follow" | "refuse" = "follow"): string {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
  const file = openSync(path, O_RDONLY | O_NONBLOCK | (links === "refuse" ? O_NOFOLLOW : 0));
  try {
    const status = fstatSync(file);
    if (status.isDirectory()) throw new FileError("EISDIR", `EISDIR: ${path} is a directory`);
    if (!status.isFile()) throw new FileError("EINVAL", `EINVAL: ${path} is not a regular file`);
    const tooLarge = () => new FileError("EFBIG", `too large: at most ${most} bytes are read of ${path}`);
    if (status.size > most) throw tooLarge();
    // One byte more than there should be: a file that grows is read again when its event comes, not endlessly.
    let bytes = Buffer.allocUnsafe(status.size + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0) return bytes.toString("utf8", 0, length);
      if (length > most) throw tooLarge();
      if (length === bytes.length) bytes = Buffer.concat([bytes], Math.min(most + 1, length * 2));
    }
  } finally {
    closeSync(file);
  }
}
