// What must be read again, and when? Events decide only which reader runs; bursts coalesce into one scan, after a
// moment of quiet that depends on what changed.

/** What can be stale: functions (sysfs), links (netlink), the config file; or what is done with a scan that returned late. */
export type Stale = "functions" | "links" | "config" | "late scan";

interface Debounce {
  /** Milliseconds without a further event before a scan; 0 means that a scan follows the first event after `maxMs`. */
  readonly quietMs: number;
  /** Milliseconds after the first event at which a scan runs even when events go on. */
  readonly maxMs: number;
}

/**
 * VFs are created one after the other over many events, so functions need quiet; a link that flaps shorter than its
 * delay is never seen to be down.
 */
export const debounce: Readonly<Record<Stale, Debounce>> = {
  functions: { quietMs: 800, maxMs: 4000 },
  links: { quietMs: 0, maxMs: 100 },
  config: { quietMs: 100, maxMs: 1000 },
  "late scan": { quietMs: 0, maxMs: 100 },
};

/** Collects what is stale; next() returns it when it has settled. */
export class ChangeQueue {
  readonly #due = new Map<Stale, { readonly first: number; readonly at: number; readonly now: boolean }>();
  #timer: Timer | null = null;
  #wake: (() => void) | null = null;
  #closed = false;
  readonly #marked: () => void;

  /** `marked` is called at each mark, before anything is timed. */
  constructor(marked: () => void = () => {}) {
    this.#marked = marked;
  }

  /** Notes that something is stale; `now` skips the debounce. */
  mark(stale: Stale, now = false): void {
    if (this.#closed) return;
    this.#marked();
    const time = performance.now();
    const { quietMs, maxMs } = debounce[stale];
    const known = this.#due.get(stale);
    const first = known?.first ?? time;
    const settled = Math.min(first + maxMs, quietMs === 0 ? first + maxMs : time + quietMs);
    // What is due now is not delayed by later events.
    this.#due.set(stale, known?.now === true ? known : { first, at: now ? time : settled, now });
    this.#schedule();
  }

  /** Waits until something has settled; null when closed. Returns everything that is stale by then. */
  async next(): Promise<ReadonlySet<Stale> | null> {
    while (!this.#closed) {
      const time = performance.now();
      const settled = [...this.#due].filter(([, { at }]) => at <= time).map(([stale]) => stale);
      if (settled.length > 0) {
        for (const stale of settled) this.#due.delete(stale);
        return new Set(settled);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#schedule();
      });
    }
    return null;
  }

  close(): void {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#wake?.();
  }

  #schedule(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#wake || this.#due.size === 0) return;
    const soonest = Math.min(...[...this.#due.values()].map(({ at }) => at));
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#wake?.();
        this.#wake = null;
      },
      Math.max(0, soonest - performance.now()),
    );
  }
}
