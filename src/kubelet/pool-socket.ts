// How does a pool's socket come to its path, and is it still there? It is bound under a hidden name and renamed, so that the kubelet never
// sees one that does not listen yet; and a socket of another instance is never mistaken for this one's.

import { chmodSync, existsSync, renameSync, rmSync } from "node:fs";
import { identityOf } from "../fs/identity.ts";
import { hiddenName, reappear, removeIf } from "../fs/socket-file.ts";
import { stableReason } from "../text.ts";

/** The server behind the socket. */
export interface SocketServer {
  listen(path: string): Promise<void>;
  close(): Promise<void>;
}

/** What is at the pool's path: our socket, nothing, or another file, whether or not a process listens on it. */
export type SocketPlace = "ours" | "empty" | "foreign";

/** The socket of one pool, over all servers that listen at it one after the other. */
export class PoolSocket<Server extends SocketServer> {
  readonly path: string;
  readonly folder: string;
  #bound: { readonly server: Server; readonly identity: string } | null = null;
  #isClosed = false;

  constructor(folder: string, name: string) {
    this.folder = folder;
    this.path = `${folder}/${name}`;
  }

  /** The server that was bound last; null before the first, and after close(). */
  get server(): Server | null {
    return this.#bound?.server ?? null;
  }

  get hasFolder(): boolean {
    return existsSync(this.folder);
  }

  get place(): SocketPlace {
    const identity = identityOf(this.path);
    if (identity === null) return "empty";
    return identity === this.#bound?.identity ? "ours" : "foreign";
  }

  /**
   * Lets a server listen at the path, in place of whatever is there. Returns the server that was bound before, which goes on with its
   * connections until it is closed; null when there was none. After close() the new server is closed. Throws when the socket can't be
   * put in place, with what to do.
   */
  async bind(server: Server): Promise<Server | null> {
    const hidden = hiddenName(this.folder);
    await server.listen(hidden);
    const identity = identityOf(hidden);
    if (this.#isClosed || identity === null) {
      rmSync(hidden, { force: true });
      await server.close();
      if (!this.#isClosed) throw new Error(`${this.folder} was deleted while a socket was bound in it`);
      return null;
    }
    try {
      // The kubelet is root; whatever the umask, no other user may connect.
      chmodSync(hidden, 0o600);
      renameSync(hidden, this.path);
    } catch (cause) {
      rmSync(hidden, { force: true });
      await server.close();
      // Without the hidden name, which differs at every attempt: the same reason is logged once.
      const message = `the socket can't be put at ${this.path}: ${stableReason(cause)}; remove what is at that path`;
      throw new Error(message, { cause });
    }
    const earlier = this.server;
    this.#bound = { server, identity };
    return earlier;
  }

  /** Takes the socket out of its place for an instant, so that the kubelet's watcher sees it created again. */
  reappear(): void {
    reappear(this.path, this.folder);
  }

  /** Removes the socket, unless another one is in its place, and closes the server. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const bound = this.#bound;
    this.#bound = null;
    try {
      if (bound) removeIf(this.path, bound.identity);
    } finally {
      await bound?.server.close();
    }
  }
}
