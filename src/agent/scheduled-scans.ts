// Scans that no event causes: each has a reason, and one reason has one scan.

import type { Stale } from "./change-queue.ts";

/** The scans that are scheduled. */
export class ScheduledScans {
  readonly #due: (stale: Stale) => void;
  readonly #timers = new Map<string, Timer>();
  #isClosed = false;

  /** `due` is called when the time of a scan has come. */
  constructor(due: (stale: Stale) => void) {
    this.#due = due;
  }

  /** Schedules a scan in this many milliseconds, in place of what was scheduled for the same reason before; null for none. */
  set(reason: string, stale: Stale, delay: number | null): void {
    clearTimeout(this.#timers.get(reason));
    this.#timers.delete(reason);
    if (delay === null || this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(reason);
      this.#due(stale);
    }, Math.ceil(delay));
    this.#timers.set(reason, timer);
  }

  /** Schedules a scan in this many milliseconds, unless one is scheduled for the same reason. */
  add(reason: string, stale: Stale, delay: number): void {
    if (!this.#timers.has(reason)) this.set(reason, stale, delay);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
