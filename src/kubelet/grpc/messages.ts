// How does a message travel? Behind five bytes: whether it is compressed, and its length (grpc/grpc doc/PROTOCOL-HTTP2.md,
// Length-Prefixed-Message).

import { status, StatusError } from "./status.ts";

const prefix = 5;

/** A message with its prefix, not compressed. */
export function prefixed(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefix + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefix);
  return bytes;
}

/** The one message of a request, or of the answer to a unary call, from the pieces in which it comes. */
export class SingleMessage {
  readonly #most: number;
  #bytes: Buffer = Buffer.alloc(0);
  #size = 0;
  #length: number | null = null;

  /** A message of more than `most` bytes is refused before it is taken. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Adds a piece. Throws StatusError when it can't be part of one message that is taken. */
  add(piece: Buffer): void {
    this.#append(piece);
    if (this.#length === null && this.#size >= prefix) {
      if (this.#bytes[0] !== 0) throw new StatusError(status.UNIMPLEMENTED, "compressed messages are not understood");
      this.#length = this.#bytes.readUInt32BE(1);
      if (this.#length > this.#most) {
        const details = `the message has ${this.#length} bytes, more than ${this.#most}`;
        throw new StatusError(status.RESOURCE_EXHAUSTED, details);
      }
    }
    if (this.#length !== null && this.#size > prefix + this.#length)
      throw new StatusError(status.INTERNAL, "there is more than one message");
  }

  /** The message, once the peer has sent all. Throws StatusError INTERNAL when it is not whole. */
  whole(): Buffer {
    if (this.#size === 0) throw new StatusError(status.INTERNAL, "there is no message");
    if (this.#length === null || this.#size < prefix + this.#length)
      throw new StatusError(status.INTERNAL, `it ended within its message, after ${this.#size} bytes`);
    return this.#bytes.subarray(prefix, this.#size);
  }

  /** Copies a piece behind the bytes that are there; the first one, most often the whole message, is taken as it is. */
  #append(piece: Buffer): void {
    const size = this.#size + piece.length;
    if (this.#size === 0) this.#bytes = piece;
    else {
      if (size > this.#bytes.length) {
        const larger = Buffer.allocUnsafe(Math.max(size, 2 * this.#bytes.length));
        this.#bytes.copy(larger, 0, 0, this.#size);
        this.#bytes = larger;
      }
      piece.copy(this.#bytes, this.#size);
    }
    this.#size = size;
  }
}
