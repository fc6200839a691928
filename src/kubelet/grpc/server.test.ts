import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { grpcMessage } from "../../../test/support/http2-frames.ts";
import { callAllocate, SimulatedPlugin, requestFor } from "../../../test/support/simulated-plugin.ts";
import { AllocateRequest } from "../api/deviceplugin.ts";
import { GrpcServer } from "./server.ts";
import { status, StatusError } from "./status-error.ts";

const plugin = new SimulatedPlugin();

describe("a call", () => {
  test("is answered", async () => {
    expect(await callAllocate(plugin.newClient(), "a", "b")).toBe(2);
    expect(plugin.refused).toEqual([]);
  });

  test("is answered when its handler takes its time", async () => {
    plugin.allocate = async () => {
      await Bun.sleep(1);
      return { containerResponses: [] };
    };
    expect(await callAllocate(plugin.newClient(), "a")).toBe(0);
  });

  test.each([
    [
      "throws a status",
      () => Promise.resolve(new StatusError(status.INVALID_ARGUMENT, "50 % wrong: ü\n")),
      status.INVALID_ARGUMENT,
    ],
    [
      "rejects with a status",
      () => Promise.reject(new StatusError(status.UNAVAILABLE, "50 % wrong: ü\n")),
      status.UNAVAILABLE,
    ],
    ["throws anything", () => Promise.reject(new TypeError("50 % wrong: ü\n")), status.INTERNAL],
  ])("whose handler %s is rejected with its message, and reported", async (_, outcome, code) => {
    plugin.allocate = async () => {
      const error = await outcome();
      throw error;
    };
    expect(await callAllocate(plugin.newClient(), "a")).toMatchObject({ code, details: "50 % wrong: ü\n" });
    expect(plugin.refused).toHaveLength(1);
    expect(plugin.refused[0]).toStartWith("Allocate: ");
  });

  test("whose handler throws at once is refused", async () => {
    plugin.allocate = () => {
      throw new StatusError(status.INVALID_ARGUMENT, "no");
    };
    const client = plugin.newClient();
    expect(await callAllocate(client, "a")).toMatchObject({ code: status.INVALID_ARGUMENT, details: "no" });
    plugin.allocate = () => ({ containerResponses: [] });
    expect(await callAllocate(client, "a")).toBe(0);
  });

  test("whose answer can't be written is refused", async () => {
    plugin.allocate = () => ({ containerResponses: 7 });
    expect(await callAllocate(plugin.newClient(), "a")).toMatchObject({ code: status.INTERNAL });
  });

  test("with too long a request is refused, and the next one on the connection is answered", async () => {
    const client = plugin.newClient();
    expect(await callAllocate(client, "x".repeat(100_000))).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect(await callAllocate(client, "a")).toBe(1);
  });

  test("is one of many at once", async () => {
    const client = plugin.newClient();
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, call) => callAllocate(client, ...Array(call % 7).fill("a"))),
    );
    expect(answers).toEqual(Array.from({ length: 300 }, (_, call) => call % 7));
  });
});

describe("anything but gRPC", () => {
  let session: ClientHttp2Session;
  beforeEach(() => {
    session = connect("http://localhost", { createConnection: () => connectSocket({ path: plugin.socket }) });
    session.on("error", () => {});
  });
  afterEach(() => session.destroy());

  /** Sends a request as it is given, and returns the answer's status, HTTP's or gRPC's. */
  function send(headers: OutgoingHttpHeaders, ...body: readonly Uint8Array[]): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const stream = session.request({
      ":method": "POST",
      ":path": "/v1beta1.DevicePlugin/Allocate",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let found: Record<string, unknown> = {};
    const note = (more: object) => (found = { ...found, ...more });
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", () => {});
    stream.on("close", () => {
      const { ":status": http, "grpc-status": code, "grpc-message": message = "" } = found;
      resolve(code === undefined ? `HTTP ${String(http)}` : `${String(code)} ${decodeURI(String(message))}`);
    });
    stream.resume();
    for (const bytes of body) stream.write(bytes);
    stream.end();
    return promise;
  }
  const good = grpcMessage(AllocateRequest.encode(requestFor("a")).finish());
  /** A message whose flag says that it is compressed. */
  const flagged = (bytes: Uint8Array) => {
    const message = grpcMessage(bytes);
    message[0] = 1;
    return message;
  };
  const compressed = (bytes: Uint8Array<ArrayBuffer>) => flagged(Bun.gzipSync(bytes));

  test.each<[string, OutgoingHttpHeaders, Uint8Array[], string | RegExp]>([
    ["a good call", {}, [good], "0 OK"],
    ["a good call in pieces", {}, [good.subarray(0, 3), good.subarray(3, 9), good.subarray(9)], "0 OK"],
    ["another codec's name", { "content-type": "application/grpc+proto" }, [good], "0 OK"],
    ["another method", { ":path": "/v1beta1.DevicePlugin/Nothing" }, [good], /^12 .*Nothing/],
    ["a service of another name", { ":path": "/v1beta2.DevicePlugin/Allocate" }, [good], /^12 /],
    ["a name of every object", { ":path": "/constructor" }, [good], /^12 /],
    ["a page", { ":method": "GET", "content-type": "text/html" }, [], "HTTP 415"],
    ["a form", { "content-type": "application/x-www-form-urlencoded" }, [good], "HTTP 415"],
    ["a call without a message", {}, [], /^12 /],
    ["a call with half a message", {}, [good.subarray(0, -1)], /^12 /],
    ["a call with two messages", {}, [good, good], /^12 /],
    ["a compressed message", { "grpc-encoding": "gzip" }, [compressed(Uint8Array.from(good.subarray(5)))], "0 OK"],
    [
      "a message that says to be compressed and is not",
      { "grpc-encoding": "gzip" },
      [flagged(good.subarray(5))],
      /^13 /,
    ],
    ["a message of an unknown compression", { "grpc-encoding": "br" }, [flagged(good.subarray(5))], /^12 /],
    ["a small message that becomes large", { "grpc-encoding": "gzip" }, [compressed(new Uint8Array(1 << 20))], /^8 /],
    ["a message that is not protobuf", {}, [grpcMessage(Uint8Array.of(0x0a, 0xff, 0xff))], /^13 .*can't be read/],
    ["a message too long", {}, [grpcMessage(new Uint8Array(1001))], /^8 /],
  ])("%s gets its answer", async (_, headers, body, expected) => {
    expect(await send(headers, ...body)).toMatch(typeof expected === "string" ? new RegExp(`^${expected}$`) : expected);
    expect(await send({}, good)).toBe("0 OK");
  });
});

test("a path where no socket can be made is reported", async () => {
  const other = new GrpcServer({ requestBytes: 10, callsAtOnce: 1, connections: 1, refused: () => {} });
  expect(other.listen(`${plugin.folder}/missing/s`)).rejects.toThrow(/ENOENT|EACCES|listen/i);
  await other.close();
});
