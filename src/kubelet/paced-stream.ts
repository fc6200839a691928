// How are messages sent on a stream that the kubelet keeps open? With a gap between them, and as long as the transport takes them.

import type { AnswerStream } from "./grpc/server.ts";

/**
 * The least time between messages of one stream, in milliseconds: two that share a round trip count as one large
 * message for grpc-go's window estimate, and Bun's HTTP/2 stalls on large ones.
 */
const gap = 100;

/** How long the transport may take for a message before its stream is cut, in milliseconds: a stalled stream never recovers. */
const patience = 5000;

/** Where the messages come from. */
export interface MessageSource<Message> {
  /** Whether there is a message to send. */
  readonly hasNext: () => boolean;
  /** Takes the message to send now. */
  readonly next: () => Message;
  /** The transport has taken no message for too long: the stream is to be cut. */
  readonly stalled: () => void;
}

/** The sending side of one open stream. */
export class PacedStream<Message> {
  readonly stream: AnswerStream<Message>;
  readonly #source: MessageSource<Message>;
  #sentAt = -Infinity;
  #later: Timer | null = null;
  /** Messages written that the transport has not taken yet. */
  #unsent = 0;
  #watchdog: Timer | null = null;
  #isOver = false;

  constructor(stream: AnswerStream<Message>, source: MessageSource<Message>) {
    this.stream = stream;
    this.#source = source;
  }

  /** Sends what the source has, at once or when the gap to the message before is over. */
  push(): void {
    while (this.#later === null && !this.#isOver && this.#source.hasNext()) {
      const wait = this.#sentAt + gap - performance.now();
      if (wait > 0) {
        this.#later = setTimeout(() => {
          this.#later = null;
          this.push();
        }, wait);
        return;
      }
      this.#send(this.#source.next());
    }
  }

  /** Stops sending. */
  stop(): void {
    this.#isOver = true;
    if (this.#later) clearTimeout(this.#later);
    if (this.#watchdog) clearTimeout(this.#watchdog);
  }

  /** Stops sending and ends the stream; one that has stalled is cut. */
  end(): void {
    this.stop();
    this.stream.end();
    // The end waits behind a message that may never be taken.
    if (this.#unsent > 0)
      setTimeout(() => {
        if (this.#unsent > 0) this.stream.cut();
      }, patience).unref();
  }

  #send(message: Message): void {
    this.#sentAt = performance.now();
    this.#unsent++;
    this.#watch();
    this.stream.send(message, () => {
      this.#unsent--;
      this.#watch();
    });
  }

  /** Restarts the watchdog while messages wait for the transport, and stops it when none does. */
  #watch(): void {
    if (this.#watchdog) clearTimeout(this.#watchdog);
    this.#watchdog = null;
    if (this.#unsent === 0 || this.#isOver) return;
    this.#watchdog = setTimeout(() => {
      this.stop();
      this.#source.stalled();
    }, patience);
  }
}
