// Where is a scan that does not return? A few bytes that both threads see, since one that waits for a driver can't answer.

/** How many bytes a note may have; a longer one is cut. */
const size = 96;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A note of what is being read, shared between threads. */
export class ScanProgress {
  readonly #bytes: Uint8Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#bytes = new Uint8Array(buffer);
  }

  static newBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(size + 1);
  }

  /** Notes what is read next; "" for nothing. */
  note(what: string): void {
    // The length is the first byte and is written last: a reader sees the old note, the new one or a mixture, and only displays it.
    const { written } = encoder.encodeInto(what, this.#bytes.subarray(1));
    Atomics.store(this.#bytes, 0, written);
  }

  /** What is being read; null when nothing is. */
  get reached(): string | null {
    const length = Atomics.load(this.#bytes, 0);
    // A decoder takes no shared memory.
    return length === 0 ? null : decoder.decode(this.#bytes.slice(1, 1 + length));
  }
}
