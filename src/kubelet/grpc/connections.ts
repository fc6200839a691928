// The connections of one unix socket: each has an identity, can be cut, and is one of a bounded number. A connection becomes a
// gRPC connection only after it sent the HTTP/2 preface and its SETTINGS; what sends neither is closed after some seconds.

import type { Socket } from "node:net";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frameHeader = 9;
const maxFrame = 16_384;

/**
 * Whether bytes begin an HTTP/2 connection: the preface and one whole SETTINGS frame that is not an acknowledgement (RFC 9113,
 * sections 3.4, 4.1 and 6.5).
 */
export function handshakeOf(bytes: Uint8Array): "complete" | "incomplete" | "invalid" {
  const known = Math.min(bytes.length, preface.length);
  if (!preface.subarray(0, known).equals(bytes.subarray(0, known))) return "invalid";
  if (bytes.length < preface.length + frameHeader) return "incomplete";
  const [high = 0, middle = 0, low = 0, type, flags = 0] = bytes.subarray(preface.length);
  const length = (high << 16) | (middle << 8) | low;
  if (type !== 4 || (flags & 1) !== 0 || length > maxFrame) return "invalid";
  return bytes.length < preface.length + frameHeader + length ? "incomplete" : "complete";
}

/** A client's connection: the same object for all calls on it. */
export class Connection {
  /** Open server streams; a connection with one is never closed to make room. */
  streams = 0;
  /** Whether the handshake is complete. */
  isEstablished = false;
  /** Resolves when the connection is closed, by either side. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
  }

  /** Closes the connection at once; what was not sent is lost, and all its calls end. */
  cut(): void {
    this.#socket.destroy();
  }
}

/** The limits of a socket's connections. */
export interface ConnectionLimits {
  /** How many may be open. */
  readonly connections: number;
  /** How long a client may take to send the HTTP/2 preface and SETTINGS, in milliseconds. */
  readonly handshake: number;
}

/** The open connections of a socket. */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #established: (socket: Socket) => void;
  readonly #open = new Map<string, Connection>();
  readonly #handshaking = new Set<Socket>();
  readonly #changed: () => void;
  #accepted = 0;
  #empty: (() => void) | null = null;

  /**
   * `established` is called with each socket whose handshake is complete; its bytes are still to be read from it. `changed` is called
   * when a connection was established or closed.
   */
  constructor(limits: ConnectionLimits, established: (socket: Socket) => void, changed: () => void = () => {}) {
    this.#limits = limits;
    this.#established = established;
    this.#changed = changed;
  }

  /** The open connections whose handshake is complete. */
  get established(): readonly Connection[] {
    return [...this.#open.values()].filter(({ isEstablished }) => isEstablished);
  }

  /**
   * The connection of a call by its `getPeer()`; null when it is closed, and when the call's stream was reset (grpc-js then
   * reports "unknown").
   */
  get(peer: string): Connection | null {
    return this.#open.get(peer) ?? null;
  }

  /** Takes a new connection. Where there are too many, the oldest without a server stream is closed, else the new one. */
  accept(socket: Socket): void {
    // A peer that resets the connection; it is closed after this.
    socket.on("error", () => {});
    if (this.#open.size >= this.#limits.connections) {
      const unused = [...this.#open.values()].find(({ streams }) => streams === 0);
      if (!unused) {
        socket.destroy();
        return;
      }
      unused.cut();
    }
    const peer = `connection-${++this.#accepted}`;
    // A unix socket's peer has no address; grpc-js gives what is here as the peer of the connection's calls.
    Object.defineProperty(socket, "remoteAddress", { value: peer });
    const connection = new Connection(socket);
    this.#open.set(peer, connection);
    this.#handshaking.add(socket);
    const limit = setTimeout(() => socket.destroy(), this.#limits.handshake);
    let bytes: Buffer = Buffer.alloc(0);
    const read = (piece: Buffer) => {
      bytes = bytes.length === 0 ? piece : Buffer.concat([bytes, piece]);
      const handshake = handshakeOf(bytes);
      if (handshake === "incomplete") return;
      clearTimeout(limit);
      socket.off("data", read);
      this.#handshaking.delete(socket);
      if (handshake === "invalid") {
        socket.destroy();
        return;
      }
      socket.pause();
      socket.unshift(bytes);
      this.#established(socket);
      connection.isEstablished = true;
      socket.resume();
      this.#changed();
    };
    socket.on("data", read);
    socket.on("close", () => {
      clearTimeout(limit);
      this.#handshaking.delete(socket);
      this.#open.delete(peer);
      if (this.#open.size === 0) this.#empty?.();
      this.#changed();
    });
  }

  /** Closes all connections at once. */
  cut(): void {
    for (const connection of this.#open.values()) connection.cut();
  }

  /** Waits until all connections have closed, at most `limit` milliseconds, then cuts what is left. */
  async close(limit: number): Promise<void> {
    for (const socket of this.#handshaking) socket.destroy();
    if (this.#open.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#empty = resolve;
      const timer = setTimeout(resolve, limit);
      await promise;
      clearTimeout(timer);
    }
    this.cut();
  }
}
