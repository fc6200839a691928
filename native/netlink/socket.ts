// One request to the kernel and all of its answer: requests and dumps over one netlink socket.
// Decodes no attributes but those of the extended acknowledgement; notifications are handled in events.ts.

import { hostOrder, reader, u32Bytes, writer } from "../bytes.ts";
import * as libc from "../libc.ts";
import {
  type Message,
  NetlinkFormatError,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
  decodeError,
  decodeMessages,
  encodeMessage,
} from "./message.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_KOBJECT_UEVENT = 15;
export const NETLINK_GENERIC = 16;
export const NETLINK_RDMA = 20;

export const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

const ANSWER_TIMEOUT_SECONDS = 5;
const ATTEMPTS = 8;
const FIRST_BUFFER = 65536;

/** The kernel refused a request: `extendedAck` is its explanation in words, where it gives one. */
export class NetlinkError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly extendedAck: string | null;
  constructor(errno: number, extendedAck: string | null, explanation = "") {
    super(`netlink: ${libc.errnoName(errno)}${extendedAck === null ? "" : `: ${extendedAck}`}${explanation}`);
    this.name = "NetlinkError";
    this.code = libc.errnoName(errno);
    this.errno = errno;
    this.extendedAck = extendedAck;
  }
}

/** Datagrams to and from the kernel; a parameter, so that tests can simulate datagrams that a kernel rarely sends. */
export interface Transport {
  /** Our netlink port, to which answers are addressed. */
  readonly port: number;
  send(datagram: Uint8Array): void;
  /** Waits for a datagram, at most five seconds (then EAGAIN); its length is the true one, even beyond the buffer. */
  receive(buffer: Uint8Array): libc.Received;
  close(): void;
}

/** struct sockaddr_nl; port 0 lets the kernel choose, `groups` is the mask of multicast groups 1 to 32. */
export const netlinkAddress = (groups: number): Uint8Array =>
  writer(12)
    .u16(0, libc.AF_NETLINK)
    .u32(8, groups >>> 0).bytes;

/** Sets a netlink option to a number; false when the kernel is too old for it. */
export function setNetlinkOption(fd: number, option: number, value: number): boolean {
  try {
    libc.setsockopt(fd, SOL_NETLINK, option, u32Bytes(value));
    return true;
  } catch (error) {
    if (error instanceof libc.SystemError && error.code === "ENOPROTOOPT") return false;
    throw error;
  }
}

/** A socket of the given netlink protocol in the network namespace of this process. Throws SystemError. */
export function openTransport(protocol: number): Transport {
  const fd = libc.socket(libc.AF_NETLINK, libc.SOCK_RAW | libc.SOCK_CLOEXEC, protocol);
  try {
    libc.bind(fd, netlinkAddress(0));
    libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_RCVTIMEO, writer(16).u64(0, BigInt(ANSWER_TIMEOUT_SECONDS)).bytes);
    setNetlinkOption(fd, NETLINK_EXT_ACK, 1);
    setNetlinkOption(fd, NETLINK_GET_STRICT_CHK, 1);
    return {
      port: reader(libc.getsockname(fd, 12), hostOrder).u32(4),
      send: (datagram) => void libc.send(fd, datagram),
      receive: (buffer) => libc.receive(fd, buffer, libc.MSG_TRUNC),
      close: () => libc.close(fd),
    };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

// Why an answer can't be used and the request must be repeated.
type ReceiveProblem = "interrupted" | "truncated" | "overrun";

const problemText: Readonly<Record<ReceiveProblem, string>> = {
  interrupted: "the kernel's tables changed during every dump",
  truncated: "every answer was longer than the buffer",
  overrun: "every answer overran the socket's buffer",
};

/**
 * A netlink socket for requests, one at a time, synchronous. A dump that the kernel marks as inconsistent, a truncated
 * answer and an overrun are requested again, up to eight times; a kernel which is silent for five seconds is an ETIMEDOUT.
 */
export class NetlinkSocket {
  readonly #protocol: number;
  readonly #open: (protocol: number) => Transport;
  #transport: Transport | null;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_BUFFER);
  #sequence = 0;
  #closed = false;

  /** Opens the socket. Throws SystemError, EPROTONOSUPPORT when the kernel lacks the protocol. */
  constructor(protocol: number, open: (protocol: number) => Transport = openTransport) {
    this.#protocol = protocol;
    this.#open = open;
    this.#transport = open(protocol);
  }

  /** Sends one request and returns its answers without the acknowledgement. Throws NetlinkError, NetlinkFormatError, SystemError. */
  request(type: number, flags: number, payload: Uint8Array): readonly Message[] {
    return this.#ask(type, flags | NLM_F_REQUEST, payload);
  }

  /** Requests all objects of a kind. Throws NetlinkError, NetlinkFormatError, SystemError. */
  dump(type: number, payload: Uint8Array): readonly Message[] {
    return this.#ask(type, NLM_F_REQUEST | NLM_F_DUMP, payload);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  /** Closes a transport that may hold the rest of an answer; the next request opens another. */
  #drop(): void {
    this.#transport?.close();
    this.#transport = null;
  }

  #ask(type: number, flags: number, payload: Uint8Array): readonly Message[] {
    for (let attempt = 1; ; attempt++) {
      const answer = this.#askOnce(type, flags, payload);
      if (typeof answer !== "string") return answer;
      // A half-read dump would make the kernel refuse the next one (EBUSY): begin on a new socket.
      if (answer !== "interrupted") this.#drop();
      if (attempt === ATTEMPTS)
        throw new NetlinkError(libc.EAGAIN, null, ` (${problemText[answer]}, ${ATTEMPTS} times)`);
    }
  }

  #askOnce(type: number, flags: number, payload: Uint8Array): readonly Message[] | ReceiveProblem {
    if (this.#closed) throw new Error("the netlink socket is closed");
    const transport = (this.#transport ??= this.#open(this.#protocol));
    const sequence = (this.#sequence = (this.#sequence + 1) >>> 0);
    transport.send(encodeMessage({ type, flags, sequence, port: transport.port, payload }));
    try {
      return this.#receiveAnswer(transport, sequence, (flags & NLM_F_ACK) !== 0);
    } catch (error) {
      // After an acknowledgement the socket can be used again; after anything else it may hold the rest of an answer.
      if (!(error instanceof NetlinkError) || error.errno === libc.ETIMEDOUT) this.#drop();
      throw error;
    }
  }

  /** Collects what belongs to the sequence number until the answer is complete. */
  #receiveAnswer(transport: Transport, sequence: number, acknowledged: boolean): readonly Message[] | ReceiveProblem {
    const messages: Message[] = [];
    let interrupted = false;
    for (;;) {
      const datagram = this.#receive(transport);
      if (typeof datagram === "string") return datagram;
      for (const message of decodeMessages(datagram)) {
        if (message.type === NLMSG_OVERRUN) return "overrun";
        if (message.sequence !== sequence || message.port !== transport.port) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (message.type === NLMSG_NOOP) continue;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          const verdict = decodeError(message);
          if (verdict.errno !== 0) throw new NetlinkError(verdict.errno, verdict.message);
          return interrupted ? "interrupted" : messages;
        }
        messages.push(message);
        if ((message.flags & NLM_F_MULTI) === 0 && !acknowledged) return messages;
      }
    }
  }

  /** The next datagram that the kernel itself sent, copied. */
  #receive(transport: Transport): Uint8Array | ReceiveProblem {
    for (;;) {
      try {
        const { length, sender } = transport.receive(this.#buffer);
        if (sender !== 0) continue;
        if (length === 0) throw new NetlinkFormatError("empty datagram");
        if (length <= this.#buffer.length) return this.#buffer.slice(0, length);
        this.#buffer = new Uint8Array(2 ** Math.ceil(Math.log2(length)));
        return "truncated";
      } catch (error) {
        if (!(error instanceof libc.SystemError)) throw error;
        if (error.code === "ENOBUFS") return "overrun";
        if (error.code !== "EAGAIN") throw error;
        throw new NetlinkError(libc.ETIMEDOUT, null, ` (no answer within ${ANSWER_TIMEOUT_SECONDS} s)`);
      }
    }
  }
}
