// Notifies the service manager of the program's state. sd_notify(3): one datagram of NAME=VALUE lines to
// the socket that $NOTIFY_SOCKET names. Without libsystemd, of which no more would be needed than this file.

import { reader, writer } from "./bytes.ts";
import * as libc from "./libc.ts";

/** sun_path of struct sockaddr_un (include/uapi/linux/un.h), in bytes. */
const longestPath = 108;

/** How long to wait for a manager that does not read, in seconds. */
const sendTimeout = 1;

const encoder = new TextEncoder();

/**
 * struct sockaddr_un of a path, or of an abstract name that begins with "@"; null for what is neither (the protocol also
 * has vsock:, for virtual machines) or is too long.
 */
export function unixAddress(name: string): Uint8Array | null {
  const path = encoder.encode(name);
  if (!/^[@/]./.test(name) || path.length > longestPath) return null;
  const address = writer(2 + path.length)
    .u16(0, libc.AF_UNIX)
    .raw(2, path).bytes;
  if (name.startsWith("@")) address[2] = 0;
  return address;
}

/** Sends lines like "READY=1" to the socket of that name as one datagram. Throws SystemError. */
export function notify(socketName: string, lines: readonly string[]): void {
  const address = unixAddress(socketName);
  if (address === null) throw new Error(`NOTIFY_SOCKET is neither a path nor an abstract name: ${socketName}`);
  // Connects each time: the manager may have been executed again, with another socket of that name.
  const fd = libc.socket(libc.AF_UNIX, libc.SOCK_DGRAM | libc.SOCK_CLOEXEC, 0);
  try {
    libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_SNDTIMEO, writer(16).u64(0, BigInt(sendTimeout)).bytes);
    libc.connect(fd, address);
    libc.send(fd, encoder.encode(lines.join("\n")));
  } finally {
    libc.close(fd);
  }
}

/** CLOCK_MONOTONIC in microseconds: as MONOTONIC_USEC of a reload requires. */
export function monotonicMicroseconds(): bigint {
  const time = reader(libc.monotonicTime());
  return time.u64(0) * 1_000_000n + time.u64(8) / 1000n;
}
