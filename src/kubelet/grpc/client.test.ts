import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { createServer, type Server as SocketServer, type Socket } from "node:net";
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from "../../../test/support/grpc.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../../test/support/plugin.ts";
import { until } from "../../../test/support/until.ts";
import { DevicePluginService } from "../api/deviceplugin.ts";
import { type ListPodResourcesResponse, PodResourcesListerService } from "../api/podresources.ts";
import { call, type CallOptions } from "./client.ts";
import { status } from "./status-error.ts";

let folder = "";
const socket = () => `${folder}/s`;

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => removeTemporaryFolder(folder));

const list = (options: Partial<CallOptions> = {}): Promise<ListPodResourcesResponse> =>
  call(socket(), PodResourcesListerService.list, {}, { limit: 10_000, answerBytes: 16 << 20, ...options });

const podsOf = (count: number): ListPodResourcesResponse => ({
  podResources: Array.from({ length: count }, (_, index) => ({
    name: `pod-${index}`,
    namespace: "default",
    containers: [],
    cpuIds: [],
    memory: [],
  })) as never,
});

describe("of a server", () => {
  let server: Server;
  let answer: (callback: sendUnaryData<ListPodResourcesResponse>, call: ServerUnaryCall<unknown, unknown>) => void;
  beforeEach(async () => {
    server = new Server();
    server.addService(PodResourcesListerService, {
      list: (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<ListPodResourcesResponse>) =>
        answer(callback, call),
    });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${socket()}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
  });
  afterEach(() => server.forceShutdown());

  test.each([[0], [1], [200], [100_000]])("an answer with %d pods is read", async (count) => {
    answer = (callback) => callback(null, podsOf(count));
    const { podResources } = await list();
    expect(podResources).toHaveLength(count);
    expect(podResources.at(-1)?.name).toBe(count > 0 ? `pod-${count - 1}` : undefined);
  });

  test("an answer that is too long is RESOURCE_EXHAUSTED", () => {
    answer = (callback) => callback(null, podsOf(1000));
    expect(list({ answerBytes: 1000 })).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test("a refusal has its status and its words", () => {
    answer = (callback) => callback({ code: status.UNKNOWN, details: "100 % unknown: ü\n" });
    expect(list()).rejects.toMatchObject({ code: status.UNKNOWN, message: "2 UNKNOWN: 100 % unknown: ü\n" });
  });

  test("a method that is not there is UNIMPLEMENTED", () => {
    expect(
      call(socket(), DevicePluginService.allocate, { containerRequests: [] }, { limit: 10_000, answerBytes: 100 }),
    ).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });

  test("no answer in time is DEADLINE_EXCEEDED, and the server is notified", async () => {
    let isCalled = false;
    let isNotified = false;
    answer = (_, call) => {
      isCalled = true;
      call.on("cancelled", () => (isNotified = true));
    };
    const outcome = list({ limit: 300 }).catch((error: unknown) => error);
    await until("it was called", () => isCalled);
    expect(await outcome).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await until("the server is notified", () => isNotified);
  });

  test("what is given up is CANCELLED, before it and in between", async () => {
    const { promise: called, resolve } = Promise.withResolvers<void>();
    answer = () => resolve();
    const abort = new AbortController();
    const outcome = list({ abort: abort.signal }).catch((error: unknown) => error);
    await called;
    abort.abort();
    expect(await outcome).toMatchObject({ code: status.CANCELLED });
    expect(list({ abort: abort.signal })).rejects.toMatchObject({ code: status.CANCELLED });
  });

  test("a server that ends in between is UNAVAILABLE", async () => {
    answer = () => server.forceShutdown();
    expect(list()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });
});

describe("of anything but a gRPC server", () => {
  let http2: Http2Server | null = null;
  let plain: SocketServer | null = null;
  afterEach(() => {
    http2?.close();
    plain?.close();
    [http2, plain] = [null, null];
  });
  const answering = (respond: (stream: ServerHttp2Stream) => void) => {
    http2 = createHttp2Server();
    http2.on("stream", (stream) => {
      stream.on("error", () => {});
      respond(stream as ServerHttp2Stream);
    });
    return new Promise<void>((resolve) => http2?.listen(socket(), resolve));
  };
  const talking = (talk: (socket: Socket) => void) => {
    plain = createServer((connection) => {
      connection.on("error", () => {});
      talk(connection);
    });
    return new Promise<void>((resolve) => plain?.listen(socket(), resolve));
  };

  test("a socket that is not there is UNAVAILABLE", () => {
    expect(list()).rejects.toMatchObject({ code: status.UNAVAILABLE, message: expect.stringContaining("ENOENT") });
  });

  test.each<[string, (stream: ServerHttp2Stream) => void, number]>([
    ["another HTTP status", (stream) => stream.respond({ ":status": 404 }, { endStream: true }), status.UNIMPLEMENTED],
    ["no status", (stream) => stream.respond({ ":status": 200 }, { endStream: true }), status.UNKNOWN],
    [
      "a status and no message",
      (stream) => stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true }),
      status.UNIMPLEMENTED,
    ],
    [
      "half a message",
      (stream) => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.from([0, 0, 0, 0, 9, 1]));
      },
      status.UNIMPLEMENTED,
    ],
    [
      "a message that is not protobuf",
      (stream) => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.from([0, 0, 0, 0, 3, 0x0a, 0xff, 0xff]));
      },
      status.INTERNAL,
    ],
    ["a reset", (stream) => stream.close(2), status.INTERNAL],
  ])("%s is an error with a status", async (_, respond, code) => {
    await answering(respond);
    expect(await list().catch((error: unknown) => error)).toMatchObject({ code });
  });

  test.each<[string, (socket: Socket) => void]>([
    ["closes", (connection) => connection.end()],
    ["breaks off", (connection) => connection.destroy()],
    ["speaks HTTP/1", (connection) => connection.end("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["speaks nonsense", (connection) => connection.end(Buffer.alloc(5000, 0xa5))],
  ])("a peer that %s is UNAVAILABLE", async (_, talk) => {
    await talking(talk);
    expect(await list().catch((error: unknown) => error)).toMatchObject({ code: status.UNAVAILABLE });
  });

  test("a peer that says nothing is DEADLINE_EXCEEDED", async () => {
    await talking(() => {});
    expect(await list({ limit: 200 }).catch((error: unknown) => error)).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });
});
