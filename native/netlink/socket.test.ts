import { afterEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { concat, reader, terminated, writer } from "../bytes.ts";
import { type Received, SystemError } from "../libc.ts";
import {
  type Message,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
  NetlinkFormatError,
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
} from "./message.ts";
import { NETLINK_ROUTE, NetlinkError, NetlinkSocket, type Transport } from "./socket.ts";

// Rare behavior of a kernel is simulated by a transport: each step is a datagram (from the kernel unless it says another
// sender), or an error. A question decides which steps follow.
type Step = Uint8Array | { readonly bytes: Uint8Array; readonly sender: number | null } | Error;
interface Simulated {
  readonly questions: Message[];
  opened: number;
  closed: number;
  readonly open: (protocol: number) => Transport;
}

const port = 77;

function simulate(answer: (question: Message, count: number) => readonly Step[]): Simulated {
  const simulated: Simulated = {
    questions: [],
    opened: 0,
    closed: 0,
    open: () => {
      simulated.opened++;
      let steps: Step[] = [];
      return {
        port,
        send(datagram) {
          const [question] = decodeMessages(datagram);
          simulated.questions.push(question!);
          steps = [...steps, ...answer(question!, simulated.questions.length)];
        },
        receive(buffer): Received {
          const step = steps.shift() ?? new SystemError("recvfrom", 11);
          if (step instanceof Error) throw step;
          const { bytes, sender } = step instanceof Uint8Array ? { bytes: step, sender: 0 } : step;
          buffer.set(bytes.subarray(0, buffer.length));
          return { length: bytes.length, sender };
        },
        close: () => void simulated.closed++,
      };
    },
  };
  return simulated;
}

const part = ({ sequence }: Message, text: string, flags = NLM_F_MULTI): Uint8Array =>
  encodeMessage({ type: 16, flags, sequence, port, payload: terminated(text) });
const verdict = (
  { sequence }: Message,
  type: number,
  errno: number,
  flags = 0,
  more: Uint8Array = new Uint8Array(0),
): Uint8Array =>
  encodeMessage({ type, flags, sequence, port, payload: concat([writer(4).i32(0, -errno).bytes, more]) });
const done = (question: Message, errno = 0): Uint8Array => verdict(question, NLMSG_DONE, errno, NLM_F_MULTI);
const texts = (messages: readonly Message[]): string[] =>
  messages.map(({ payload }) => new TextDecoder().decode(payload.subarray(0, -1)));

const nothing = new Uint8Array(0);
const sockets: NetlinkSocket[] = [];
afterEach(() => sockets.splice(0).forEach((socket) => socket.close()));
const socketOn = (simulated: Simulated): NetlinkSocket => {
  const socket = new NetlinkSocket(NETLINK_ROUTE, simulated.open);
  sockets.push(socket);
  return socket;
};
const thrownBy = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return error;
  }
};

test("a dump is read to its end over many datagrams, with several messages each", () => {
  const socket = socketOn(
    simulate((q) => [concat([part(q, "a"), part(q, "b")]), part(q, "c"), concat([part(q, "d"), done(q)])]),
  );
  expect(texts(socket.dump(18, nothing))).toEqual(["a", "b", "c", "d"]);
});

test("what answers an older question, or another socket's, is skipped", () => {
  const socket = socketOn(
    simulate((q) => [
      part({ ...q, sequence: q.sequence - 1 }, "stale"),
      done({ ...q, sequence: q.sequence - 1 }),
      encodeMessage({
        type: 16,
        flags: NLM_F_MULTI,
        sequence: q.sequence,
        port: port + 1,
        payload: terminated("foreign"),
      }),
      part(q, "fresh"),
      done(q),
    ]),
  );
  expect(texts(socket.dump(18, nothing))).toEqual(["fresh"]);
});

test("what the kernel did not send is ignored", () => {
  const forged = (q: Message, sender: number | null): Step => ({ bytes: part(q, "forged"), sender });
  const socket = socketOn(simulate((q) => [forged(q, 4242), forged(q, null), part(q, "true"), done(q)]));
  expect(texts(socket.dump(18, nothing))).toEqual(["true"]);
});

test("an inconsistent dump is repeated as a whole", () => {
  const simulated = simulate((q, count) => [
    part(q, `a${count}`),
    part(q, `b${count}`, count < 3 ? NLM_F_MULTI | NLM_F_DUMP_INTR : NLM_F_MULTI),
    done(q),
  ]);
  expect(texts(socketOn(simulated).dump(18, nothing))).toEqual(["a3", "b3"]);
  expect(simulated.opened).toBe(1);
});

test("a dump that stays inconsistent is an error after eight attempts", () => {
  const simulated = simulate((q) => [part(q, "a"), verdict(q, NLMSG_DONE, 0, NLM_F_MULTI | NLM_F_DUMP_INTR)]);
  expect(thrownBy(() => socketOn(simulated).dump(18, nothing))).toMatchObject({ code: "EAGAIN" });
  expect(simulated.questions).toHaveLength(8);
});

test("an answer longer than the buffer is requested again on a new socket, with a larger buffer", () => {
  const long = "x".repeat(200_000);
  const simulated = simulate((q) => [part(q, long), done(q)]);
  expect(texts(socketOn(simulated).dump(18, nothing))).toEqual([long]);
  expect([simulated.opened, simulated.closed]).toEqual([2, 1]);
});

test("after an overrun the request is repeated on a new socket", () => {
  const overruns: readonly ((q: Message) => Step)[] = [
    () => new SystemError("recvfrom", 105),
    (q) => encodeMessage({ type: NLMSG_OVERRUN, flags: 0, sequence: q.sequence, port, payload: nothing }),
  ];
  for (const overrun of overruns) {
    const simulated = simulate((q, count) => (count === 1 ? [part(q, "a"), overrun(q)] : [part(q, "b"), done(q)]));
    expect(texts(socketOn(simulated).dump(18, nothing))).toEqual(["b"]);
    expect(simulated.opened).toBe(2);
  }
});

test("a silent kernel is an error, and the next question goes over a new socket", () => {
  const simulated = simulate((q, count) => (count === 1 ? [part(q, "half")] : [part(q, "whole"), done(q)]));
  const socket = socketOn(simulated);
  expect(thrownBy(() => socket.dump(18, nothing))).toMatchObject({ name: "NetlinkError", code: "ETIMEDOUT" });
  expect(texts(socket.dump(18, nothing))).toEqual(["whole"]);
  expect(simulated.opened).toBe(2);
});

test("a refusal has its code and the kernel's text", () => {
  const words = encodeAttributes([{ type: 1, data: terminated("netns is not yours") }]);
  const socket = socketOn(
    simulate((q) => [verdict(q, NLMSG_ERROR, 1, NLM_F_CAPPED | NLM_F_ACK_TLVS, concat([new Uint8Array(16), words]))]),
  );
  const error = thrownBy(() => socket.request(18, 0, nothing));
  expect(error).toBeInstanceOf(NetlinkError);
  expect(error).toMatchObject({
    code: "EPERM",
    errno: 1,
    extendedAck: "netns is not yours",
    message: "netlink: EPERM: netns is not yours",
  });
});

test("a dump that fails at its end fails", () => {
  const socket = socketOn(simulate((q) => [part(q, "a"), done(q, 90)]));
  expect(thrownBy(() => socket.dump(18, nothing))).toMatchObject({ code: "EMSGSIZE", extendedAck: null });
});

test("a request ends with its answer, or with the acknowledgement it requested", () => {
  const plain = socketOn(simulate((q) => [part(q, "one", 0)]));
  expect(texts(plain.request(18, 0, nothing))).toEqual(["one"]);
  const acknowledged = socketOn(simulate((q) => [part(q, "one", 0), verdict(q, NLMSG_ERROR, 0)]));
  expect(texts(acknowledged.request(18, NLM_F_ACK, nothing))).toEqual(["one"]);
  expect(texts(acknowledged.request(18, NLM_F_ACK, nothing))).toEqual(["one"]);
});

test("an acknowledgement alone is an empty answer, and a no-op is nothing", () => {
  const noop = (q: Message): Uint8Array =>
    encodeMessage({ type: NLMSG_NOOP, flags: 0, sequence: q.sequence, port, payload: nothing });
  expect(socketOn(simulate((q) => [noop(q), verdict(q, NLMSG_ERROR, 0)])).request(18, NLM_F_ACK, nothing)).toEqual([]);
});

test("a datagram that is not netlink throws, and the socket is replaced", () => {
  const simulated = simulate((q, count) => (count === 1 ? [part(q, "a").subarray(0, 17)] : [done(q)]));
  const socket = socketOn(simulated);
  expect(() => socket.dump(18, nothing)).toThrow(NetlinkFormatError);
  expect(socket.dump(18, nothing)).toEqual([]);
  expect(simulated.opened).toBe(2);
});

test("an empty datagram throws instead of being waited on for ever", () => {
  expect(() => socketOn(simulate(() => [nothing])).dump(18, nothing)).toThrow(NetlinkFormatError);
});

test("a closed socket answers no more", () => {
  const simulated = simulate((q) => [done(q)]);
  const socket = socketOn(simulated);
  socket.close();
  expect(() => socket.dump(18, nothing)).toThrow("closed");
  expect(simulated.closed).toBe(1);
});

test("the answers don't change with the next request", () => {
  const socket = socketOn(simulate((q, count) => [part(q, `answer ${count}`), done(q)]));
  const first = socket.dump(18, nothing);
  socket.dump(18, nothing);
  expect(texts(first)).toEqual(["answer 1"]);
});

// The host's own kernel from here on: every Linux has a loopback.
const RTM_GETLINK = 18;
const ifinfomsg = new Uint8Array(16);
const realSocket = (): NetlinkSocket => {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  sockets.push(socket);
  return socket;
};

test("this kernel's links come in one dump, the loopback among them", () => {
  const names = realSocket()
    .dump(RTM_GETLINK, ifinfomsg)
    .map(({ payload }) => decodeAttributes(payload, 16).string(3));
  expect(names).toContain("lo");
});

test("this kernel answers a request with one message", () => {
  const [answer, ...more] = realSocket().request(RTM_GETLINK, 0, writer(16).i32(4, 1).bytes);
  expect(more).toEqual([]);
  expect(reader(answer!.payload).i32(4)).toBe(1);
});

test("this kernel explains a refusal with a message", () => {
  const error = thrownBy(() => realSocket().dump(RTM_GETLINK, writer(16).i32(4, 1).bytes));
  expect(error).toMatchObject({ code: "EINVAL" });
  expect((error as NetlinkError).extendedAck).toBeTruthy();
});

test("two sockets at once don't receive each other's answers", () => {
  const [one, two] = [realSocket(), realSocket()];
  for (let round = 0; round < 50; round++) {
    expect(one.dump(RTM_GETLINK, ifinfomsg).length).toBe(two.dump(RTM_GETLINK, ifinfomsg).length);
  }
});

test("sockets leave no descriptor behind", () => {
  const count = (): number => readdirSync("/proc/self/fd").length;
  const before = count();
  for (let round = 0; round < 20; round++) new NetlinkSocket(NETLINK_ROUTE).close();
  expect(count()).toBe(before);
});

test("a protocol that the kernel lacks is a system error", () => {
  expect(thrownBy(() => new NetlinkSocket(31))).toMatchObject({ name: "SystemError", code: "EPROTONOSUPPORT" });
});
