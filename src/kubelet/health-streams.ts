// Sends the health of a driver's devices to every open NodeWatchResources stream: the whole list at its beginning, at every change, and
// again before the kubelet takes it for outdated.

import { limits } from "../limits.ts";
import type { NodeWatchResourcesResponse } from "./api/drahealth.ts";
import type { AnswerStream } from "./grpc/server.ts";
import { PacedStream } from "./paced-stream.ts";
import { type DeviceState, healthMessages, sameStates } from "./health-list.ts";

type HealthStream = AnswerStream<NodeWatchResourcesResponse>;

interface Watcher {
  readonly paced: PacedStream<NodeWatchResourcesResponse>;
  /** What is still to be sent of the list. */
  messages: NodeWatchResourcesResponse[];
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
      oldest.paced.end();
    }
    const watcher = this.#newWatcher(stream);
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
      watcher.paced.end();
    }
  }

  #sendAll(): void {
    for (const watcher of this.#watchers.values()) this.#begin(watcher);
  }

  /** Sends the list as it is now, in place of what is left of an older one. */
  #begin(watcher: Watcher): void {
    watcher.messages = healthMessages(this.#devices, Date.now(), this.#options.timeout);
    watcher.paced.push();
  }

  #newWatcher(stream: HealthStream): Watcher {
    const watcher: Watcher = {
      messages: [],
      paced: new PacedStream(stream, {
        hasNext: () => watcher.messages.length > 0,
        next: () => watcher.messages.shift() ?? { devices: [] },
        stalled: () => {
          this.#forget(watcher);
          stream.cut();
          this.#options.stalled();
        },
      }),
    };
    return watcher;
  }

  #forget(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher.paced.stream)) return;
    watcher.paced.stop();
    if (this.#watchers.size > 0 || this.#resend === null) return;
    clearInterval(this.#resend);
    this.#resend = null;
  }
}
