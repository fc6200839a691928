// Sends a pool's list to every open ListAndWatch stream: the newest one, and only when it changed. Which of
// them are the kubelet's is known by its calls: it requests the pool's options on the same connection before. Kubelets before
// 1.25 don't, after Register: of theirs it is the first that is opened after Register was called, once that is
// answered OK. Streams of other clients (root with a tool) do not change the pool's registration.

import { limits } from "../limits.ts";
import type { Device, ListAndWatchResponse } from "./api/deviceplugin.ts";
import { sameList } from "./device-list.ts";
import type { AnswerStream } from "./grpc/server.ts";
import { PacedStream } from "./paced-stream.ts";
import { within } from "./within.ts";
import { status, StatusError } from "./grpc/status-error.ts";

type ListStream = AnswerStream<ListAndWatchResponse>;

/** How long a kubelet may take to see that its stream has ended, in milliseconds. */
const seenLimit = 1000;

interface Listener {
  readonly stream: ListStream;
  readonly paced: PacedStream<ListAndWatchResponse>;
  sent: readonly Device[] | null;
}

/**
 * Is called when a stream of the kubelet's was opened or ended, and when any stream stalled and was cut. A kubelet has two when a dial
 * came through late, and takes the end of either for the end of the pool (1.25 and newer: kubernetes
 * pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go runClient).
 */
interface StreamEvents {
  opened(): void;
  closed(): void;
  stalled(): void;
}

/** The open ListAndWatch streams of a pool. */
export class ListStreams {
  readonly #listeners = new Map<ListStream, Listener>();
  readonly #on: StreamEvents;
  #devices: readonly Device[];
  #register: "idle" | "calling" | "answered" = "idle";
  /** The first stream since Register was called. */
  #first: Listener | null = null;
  readonly #kubelets = new Set<Listener>();

  constructor(devices: readonly Device[], on: StreamEvents) {
    this.#devices = devices;
    this.#on = on;
  }

  get size(): number {
    return this.#listeners.size;
  }

  /** Whether the kubelet has a stream. */
  get hasKubeletStream(): boolean {
    return this.#kubelets.size > 0;
  }

  /** Register is called. */
  registerStarted(): void {
    this.#register = "calling";
    this.#first = null;
  }

  /** Register was answered, well or not. */
  registerFinished(isTaken: boolean): void {
    if (this.#register !== "calling") return;
    this.#register = isTaken ? "answered" : "idle";
    if (isTaken && this.#first && this.#listeners.has(this.#first.stream)) this.#take(this.#first);
  }

  /** The kubelet is one that requests options: its stream will be known by that. */
  optionsRequested(): void {
    this.#register = "idle";
  }

  /** Adds a stream, known to be the kubelet's or not, and sends it the list; one too many is refused. */
  open(stream: ListStream, isKubelets: boolean): void {
    // Other clients can't take the kubelet's place.
    const others = isKubelets ? this.#kubelets.size : this.#listeners.size - this.#kubelets.size;
    if (others >= limits.listStreams.max) {
      const details = `at most ${limits.listStreams.max} streams of a pool are served`;
      stream.end(new StatusError(status.RESOURCE_EXHAUSTED, details));
      return;
    }
    const listener = this.#newListener(stream);
    this.#listeners.set(stream, listener);
    stream.whenOver(() => this.#forget(listener));
    // It was over before it was here.
    if (!this.#listeners.has(stream)) return;
    listener.paced.push();
    if (this.#register === "calling") this.#first ??= listener;
    if (isKubelets || this.#register === "answered") this.#take(listener);
  }

  /** Sets the list; it is sent to the streams whose last list differs. */
  set(devices: readonly Device[]): void {
    this.#devices = devices;
    for (const { paced } of this.#listeners.values()) paced.push();
  }

  /**
   * Ends all streams, without a callback. Resolves once the kubelet has seen it: it closes its connection then (kubernetes
   * pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go Disconnect). After a second it resolves in any case.
   */
  close(): Promise<void> {
    const seen: Promise<void>[] = [];
    for (const listener of [...this.#listeners.values()]) {
      if (this.#kubelets.delete(listener)) seen.push(listener.stream.connection.closed);
      this.#forget(listener);
      listener.paced.end();
    }
    return within(Promise.all(seen), seenLimit);
  }

  #take(listener: Listener): void {
    this.#register = "idle";
    this.#kubelets.add(listener);
    this.#on.opened();
  }

  #newListener(stream: ListStream): Listener {
    const listener: Listener = {
      stream,
      sent: null,
      paced: new PacedStream(stream, {
        hasNext: () => listener.sent === null || !sameList(listener.sent, this.#devices),
        next: () => {
          listener.sent = this.#devices;
          return { devices: [...this.#devices] };
        },
        stalled: () => {
          this.#forget(listener);
          stream.cut();
          this.#on.stalled();
        },
      }),
    };
    return listener;
  }

  #forget(listener: Listener): void {
    if (!this.#listeners.delete(listener.stream)) return;
    listener.paced.stop();
    if (this.#kubelets.delete(listener)) this.#on.closed();
  }
}
