// How are captured answers fed to a socket again? Captures are .hex files: a "# origin" line, then a datagram a line.

import { readdirSync, readFileSync } from "node:fs";
import { reader, writer } from "../../native/bytes.ts";
import { NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, decodeMessages } from "../../native/netlink/message.ts";
import type { Link } from "../../native/netlink/route.ts";
import { NETLINK_ROUTE, NetlinkSocket, type Transport } from "../../native/netlink/socket.ts";

export interface Capture {
  readonly origin: string;
  readonly datagrams: readonly Uint8Array[];
}

/** The names of all captures. */
export const captureNames = (): string[] =>
  readdirSync(import.meta.dir)
    .flatMap((name) => (name.endsWith(".hex") ? [name.slice(0, -4)] : []))
    .sort();

/** The capture of a name in this folder. */
export function readCapture(name: string): Capture {
  const [origin = "", ...lines] = readFileSync(`${import.meta.dir}/${name}.hex`, "utf8")
    .trim()
    .split("\n");
  return { origin: origin.replace(/^# /, ""), datagrams: lines.map((line) => Uint8Array.fromHex(line)) };
}

/** A capture's datagrams by question: an answer ends with DONE, with an error, or with a message that is not one of many. */
export function answersOf({ datagrams }: Capture): readonly (readonly Uint8Array[])[] {
  const answers: Uint8Array[][] = [[]];
  for (const datagram of datagrams) {
    answers.at(-1)!.push(datagram);
    const last = decodeMessages(datagram).at(-1)!;
    const isEnd = last.type === NLMSG_DONE || last.type === NLMSG_ERROR || (last.flags & NLM_F_MULTI) === 0;
    if (isEnd) answers.push([]);
  }
  return answers.slice(0, -1);
}

export const replayPort = 4711;

/** The error of a replay when more is requested than was captured. */
export const replayEnd = "the replay has no more datagrams";

/** Gives each message of a datagram another sequence number and port, as if it answered that question. */
export function readdress(datagram: Uint8Array, sequence: number, port: number): Uint8Array {
  const copy = datagram.slice();
  const data = reader(copy);
  for (let offset = 0; offset + 16 <= copy.length; offset += Math.max(16, (data.u32(offset) + 3) & ~3)) {
    writer(copy)
      .u32(offset + 8, sequence)
      .u32(offset + 12, port);
  }
  return copy;
}

/** A transport whose kernel gives one prepared answer per question, in the order of the answers. */
export function replay(answers: readonly (readonly Uint8Array[])[]): (protocol: number) => Transport {
  const remaining = [...answers];
  return () => {
    const queue: Uint8Array[] = [];
    return {
      port: replayPort,
      send(question) {
        const answer = remaining.shift() ?? [];
        queue.push(...answer.map((datagram) => readdress(datagram, reader(question).u32(8), replayPort)));
      },
      receive(buffer) {
        const datagram = queue.shift();
        if (datagram === undefined) throw new Error(replayEnd);
        buffer.set(datagram.subarray(0, buffer.length));
        return { length: datagram.length, sender: 0 };
      },
      close() {},
    };
  };
}

/** A socket of routes and links that answers what was captured under this name. */
export const replayed = (name: string): NetlinkSocket =>
  new NetlinkSocket(NETLINK_ROUTE, replay(answersOf(readCapture(name))));

export const byName = (links: readonly Link[]): Record<string, Link> =>
  Object.fromEntries(links.map((link) => [link.name, link]));
