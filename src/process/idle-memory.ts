// What does an idle plugin cost? Once it is quiet, memory that a start or a burst of calls left is released, and timers
// may be late, so that fewer of them wake the process.

import { setTimerSlack } from "../../native/libc.ts";
import { releaseExecutable } from "../../native/memory.ts";
import type { Log } from "./log.ts";

/** How often idleness is checked, in milliseconds: first, and at most, since every check is a wake-up. */
const interval = { first: 5000, most: 60_000 } as const;

/** CPU time between two checks from which on the process is busy, in milliseconds. */
const busy = 50;

/** How much resident memory must have grown for another release, in bytes. */
const worth = 16 << 20;

/** How long the heap may take to shrink before the executable's pages, which it needs for that, are released, in milliseconds. */
const shrinking = 500;

/**
 * How late timers may be while idle, in milliseconds. Bun wakes up once a second as long as a connection is open, for the date
 * in HTTP headers and for time limits that we don't use.
 */
const late = 2000;

/** Releases memory whenever the process was busy and is no longer. */
export class IdleMemory {
  readonly #log: Log;
  readonly #resting: () => void;
  #timer: Timer;
  #wait: number = interval.first;
  #cpu = cpuTime();
  /** What was resident after the last release, in bytes. */
  #rested = 0;
  #late = false;
  #wasActive = false;

  /** `resting` is called when memory is released, for others to do the same. */
  constructor(log: Log, resting: () => void) {
    this.#log = log;
    this.#resting = resting;
    this.#timer = this.#after(this.#wait, () => this.#check());
  }

  close(): void {
    clearTimeout(this.#timer);
    this.noteActivity();
  }

  /** Something happened: timers are on time again. */
  noteActivity(): void {
    if (this.#late) setTimerSlack(0);
    this.#late = false;
    this.#wasActive = true;
  }

  #check(): void {
    const cpu = cpuTime();
    const quiet = cpu - this.#cpu < busy;
    this.#cpu = cpu;
    // Recent activity may have timers pending; the next check is later than they are.
    if (quiet && !this.#wasActive && !this.#late) {
      setTimerSlack(late);
      this.#late = true;
    }
    this.#wasActive = false;
    this.#wait = quiet ? Math.min(2 * this.#wait, interval.most) : interval.first;
    const before = process.memoryUsage.rss();
    if (!quiet || before < this.#rested + worth) {
      this.#timer = this.#after(this.#wait, () => this.#check());
      return;
    }
    // Collects garbage and forgets compiled code, which is made again for what is called again.
    Bun.shrink();
    this.#resting();
    this.#timer = this.#after(shrinking, () => {
      // In some starts the first time leaves 6 to 20 MiB that the second one releases (docs/reference/performance.md).
      Bun.shrink();
      releaseExecutable();
      this.#rested = process.memoryUsage.rss();
      this.#log.debug("memory released", { from: mebibytes(before), to: mebibytes(this.#rested) });
      this.#cpu = cpuTime();
      this.#timer = this.#after(this.#wait, () => this.#check());
    });
  }

  #after(milliseconds: number, action: () => void): Timer {
    return setTimeout(action, milliseconds).unref();
  }
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)}MiB`;

/** The CPU time that the process has used, in milliseconds. */
function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
