import {
  type CallOptions,
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { AllocateRequest } from "../../src/kubelet/api/deviceplugin.ts";
import { limits } from "../../src/limits.ts";
import { pluginClient } from "../support/grpc.ts";
import { frame, preface, settings } from "../support/http2-frames.ts";
import type { TestNode } from "../support/plugin.ts";
import { Random } from "../support/random.ts";
import { until } from "../support/until.ts";
import { listed, onceRegistered, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(60_000);

const net = "intel.com/net";
const other = "intel.com/other";
let node: TestNode;
let ids: readonly string[] = [];
beforeAll(async () => {
  node = await running({
    node: { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 8 }] }] },
    config: {
      resourceList: [
        { resourceName: "net", selectors: { pfNames: ["ens1f0#0-3"] } },
        { resourceName: "other", selectors: {} },
      ],
    },
    resources: [net, other],
  });
  ids = listed(node, net);
});
afterAll(() => node.close());

const socketPath = (name = "net") => `${node.kubelet.registry}/intel.com_${name}.sock`;

const newClient = (name = "net") =>
  new Client(`unix:${socketPath(name)}`, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.default_authority": "localhost",
    "grpc.enable_retries": 0,
    "grpc.max_send_message_length": -1,
  });

/** Calls a method with raw bytes, without a deadline unless one is given; returns the status, and the answer's length. */
async function call(method: string, bytes: Uint8Array, options: CallOptions = {}) {
  const client = newClient();
  try {
    return await new Promise<{ code: status; details: string }>((resolve) => {
      client.makeUnaryRequest(
        method,
        (value: Uint8Array) => Buffer.from(value),
        (value: Buffer) => value,
        bytes,
        new Metadata(),
        options,
        (error: ServiceError | null) => resolve({ code: error?.code ?? status.OK, details: error?.details ?? "" }),
      );
    });
  } finally {
    client.close();
  }
}

const allocateMethod = "/v1beta1.DevicePlugin/Allocate";
const encoded = (...containers: readonly (readonly string[])[]) =>
  AllocateRequest.encode({
    containerRequests: containers.map((devicesIds) => ({ devicesIds: [...devicesIds] })),
  }).finish();

/** What must be so after whatever happened: both pools are what they were, and answer. */
async function expectUnharmed(): Promise<void> {
  for (const resource of [net, other]) {
    expect(touches(node, resource)).toEqual(onceRegistered(1));
    expect(node.kubelet.resource(resource).connected).toBe(true);
    const [id = ""] = listed(node, resource);
    const { containerResponses } = await node.kubelet.callAllocate(resource, [[id]]);
    expect(containerResponses).toHaveLength(1);
  }
}

const descriptors = () => readdirSync(`/proc/${node.plugin.pid}/fd`).length;

describe("Allocate", () => {
  const shapes: readonly (readonly [string, () => Uint8Array, status])[] = [
    ["an empty id", () => encoded([""]), status.INVALID_ARGUMENT],
    ["an unknown id", () => encoded(["0000:ff:00.0"]), status.INVALID_ARGUMENT],
    ["a path", () => encoded(["../../../../etc/passwd"]), status.INVALID_ARGUMENT],
    ["NUL, a line's end and a terminal's escapes", () => encoded(["\0\r\n\u001b[2J\u0085"]), status.INVALID_ARGUMENT],
    ["a megabyte", () => encoded(["x".repeat(1 << 20)]), status.INVALID_ARGUMENT],
    ["keys of every object", () => encoded(["__proto__"], ["constructor"]), status.INVALID_ARGUMENT],
    ["a good id and a bad one", () => encoded([ids[0] ?? "", "x"]), status.INVALID_ARGUMENT],
    ["one id in two containers", () => encoded([ids[0] ?? ""], [ids[0] ?? ""]), status.INVALID_ARGUMENT],
    [
      "10,000 ids",
      () => encoded(Array.from({ length: 10_000 }, (_, index) => `0000:${index}`)),
      status.INVALID_ARGUMENT,
    ],
    ["one id 10,000 times", () => encoded(Array.from({ length: 10_000 }, () => ids[0] ?? "")), status.INVALID_ARGUMENT],
    ["10,000 containers", () => encoded(...Array.from({ length: 10_000 }, () => ["x"])), status.INVALID_ARGUMENT],
    [
      "more than a request may hold",
      () => encoded(["x".repeat(limits.requestBytes.max + 1)]),
      status.RESOURCE_EXHAUSTED,
    ],
    // Field 1 of length 2: field 1 of length 0x7f in a message that ends there.
    ["a message that ends in the middle", () => Uint8Array.of(0x0a, 0x02, 0x0a, 0x7f), status.INTERNAL],
    [
      "no message",
      () => Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      status.INTERNAL,
    ],
    ["bytes that are no UTF-8", () => Uint8Array.of(0x0a, 0x04, 0x0a, 0x02, 0xc3, 0x28), status.INVALID_ARGUMENT],
  ];
  test.each(shapes)(
    "of %s is rejected with a message, allocates nothing and harms no other client",
    async (_, bytes, code) => {
      const before = node.names(node.deviceInfoFolder);
      const answer = await call(allocateMethod, bytes());
      expect({ ...answer, code: status[answer.code] }).toEqual({
        code: status[code],
        details: expect.stringMatching(/./),
      });
      expect(answer.details.length).toBeLessThan(1000);
      expect(node.names(node.deviceInfoFolder)).toEqual(before);
      await expectUnharmed();
    },
  );

  test("of no container at all is an answer of none", async () => {
    expect((await call(allocateMethod, encoded())).code).toBe(status.OK);
  });

  test("with a deadline that is over, and without any, is ended or answered", async () => {
    expect((await call(allocateMethod, encoded(["x"]), { deadline: 1 })).code).toBe(status.DEADLINE_EXCEEDED);
    expect((await call(allocateMethod, encoded([ids[0] ?? ""]))).code).toBe(status.OK);
    await expectUnharmed();
  });
});

test.each(["/v1beta1.DevicePlugin/Nothing", "/x", "/", "/v1beta1.DevicePlugin/../Allocate", `/${"x".repeat(5000)}`])(
  "an unknown method is rejected: %p",
  async (method) => {
    const { code } = await call(method, encoded(["x"]), { deadline: Date.now() + 5000 });
    expect([status.UNIMPLEMENTED, status.INTERNAL]).toContain(code);
    await expectUnharmed();
  },
);

/** Opens a bare connection; resolves when it is open. */
function dial(name = "net"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath(name) }, () => resolve(socket));
    socket.on("error", reject);
  });
}

describe("bytes on a pool's socket", () => {
  const noise = new Random(11);
  const garbage: readonly (readonly [string, () => Uint8Array])[] = [
    ["nothing", () => new Uint8Array()],
    ["HTTP/1", () => Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["TLS", () => Buffer.from("16030100a5010000a10303", "hex")],
    ["a megabyte of chance", () => noise.bytes(1 << 20)],
    ["half a preface", () => preface.subarray(0, 10)],
    ["a preface and chance", () => Buffer.concat([preface, noise.bytes(4096)])],
    ["a frame longer than any", () => Buffer.concat([preface, settings, frame(0, 0, 1, noise.bytes(64), 0xffffff)])],
    ["data of no stream", () => Buffer.concat([preface, settings, frame(0, 1, 7, noise.bytes(10))])],
    ["headers that are no HPACK", () => Buffer.concat([preface, settings, frame(1, 5, 1, noise.bytes(200))])],
    [
      "headers that never end",
      () =>
        Buffer.concat([
          preface,
          settings,
          frame(1, 0, 1, Uint8Array.of(0x82)),
          ...Array.from({ length: 2000 }, () => frame(9, 0, 1, noise.bytes(100))),
        ]),
    ],
    ["settings of a wrong length", () => Buffer.concat([preface, frame(4, 0, 0, noise.bytes(7))])],
    ["a thousand settings", () => Buffer.concat([preface, ...Array.from({ length: 1000 }, () => settings)])],
    [
      "a thousand pings",
      () =>
        Buffer.concat([preface, settings, ...Array.from({ length: 1000 }, () => frame(6, 0, 0, new Uint8Array(8)))]),
    ],
    [
      "a thousand streams that are reset at once",
      () =>
        Buffer.concat([
          preface,
          settings,
          ...Array.from({ length: 1000 }, (_, index) =>
            Buffer.concat([
              frame(1, 4, 2 * index + 1, Uint8Array.of(0x83, 0x86, 0x84)),
              frame(3, 0, 2 * index + 1, new Uint8Array(4)),
            ]),
          ),
        ]),
    ],
    ["a window of nothing", () => Buffer.concat([preface, settings, frame(8, 0, 0, new Uint8Array(4))])],
    [
      "frames of unknown types",
      () =>
        Buffer.concat([
          preface,
          settings,
          ...Array.from({ length: 200 }, (_, type) => frame(10 + type, 255, type, noise.bytes(9))),
        ]),
    ],
  ];
  test.each(garbage)("that are %s harm no other client", async (_, bytes) => {
    const socket = await dial();
    socket.on("error", () => {});
    socket.write(bytes());
    // What the server says to it, if anything, is there by the time that it answered another client.
    await expectUnharmed();
    socket.destroy();
    await expectUnharmed();
  });

  test("of mutated good conversations harm no other client", async () => {
    const random = new Random(20_261_124);
    for (let round = 0; round < 60; round++) {
      const good = Buffer.concat([
        preface,
        settings,
        frame(1, 4, 1, Uint8Array.of(0x83, 0x86, 0x84, 0x41, 1, 0x78)),
        frame(0, 1, 1, Uint8Array.of(0, 0, 0, 0, 0)),
      ]);
      for (let edits = random.between(1, 4); edits > 0; edits--)
        good[random.between(preface.length, good.length - 1)] = random.below(256);
      const socket = await dial();
      socket.on("error", () => {});
      socket.end(good);
      await new Promise((resolve) => socket.on("close", resolve).resume());
    }
    await expectUnharmed();
  });
});

describe("floods", () => {
  const openStreams = (count: number) => {
    const client = pluginClient(socketPath());
    const codes: number[] = [];
    let lists = 0;
    const streams = Array.from({ length: count }, (): ClientReadableStream<unknown> => {
      const stream = client.listAndWatch({});
      stream.on("data", () => lists++);
      stream.on("error", (error: unknown) => codes.push((error as ServiceError).code));
      return stream;
    });
    return { client, streams, codes, lists: () => lists };
  };

  test("of streams are refused beyond the limit, and the kubelet's own goes on", async () => {
    const before = descriptors();
    const room = limits.listStreams.max;
    const first = openStreams(room);
    await until("each has a list", () => first.lists() === room, { found: () => `${first.lists()} lists` });
    // On another connection: one has no more calls at once.
    const more = openStreams(50);
    await until("each is refused", () => more.codes.length === 50, { found: () => `${more.codes.length} refused` });
    expect({ lists: more.lists(), codes: [...new Set([...first.codes, ...more.codes])] }).toEqual({
      lists: 0,
      codes: [status.RESOURCE_EXHAUSTED],
    });
    await expectUnharmed();
    for (const stream of first.streams) stream.cancel();
    for (const { client } of [first, more]) client.close();
    await until("the connections are given up", () => descriptors() <= before, { found: () => `${descriptors()}` });
    const again = openStreams(1);
    await until("there is room again", () => again.lists() === 1);
    again.client.close();
    for (const stream of again.streams) stream.cancel();
    await expectUnharmed();
  });

  test("of silent connections are tolerated, and leave nothing", async () => {
    const before = descriptors();
    const sockets = await Promise.all(Array.from({ length: 500 }, () => dial()));
    await expectUnharmed();
    for (const socket of sockets) socket.destroy();
    await until("they are closed", () => descriptors() <= before, { found: () => `${descriptors()} of ${before}` });
  });

  test("of connections that do not begin with HTTP/2 are closed after some seconds", async () => {
    const sockets = await Promise.all([dial(), dial(), dial()]);
    let closed = 0;
    for (const socket of sockets) socket.on("close", () => closed++).resume();
    sockets[1]?.write(preface);
    sockets[2]?.write(Buffer.concat([preface, settings]));
    await until("the half-open ones are closed", () => closed === 2, { found: () => `${closed}` });
    // A client that has begun may be idle for as long as it likes.
    expect(sockets[2]?.destroyed).toBe(false);
    for (const socket of sockets) socket.destroy();
    await expectUnharmed();
  });

  test("of more connections than there may be close the oldest idle ones, never the kubelet's", async () => {
    const before = descriptors();
    const sockets = [];
    for (let count = 0; count < limits.connections.max + 50; count++) sockets.push(await dial());
    await until("there are no more than may be", () => descriptors() <= before + limits.connections.max, {
      found: () => `${descriptors() - before}`,
    });
    await expectUnharmed();
    for (const socket of sockets) socket.destroy();
    await until("they are closed", () => descriptors() <= before, { found: () => `${descriptors()} of ${before}` });
  });

  test("of calls on one connection are all answered", async () => {
    const client = pluginClient(socketPath());
    let answered = 0;
    for (let calls = 0; calls < 2000; calls++) client.getDevicePluginOptions({}, () => answered++);
    await until("all are answered", () => answered === 2000, { found: () => String(answered), within: 30_000 });
    client.close();
    await expectUnharmed();
  });
});

test("sockets are for their owner alone, whatever the umask", async () => {
  for (const name of ["net", "other"]) expect((statSync(socketPath(name)).mode & 0o777).toString(8)).toBe("600");
});

test("none of this ended the plugin, or made it log a program error", () => {
  expect(node.plugin.isRunning).toBe(true);
  expect(node.plugin.log).not.toMatch(/TypeError|RangeError|undefined is not|unhandled/i);
});
