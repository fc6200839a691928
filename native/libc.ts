// System calls, through the wrappers of the C library: this is the program's only dlopen.
// Socket calls throw SystemError; file calls, whose failure is often an answer, return -errno as the kernel does.

import { FFIType, dlopen, ptr, read } from "bun:ffi";
import { constants } from "node:os";
import { view, hostOrder } from "./bytes.ts";

// Bun's loader finds "libc.so.6" only by its full name; null (the executable itself) is refused.
const { symbols: libc } = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: "ptr" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  send: { args: ["i32", "ptr", "usize", "i32"], returns: FFIType.i64_fast },
  recvfrom: { args: ["i32", "ptr", "usize", "i32", "ptr", "ptr"], returns: FFIType.i64_fast },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  read: { args: ["i32", "ptr", "usize"], returns: FFIType.i64_fast },
  readlink: { args: ["ptr", "ptr", "usize"], returns: FFIType.i64_fast },
  access: { args: ["ptr", "i32"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  madvise: { args: ["u64", "usize", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
  // getdents64 has a wrapper of its own only since glibc 2.30.
  syscall: { args: ["i64", "i32", "ptr", "usize"], returns: FFIType.i64_fast },
});

/** The address families, socket types and options that this program uses (include/linux/socket.h, asm-generic/socket.h). */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;
export const SOL_SOCKET = 1;
export const SO_RCVBUF = 8;
export const SO_RCVTIMEO = 20;
export const SO_SNDTIMEO = 21;
export const SO_RCVBUFFORCE = 33;
export const MSG_TRUNC = 0x20;
export const O_RDONLY = 0;
export const O_DIRECTORY = process.arch === "arm64" ? 0x4000 : 0x10000;
export const O_CLOEXEC = 0x80000;
const MADV_DONTNEED = 4;
const PR_SET_TIMERSLACK = 29;
const SYS_getdents64 = process.arch === "arm64" ? 61 : 217;

export const { EINTR, EAGAIN, ETIMEDOUT } = constants.errno;

// Where two names share a number, the kernel's own word wins. 524 is kernel-internal, yet drivers leak it.
const errnoNames: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
  [constants.errno.EAGAIN, "EAGAIN"] as const,
  [constants.errno.EOPNOTSUPP, "EOPNOTSUPP"] as const,
  [108, "ESHUTDOWN"] as const,
  [524, "ENOTSUPP"] as const,
]);

/** The symbolic name of an errno ("EPERM" for 1), or "errno 999" for one without a name. */
export const errnoName = (errno: number): string => errnoNames.get(errno) ?? `errno ${errno}`;

/** A system call failed: `syscall` is its name, `code` the symbolic and `errno` the positive numeric reason. */
export class SystemError extends Error {
  readonly syscall: string;
  readonly code: string;
  readonly errno: number;
  constructor(syscall: string, errno: number, subject: string | null = null) {
    super(`${syscall}${subject === null ? "" : ` ${subject}`}: ${errnoName(errno)}`);
    this.name = "SystemError";
    this.syscall = syscall;
    this.code = errnoName(errno);
    this.errno = errno;
  }
}

// The location is one per thread, and so is this module: a Worker evaluates it again.
const errnoLocation = libc.__errno_location()!;

/** Runs a call until it isn't interrupted; its result, or -errno. errno is read before anything else can run. */
function untilDone(call: () => number | bigint): number {
  for (;;) {
    const result = Number(call());
    if (result !== -1) return result;
    const errno = read.i32(errnoLocation, 0);
    if (errno !== EINTR) return -errno;
  }
}

function orThrow(syscall: string, result: number, subject: string | null = null): number {
  if (result < 0) throw new SystemError(syscall, -result, subject);
  return result;
}

/** The address of a buffer's first byte, to be put in a structure; valid as long as the caller keeps the buffer. */
export const pointerTo = (bytes: Uint8Array): number => ptr(bytes);

/** socket(2): a new descriptor. */
export const socket = (domain: number, type: number, protocol: number): number =>
  orThrow(
    "socket",
    untilDone(() => libc.socket(domain, type, protocol)),
  );

/** bind(2) to an address structure. */
export function bind(fd: number, address: Uint8Array): void {
  orThrow(
    "bind",
    untilDone(() => libc.bind(fd, address, address.length)),
  );
}

/** connect(2) to an address structure: for a datagram socket, where send() sends to. */
export function connect(fd: number, address: Uint8Array): void {
  orThrow(
    "connect",
    untilDone(() => libc.connect(fd, address, address.length)),
  );
}

/** getsockname(2): the socket's own address structure, at most `size` bytes. */
export function getsockname(fd: number, size: number): Uint8Array {
  const address = new Uint8Array(size);
  const length = new Uint32Array([size]);
  orThrow(
    "getsockname",
    untilDone(() => libc.getsockname(fd, address, length)),
  );
  return address.subarray(0, Math.min(length[0]!, size));
}

/** setsockopt(2). */
export function setsockopt(fd: number, level: number, option: number, value: Uint8Array): void {
  orThrow(
    "setsockopt",
    untilDone(() => libc.setsockopt(fd, level, option, value, value.length)),
  );
}

/** send(2) to the default peer: the number of bytes sent. */
export const send = (fd: number, bytes: Uint8Array): number =>
  orThrow(
    "send",
    untilDone(() => libc.send(fd, bytes, bytes.length, 0)),
  );

/** A received datagram's length (with MSG_TRUNC its true one, which may exceed the buffer) and its netlink sender. */
export interface Received {
  readonly length: number;
  /** The sender's netlink port, 0 being the kernel; null when the sender has no netlink address. */
  readonly sender: number | null;
}

const senderAddress = new Uint8Array(16);
const senderLength = new Uint32Array(1);

/** recvfrom(2) into a buffer. */
export function receive(fd: number, buffer: Uint8Array, flags: number): Received {
  senderLength[0] = senderAddress.length;
  const length = orThrow(
    "recvfrom",
    untilDone(() => libc.recvfrom(fd, buffer, buffer.length, flags, senderAddress, senderLength)),
  );
  const little = hostOrder === "little";
  const from = view(senderAddress);
  const isNetlink = senderLength[0]! >= 12 && from.getUint16(0, little) === AF_NETLINK;
  return { length, sender: isNetlink ? from.getUint32(4, little) : null };
}

/** ioctl(2) with a structure which the kernel may change in place. */
export function ioctl(fd: number, request: number, structure: Uint8Array): void {
  orThrow(
    "ioctl",
    untilDone(() => libc.ioctl(fd, request, structure)),
  );
}

/** close(2). Never repeated and never failing: Linux gives the descriptor up in any case. */
export function close(fd: number): void {
  libc.close(fd);
}

// PATH_MAX with its NUL. One buffer is enough: no call keeps its path.
const pathBuffer = new Uint8Array(4096);
const encoder = new TextEncoder();

/** Puts a path where the calls below find it, or throws why it can't be one. */
function placePath(path: string): number {
  if (path.includes("\0")) return -constants.errno.EINVAL;
  const { read: taken, written } = encoder.encodeInto(path, pathBuffer);
  if (taken < path.length || written === pathBuffer.length) return -constants.errno.ENAMETOOLONG;
  pathBuffer[written] = 0;
  return 0;
}

const withPath = (path: string, call: () => number | bigint): number => placePath(path) || untilDone(call);

/** open(2) for reading: a descriptor, or -errno. */
export const open = (path: string, flags: number): number => withPath(path, () => libc.open(pathBuffer, flags, 0));

/** read(2): the number of bytes, 0 at the end, or -errno. */
export const readInto = (fd: number, buffer: Uint8Array): number =>
  untilDone(() => libc.read(fd, buffer, buffer.length));

/** readlink(2): the length of the target put into the buffer (not terminated), or -errno. */
export const readlinkInto = (path: string, buffer: Uint8Array): number =>
  withPath(path, () => libc.readlink(pathBuffer, buffer, buffer.length));

/** access(2) with F_OK: 0, or -errno. */
export const access = (path: string): number => withPath(path, () => libc.access(pathBuffer, 0));

/** getdents64(2): the number of bytes of directory entries (fs/readdir.c), 0 at the end, or -errno. */
export const getdentsInto = (fd: number, buffer: Uint8Array): number =>
  untilDone(() => libc.syscall(SYS_getdents64, fd, buffer, buffer.length));

const CLOCK_MONOTONIC = 1;

/** clock_gettime(2) of CLOCK_MONOTONIC: struct timespec, seconds and nanoseconds as two 64-bit numbers. */
export function monotonicTime(): Uint8Array {
  const time = new Uint8Array(16);
  orThrow(
    "clock_gettime",
    untilDone(() => libc.clock_gettime(CLOCK_MONOTONIC, time)),
  );
  return time;
}

/**
 * madvise(2) with MADV_DONTNEED: pages of a file leave the process, and are read from it again when touched. Only for what
 * was never written to: changes are lost. A kernel that refuses keeps them.
 */
export function adviseUnneeded(start: number, length: number): void {
  libc.madvise(start, length, MADV_DONTNEED);
}

/**
 * prctl(2) with PR_SET_TIMERSLACK: how much later than requested the kernel may wake the calling thread, in milliseconds; 0 for
 * the default (50 µs). Events on a descriptor are not delayed.
 */
export function setTimerSlack(milliseconds: number): void {
  libc.prctl(PR_SET_TIMERSLACK, milliseconds * 1e6, 0, 0, 0);
}
