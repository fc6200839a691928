// When does something change in a folder? inotify on the folder and on the folders above it, since a watch is silently
// dead after its folder was deleted and created again. Events that come together are reported together: sixteen pools that bind their
// sockets at once are one change of their folder.

import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import { targetIdentityOf } from "./identity.ts";

/** How many folders above the watched one are watched for its creation and removal. */
const ancestors = 2;

interface Watched {
  readonly path: string;
  identity: string | null;
  watcher: FSWatcher | null;
}

/** What changed in a folder: names, and null when it was the folder itself, or the name is unknown. */
export type Changed = ReadonlySet<string | null>;

/** Watches a folder that may be created and removed; reports what changed in it since the last report. */
export class FolderWatch {
  readonly #chain: Watched[] = [];
  readonly #changed: (names: Changed) => void;
  #names = new Set<string | null>();
  #notification: NodeJS.Immediate | null = null;
  #closed = false;

  constructor(folder: string, changed: (names: Changed) => void) {
    this.#changed = changed;
    for (let path = folder, level = 0; level <= ancestors; path = dirname(path), level++) {
      this.#chain.push({ path, identity: null, watcher: null });
      if (path === dirname(path)) break;
    }
    this.rearm();
  }

  /** Watches again what was recreated since; returns whether the folder itself was. */
  rearm(): boolean {
    if (this.#closed) return false;
    let renewed = false;
    // From the top down: what is created meanwhile is seen by the watch above it.
    for (const [level, watched] of [...this.#chain.entries()].toReversed()) {
      const identity = targetIdentityOf(watched.path);
      if (identity === watched.identity) continue;
      watched.watcher?.close();
      watched.watcher = null;
      watched.identity = identity;
      if (level === 0) renewed = true;
      if (identity === null) continue;
      const below = this.#chain[level - 1];
      try {
        watched.watcher = watch(watched.path, (_, name) =>
          this.#event(level, below, typeof name === "string" ? name : null),
        );
        watched.watcher.on("error", () => {
          watched.identity = null;
        });
      } catch {
        // It was removed before it could be watched: the watch on the folder above reports when it is back.
        watched.identity = null;
      }
    }
    return renewed;
  }

  close(): void {
    this.#closed = true;
    if (this.#notification) clearImmediate(this.#notification);
    for (const { watcher } of this.#chain) watcher?.close();
  }

  #event(level: number, below: Watched | undefined, name: string | null): void {
    if (this.#closed) return;
    if (level > 0 && below && name !== null && !below.path.endsWith(`/${name}`)) return;
    if (level === 0) this.#names.add(name);
    this.#notification ??= setImmediate(() => this.#notify());
  }

  /** Runs after all pending events: what they report has happened by then, so that the folders are checked once. */
  #notify(): void {
    this.#notification = null;
    const names = this.#names;
    this.#names = new Set();
    if (this.rearm()) names.add(null);
    if (names.size > 0) this.#changed(names);
  }
}
