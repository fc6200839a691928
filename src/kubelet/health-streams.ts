// Sends the health of a driver's devices to every open NodeWatchResources stream: the whole list at its beginning, at every change, and
// again before the kubelet takes it for outdated.

import { limits } from "../limits.ts";
import type { NodeWatchResourcesResponse } from "./api/drahealth.ts";
import type { AnswerStream } from "./grpc/server.ts";
import { type DeviceState, healthMessages, sameStates } from "./health-list.ts";

type HealthStream = AnswerStream<NodeWatchResourcesResponse>;

/** The least time between messages of one stream, in milliseconds; ListStreams says why. */
const gap = 100;

/** How long the transport may take for a message before its stream is cut, in milliseconds: a stalled stream never recovers. */
const patience = 5000;

interface Watcher {
  readonly stream: HealthStream;
  /** What is still to be sent of the list. */
  messages: NodeWatchResourcesResponse[];
  sentAt: number;
  later: Timer | null;
  /** Messages written that the transport has not taken yet. */
  unsent: number;
  watchdog: Timer | null;
}

/** What a driver's health streams need. */
export interface HealthStreamsOptions {
  /** For how long a message counts, in seconds; lists are sent three times as often. */
  readonly timeout: number;
  /** A stream stalled and was cut. */
  readonly stalled: () => void;
}

/** The open health streams of a driver. */
export class HealthStreams {
  readonly #options: HealthStreamsOptions;
  readonly #watchers = new Map<HealthStream, Watcher>();
  #devices: readonly DeviceState[];
  #resend: Timer | null = null;

  constructor(devices: readonly DeviceState[], options: HealthStreamsOptions) {
    this.#devices = devices;
    this.#options = options;
  }

  get size(): number {
    return this.#watchers.size;
  }

  /** Adds a stream and sends it the list. Where there are too many the oldest one is ended: a kubelet comes back. */
  open(stream: HealthStream): void {
    const [oldest] = this.#watchers.values();
    if (oldest && this.#watchers.size >= limits.healthStreams.max) {
      this.#forget(oldest);
      oldest.stream.end();
    }
    const watcher: Watcher = { stream, messages: [], sentAt: -Infinity, later: null, unsent: 0, watchdog: null };
    this.#watchers.set(stream, watcher);
    stream.whenOver(() => this.#forget(watcher));
    // It was over before it was here.
    if (!this.#watchers.has(stream)) return;
    this.#resend ??= setInterval(() => this.#sendAll(), (this.#options.timeout * 1000) / 3);
    this.#begin(watcher);
  }

  /** Sets the list; it is sent when it says something new. */
  set(devices: readonly DeviceState[]): void {
    if (sameStates(this.#devices, devices)) return;
    this.#devices = devices;
    this.#sendAll();
  }

  /** Ends all streams. */
  close(): void {
    for (const watcher of [...this.#watchers.values()]) {
      this.#forget(watcher);
      watcher.stream.end();
      // The end waits behind a message that may never be taken.
      if (watcher.unsent > 0) setTimeout(() => watcher.stream.cut(), patience).unref();
    }
  }

  #sendAll(): void {
    for (const watcher of this.#watchers.values()) this.#begin(watcher);
  }

  /** Sends the list as it is now, in place of what is left of an older one. */
  #begin(watcher: Watcher): void {
    watcher.messages = healthMessages(this.#devices, Date.now(), this.#options.timeout);
    this.#send(watcher);
  }

  #send(watcher: Watcher): void {
    if (watcher.later !== null || !this.#watchers.has(watcher.stream)) return;
    const wait = watcher.sentAt + gap - performance.now();
    if (wait > 0) {
      watcher.later = setTimeout(() => {
        watcher.later = null;
        this.#send(watcher);
      }, wait);
      return;
    }
    const message = watcher.messages.shift();
    if (!message) return;
    watcher.sentAt = performance.now();
    watcher.unsent++;
    this.#watch(watcher);
    watcher.stream.send(message, () => {
      watcher.unsent--;
      this.#watch(watcher);
    });
    if (watcher.messages.length > 0) this.#send(watcher);
  }

  /** Restarts the watchdog while messages wait for the transport, and stops it when none does. */
  #watch(watcher: Watcher): void {
    if (watcher.watchdog) clearTimeout(watcher.watchdog);
    watcher.watchdog = null;
    if (watcher.unsent === 0 || !this.#watchers.has(watcher.stream)) return;
    watcher.watchdog = setTimeout(() => {
      this.#forget(watcher);
      watcher.stream.cut();
      this.#options.stalled();
    }, patience);
  }

  #forget(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher.stream)) return;
    if (watcher.later) clearTimeout(watcher.later);
    if (watcher.watchdog) clearTimeout(watcher.watchdog);
    if (this.#watchers.size > 0 || this.#resend === null) return;
    clearInterval(this.#resend);
    this.#resend = null;
  }
}
