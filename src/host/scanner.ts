// How does the main thread get scans of the node without waiting for drivers? A thread of its own scans; when it does not return in time,
// lists stay as they are, and one successor tries in its place.

import type { Device } from "./device.ts";
import { decodeDevices } from "./device-text.ts";
import type { OptionalFacts } from "./scan.ts";
import { ScanProgress } from "./scan-progress.ts";
import type { ReadProblem } from "./read-problem.ts";

/** What a thread is to do: to give back memory that it does not need, or to scan. */
export type ThreadOrder = ScanOrder | "rest";

/** What a thread is to scan. `isWhole`: functions too, not links and routes alone. */
export interface ScanOrder {
  readonly number: number;
  readonly root: string;
  readonly facts: OptionalFacts;
  readonly isWhole: boolean;
  readonly progress: SharedArrayBuffer;
}

/**
 * What a thread found: the ids of all devices in their order, and those devices that are not as they were sent last, as a text of device-text.ts; or
 * why it failed.
 */
export type ScanReply =
  | {
      readonly number: number;
      readonly ids: readonly string[];
      readonly changed: string;
      readonly problems: readonly ReadProblem[];
      readonly hasDefaultRoute: boolean;
    }
  | { readonly number: number; readonly error: string };

/** A scan of the node. */
export interface NodeScan {
  readonly devices: readonly Device[];
  readonly problems: readonly ReadProblem[];
  readonly hasDefaultRoute: boolean;
  /** Whether functions were read, too. */
  readonly isWhole: boolean;
  /** When it began, in milliseconds of performance.now(). */
  readonly began: number;
}

/** A thread that takes orders, one at a time. */
export interface ScanThread {
  post(order: ThreadOrder): void;
  /** Ends it; one that waits in the kernel ends when the kernel returns. */
  terminate(): void;
}

/** Starts a thread; `replied` is called with its answers, `failed` when it has ended by itself. */
export type StartScanThread = (replied: (reply: ScanReply) => void, failed: (reason: string) => void) => ScanThread;

/**
 * Where the executable has the thread's program; scripts/build/executable.ts sets it. In bytecode import.meta.url is the path of the source on the machine that
 * built, which does not exist elsewhere.
 */
declare const SRIOVDP_SCAN_WORKER: string | undefined;

/** Starts the thread of scan-worker.ts. */
export const startWorker: StartScanThread = (replied, failed) => {
  const isCompiled = typeof SRIOVDP_SCAN_WORKER === "string";
  const worker = new Worker(isCompiled ? SRIOVDP_SCAN_WORKER : new URL("./scan-worker.ts", import.meta.url).href);
  worker.addEventListener("message", ({ data }: MessageEvent<ScanReply>) => replied(data));
  worker.addEventListener("error", (event) => failed(event.message));
  return { post: (order) => worker.postMessage(order), terminate: () => worker.terminate() };
};

/** A scan that takes longer counts as stalled, in milliseconds. */
export const stalledAfter = 5000;

/** A scan that does not return. */
export interface StalledScan {
  /** When it began, in milliseconds of performance.now(). */
  readonly began: number;
  /** What it was reading, as "PCI function 0000:3b:01.3"; null when it is unknown. */
  readonly reading: string | null;
}

interface Running {
  readonly number: number;
  readonly began: number;
  readonly isWhole: boolean;
}

interface Slot {
  thread: ScanThread;
  readonly progress: SharedArrayBuffer;
  running: Running | null;
  /** The devices as this thread sent them. */
  devices: Map<string, Device>;
  /** The number of its last scan that succeeded. */
  last: number;
}

interface Waiter {
  readonly settle: (scan: NodeScan | null) => void;
  readonly fail: (error: Error) => void;
  timer: Timer | null;
}

/** Scans one node; concurrent callers share scans. */
export class NodeScanner {
  readonly #root: string;
  readonly #start: StartScanThread;
  readonly #late: () => void;
  readonly #limit: number;
  readonly #slots: Slot[] = [];
  /** The scan that is pending until a thread is free, and its waiters. */
  #requested: { facts: OptionalFacts; isWhole: boolean; waiters: Waiter[] } | null = null;
  readonly #awaited = new Map<number, Waiter[]>();
  #latest: NodeScan | null = null;
  #latestNumber = 0;
  #number = 0;
  #successorTimer: Timer | null = null;
  #closed = false;

  /** `late` is called when a scan returns after its callers have stopped waiting; `limit` is in milliseconds. */
  constructor(root: string, late: () => void, start: StartScanThread = startWorker, limit = stalledAfter) {
    this.#root = root;
    this.#late = late;
    this.#start = start;
    this.#limit = limit;
  }

  /** The scan that began last of those that succeeded; null before the first. */
  get latest(): NodeScan | null {
    return this.#latest;
  }

  /** The scan that has taken too long while no newer one returned; null when there is none. */
  get stalled(): StalledScan | null {
    const now = performance.now();
    const [oldest] = this.#slots
      .filter(({ running }) => running !== null && now - running.began >= this.#limit)
      .sort((a, b) => (a.running?.began ?? 0) - (b.running?.began ?? 0));
    if (!oldest?.running || (this.#latest !== null && this.#latest.began > oldest.running.began)) return null;
    return { began: oldest.running.began, reading: new ScanProgress(oldest.progress).reached };
  }

  /**
   * Scans the node from now on; `isWhole` reads its functions, too, not links and routes alone. Null when the scan does not return within the limit:
   * `late` is called when it does. Rejects when the node can't be scanned.
   */
  scan(facts: OptionalFacts, isWhole: boolean): Promise<NodeScan | null> {
    if (this.#closed) return Promise.resolve(null);
    return new Promise((settle, fail) => {
      const waiter: Waiter = { settle, fail, timer: null };
      waiter.timer = setTimeout(() => {
        waiter.timer = null;
        settle(null);
        // A little later than the limit: a scan that was started at once is stalled by then.
      }, this.#limit + 10);
      const { waiters = [], isWhole: alreadyWhole = false } = this.#requested ?? {};
      this.#requested = { facts, isWhole: isWhole || alreadyWhole, waiters: [...waiters, waiter] };
      this.#next();
    });
  }

  /** Starts the thread, so that the first scan need not wait for it. */
  prepare(): void {
    if (this.#slots.length === 0 && !this.#closed) this.#newSlot();
  }

  /** The plugin is idle: threads give back the memory that a burst of scans took. */
  rest(): void {
    for (const { thread, running } of this.#slots) if (running === null) thread.post("rest");
  }

  close(): void {
    this.#closed = true;
    if (this.#successorTimer) clearTimeout(this.#successorTimer);
    const waiting = [...(this.#requested?.waiters ?? []), ...[...this.#awaited.values()].flat()];
    this.#requested = null;
    this.#awaited.clear();
    for (const waiter of waiting) settle(waiter, () => waiter.settle(null));
    for (const { thread } of this.#slots.splice(0)) thread.terminate();
  }

  /** Starts the pending scan if a thread is free; else makes sure that a successor replaces one that does not return. */
  #next(): void {
    if (!this.#requested || this.#closed) return;
    const slot = this.#freeSlot();
    if (!slot) return this.#expectSuccessor();
    const { facts, isWhole, waiters } = this.#requested;
    this.#requested = null;
    const number = ++this.#number;
    // What a thread remembers of functions is of use only if nothing newer is known.
    const whole = isWhole || slot.last === 0 || slot.last !== this.#latestNumber;
    slot.running = { number, began: performance.now(), isWhole: whole };
    this.#awaited.set(number, waiters);
    slot.thread.post({ number, root: this.#root, facts, isWhole: whole, progress: slot.progress });
    this.#expectStall(facts);
  }

  #freeSlot(): Slot | null {
    const free = this.#slots.filter(({ running }) => running === null);
    const [best] = free.sort((a, b) => b.last - a.last);
    if (best) return best;
    const now = performance.now();
    const isBlocked = this.#slots.every(({ running }) => running !== null && now - running.began >= this.#limit);
    return isBlocked && this.#slots.length < 2 ? this.#newSlot() : null;
  }

  /** A scan that stalls is tried once more by a successor, without anybody asking. */
  #expectStall(facts: OptionalFacts): void {
    if (this.#successorTimer) clearTimeout(this.#successorTimer);
    this.#successorTimer = setTimeout(() => {
      this.#successorTimer = null;
      if (this.#slots.length > 1 || this.#slots.some(({ running }) => running === null)) return;
      this.#requested ??= { facts, isWhole: true, waiters: [] };
      this.#next();
    }, this.#limit + 1).unref();
  }

  #expectSuccessor(): void {
    if (this.#requested && this.#successorTimer === null && this.#slots.length < 2)
      this.#expectStall(this.#requested.facts);
  }

  #newSlot(): Slot {
    const progress = ScanProgress.newBuffer();
    const slot: Slot = { thread: null as never, progress, running: null, devices: new Map(), last: 0 };
    slot.thread = this.#start(
      (reply) => this.#replied(slot, reply),
      (reason) => this.#failed(slot, reason),
    );
    this.#slots.push(slot);
    return slot;
  }

  #replied(slot: Slot, reply: ScanReply): void {
    const { running } = slot;
    if (this.#closed || running?.number !== reply.number) return;
    slot.running = null;
    if (this.#successorTimer && this.#slots.every((each) => each.running === null)) {
      clearTimeout(this.#successorTimer);
      this.#successorTimer = null;
    }
    if ("error" in reply) {
      this.#settle(reply.number, (waiter) => waiter.fail(new Error(reply.error)));
      this.#retire();
      return this.#next();
    }
    const changed = new Map(decodeDevices(reply.changed).map((device) => [device.id, device]));
    slot.devices = new Map(reply.ids.map((id) => [id, changed.get(id) ?? (slot.devices.get(id) as Device)]));
    slot.last = reply.number;
    const { problems, hasDefaultRoute } = reply;
    if (this.#latest === null || running.began >= this.#latest.began) {
      const devices = [...slot.devices.values()];
      this.#latest = { devices, problems, hasDefaultRoute, isWhole: running.isWhole, began: running.began };
      this.#latestNumber = reply.number;
      const { latest } = this;
      const isAwaited = this.#settle(reply.number, (waiter) => waiter.settle(latest));
      if (!isAwaited) this.#late();
    } else this.#settle(reply.number, (waiter) => waiter.settle(this.#latest));
    this.#retire();
    this.#next();
  }

  /** A thread that ended by itself is replaced at the next scan. */
  #failed(slot: Slot, reason: string): void {
    const place = this.#slots.indexOf(slot);
    if (place < 0) return;
    this.#slots.splice(place, 1);
    slot.thread.terminate();
    if (slot.running) {
      this.#settle(slot.running.number, (waiter) => waiter.fail(new Error(`the scan thread ended: ${reason}`)));
    }
    this.#next();
  }

  /** Of two threads that are both free the one with the older facts ends. */
  #retire(): void {
    if (this.#slots.length < 2 || this.#slots.some(({ running }) => running !== null)) return;
    const [oldest] = this.#slots.toSorted((a, b) => a.last - b.last);
    if (!oldest) return;
    this.#slots.splice(this.#slots.indexOf(oldest), 1);
    oldest.thread.terminate();
  }

  /** Settles the waiters of a scan; false when there are none any more. */
  #settle(number: number, outcome: (waiter: Waiter) => void): boolean {
    const waiters = this.#awaited.get(number) ?? [];
    this.#awaited.delete(number);
    return waiters.filter((waiter) => settle(waiter, () => outcome(waiter))).length > 0;
  }
}

/** Settles one waiter; false when its time was up before. */
function settle(waiter: Waiter, outcome: () => void): boolean {
  if (waiter.timer === null) return false;
  clearTimeout(waiter.timer);
  waiter.timer = null;
  outcome();
  return true;
}
