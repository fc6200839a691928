// Is what is at a path still the same file? Paths are reused: sockets and files are replaced by rename, folders are removed and created again.

import { type BigIntStats, lstatSync, statSync } from "node:fs";

/**
 * The identity of what is at a path, a link as such; null when nothing is there. It survives a rename, and differs between a new file
 * and a deleted one whose inode number it was given: device, inode number, time of birth.
 */
export const identityOf = (path: string): string | null => describe(path, lstatSync, identity);

/** The identity of what is at a path, links followed: of a folder that may be reached by a link. */
export const targetIdentityOf = (path: string): string | null => describe(path, statSync, identity);

/** The identity of a file and of its content: it changes also when the file is written in place. */
export const revisionOf = (path: string): string | null =>
  describe(path, lstatSync, (stats) => `${identity(stats)}/${stats.mtimeNs}`);

type Stat = (path: string, options: { readonly bigint: true }) => BigIntStats;

const identity = ({ dev, ino, birthtimeNs }: BigIntStats): string => `${dev}/${ino}/${birthtimeNs}`;

function describe(path: string, stat: Stat, format: (stats: BigIntStats) => string): string | null {
  try {
    return format(stat(path, { bigint: true }));
  } catch {
    return null;
  }
}
