// Whose socket is at a path? A socket is bound under a hidden name and renamed into place: the kubelet never sees
// one that does not listen yet, and a socket that another instance put there is never mistaken for this one's.

import { lstatSync, readdirSync, renameSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { identityOf } from "./identity.ts";

/** A hidden name beside the socket's, of 9 characters: the kubelet's watcher skips names that start with ".". */
export function hiddenName(folder: string): string {
  return `${folder}/.${crypto.randomUUID().slice(0, 8)}`;
}

/** Another process may remove the file at any time. */
const isSocket = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;

/**
 * Removes sockets without a listener, under hidden names and those that `isOwn` accepts: their process was killed. A kubelet
 * would dial them forever.
 */
export async function removeAbandonedSockets(folder: string, isOwn: (name: string) => boolean): Promise<void> {
  for (const name of readdirSync(folder)) {
    const path = `${folder}/${name}`;
    const identity = isSocket(path) && (/^\.[0-9a-f]{8}$/.test(name) || isOwn(name)) ? identityOf(path) : null;
    if (identity !== null && !(await isListening(path))) removeIf(path, identity);
  }
}

/** Takes a socket out of its place for an instant, so that the kubelet's watcher sees it created again. */
export function reappear(path: string, folder: string): void {
  const hidden = hiddenName(folder);
  renameSync(path, hidden);
  renameSync(hidden, path);
}

/** Removes the file at a path if it still is the one with this identity. */
export function removeIf(path: string, identity: string): void {
  if (identityOf(path) === identity) rmSync(path, { force: true });
}

/** How long a process may take to accept a connection, in milliseconds. */
const probeLimit = 1000;

/** Whether a process listens on a unix socket, stopped or not; false when it refuses or is missing. */
export async function isListening(path: string): Promise<boolean> {
  const { listens, socket } = await dial(path);
  socket?.destroy();
  return listens;
}

/**
 * Connects to a unix socket, for at most a second. A listener whose backlog is full, as that of a process that was stopped for long,
 * counts as one that refuses: Bun reports connect(2)'s EAGAIN (Linux net/unix/af_unix.c unix_stream_connect) as ECONNREFUSED.
 */
export function dial(path: string): Promise<{ readonly listens: boolean; readonly socket: Socket | null }> {
  const { promise, resolve } = Promise.withResolvers<{ listens: boolean; socket: Socket | null }>();
  const socket = connect({ path });
  const give = (listens: boolean, found: Socket | null) => {
    clearTimeout(limit);
    if (!found) socket.destroy();
    resolve({ listens, socket: found });
  };
  const limit = setTimeout(() => give(true, null), probeLimit);
  socket.once("connect", () => give(true, socket));
  socket.on("error", () => give(false, null));
  return promise;
}
