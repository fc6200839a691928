// Reads sysfs: attributes, links and directories with the fewest system calls; all reads are synchronous.
// An absent fact is null; everything else that goes wrong throws with the path.

import { constants } from "node:os";
import * as libc from "./libc.ts";
import { view, hostOrder } from "./bytes.ts";

const { ENOENT, ENOTDIR, ENODEV, ENXIO, EINVAL, EOPNOTSUPP, EPERM } = constants.errno;

// Errors by which sysfs reports an absent fact: no such file, the device was removed, the driver does not support it.
const absent: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, ENODEV, ENXIO, EINVAL, EOPNOTSUPP]);

// Larger than any attribute (one page, fs/sysfs/file.c) and than any fixture; shared, since nothing here is asynchronous.
const buffer = new Uint8Array(32768);

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });

// Nearly everything in sysfs is ASCII, and latin1 is several times cheaper to decode.
const latin1 = Buffer.from(buffer.buffer);
const isAscii = (text: string): boolean => !/[^\0-\x7f]/.test(text);

/** True for a null answer, false for a result; throws what is neither. */
function isAbsent(result: number, syscall: string, path: string): boolean {
  if (result >= 0) return false;
  if (absent.has(-result)) return true;
  throw new libc.SystemError(syscall, -result, path);
}

/** Cuts newlines, NULs, spaces and tabs off the end. */
function trimmedLength(bytes: Uint8Array, length: number): number {
  let end = length;
  while (
    end > 0 &&
    (bytes[end - 1] === 0x0a || bytes[end - 1] === 0 || bytes[end - 1] === 0x20 || bytes[end - 1] === 0x09)
  )
    end--;
  return end;
}

/**
 * An attribute's text without what trails it, in three calls; null when it is absent or not applicable
 * (ENOENT, ENOTDIR, ENODEV, ENXIO, EINVAL, EOPNOTSUPP). Throws SystemError for other failures and an Error for
 * content which is not UTF-8. Content beyond 32 KiB is refused: no attribute is that long.
 */
export function readAttribute(path: string): string | null {
  const fd = libc.open(path, libc.O_RDONLY | libc.O_CLOEXEC);
  if (isAbsent(fd, "open", path)) return null;
  const length = libc.readInto(fd, buffer);
  libc.close(fd);
  if (isAbsent(length, "read", path)) return null;
  if (length === buffer.length) throw new Error(`${path}: longer than an attribute can be`);
  const end = trimmedLength(buffer, length);
  const text = latin1.toString("latin1", 0, end);
  if (isAscii(text)) return text;
  try {
    return strict.decode(buffer.subarray(0, end));
  } catch (cause) {
    throw new Error(`${path}: not UTF-8`, { cause });
  }
}

/** A symbolic link's target as it is written, in one call; null when the path is absent or not a link. */
export function readLink(path: string): string | null {
  const length = libc.readlinkInto(path, buffer);
  if (isAbsent(length, "readlink", path)) return null;
  const text = latin1.toString("latin1", 0, length);
  return isAscii(text) ? text : lossy.decode(buffer.subarray(0, length));
}

/** The last component of a symbolic link's target ("ixgbe" of ".../drivers/ixgbe"); null as readLink. */
export function readLinkName(path: string): string | null {
  const target = readLink(path);
  return target === null ? null : target.slice(target.lastIndexOf("/") + 1);
}

/** The sorted names in a directory without "." and ".."; null when it is absent. A name that is not UTF-8 shows U+FFFD. */
export function listDirectory(path: string): readonly string[] | null {
  const names: string[] = [];
  return eachEntry(path, (name) => names.push(name)) ? names.sort() : null;
}

/**
 * The names in a directory, sorted, each with its inode number; null when it is absent. A device that was removed and added again has another
 * number, since kernfs gives them out in a cycle (fs/kernfs/dir.c __kernfs_new_node).
 */
export function listInodes(path: string): ReadonlyMap<string, bigint> | null {
  const inodes: [string, bigint][] = [];
  const isThere = eachEntry(path, (name, inode) => inodes.push([name, inode]));
  return isThere ? new Map(inodes.sort(([a], [b]) => (a < b ? -1 : 1))) : null;
}

/** Calls `take` for each entry of a directory, "." and ".." left out; false when it is absent. */
function eachEntry(path: string, take: (name: string, inode: bigint) => void): boolean {
  const fd = libc.open(path, libc.O_RDONLY | libc.O_DIRECTORY | libc.O_CLOEXEC);
  if (isAbsent(fd, "open", path)) return false;
  try {
    for (;;) {
      const length = libc.getdentsInto(fd, buffer);
      if (isAbsent(length, "getdents64", path)) return false;
      // Only an empty answer is the end: a signal cuts one short (filldir64 in fs/readdir.c).
      if (length === 0) return true;
      takeEntries(length, take);
    }
  } finally {
    libc.close(fd);
  }
}

// struct linux_dirent64: d_ino u64, d_off i64, d_reclen u16, d_type u8, d_name with a NUL (include/linux/dirent.h).
function takeEntries(length: number, take: (name: string, inode: bigint) => void): void {
  const entries = view(buffer);
  const text = latin1.toString("latin1", 0, length);
  for (let offset = 0; offset < length; offset += entries.getUint16(offset + 16, hostOrder === "little")) {
    const start = offset + 19;
    const end = text.indexOf("\0", start);
    const ascii = text.slice(start, end);
    const name = isAscii(ascii) ? ascii : lossy.decode(buffer.subarray(start, end));
    if (name !== "." && name !== "..") take(name, entries.getBigUint64(offset, hostOrder === "little"));
  }
}

/**
 * Whether something is at the path, links followed, in one call; throws SystemError when that can't be known.
 *
 * A device node that a device cgroup keeps from us (systemd's DevicePolicy, a container) exists: the kernel returns EPERM only once
 * it has found it (inode_permission in fs/namei.c), and EACCES where it may not search.
 */
export function exists(path: string): boolean {
  const result = libc.access(path);
  return result === -EPERM || !isAbsent(result, "access", path);
}
