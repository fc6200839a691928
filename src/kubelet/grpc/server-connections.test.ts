import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect as connectSocket, type Socket } from "node:net";
import {
  callHeaders,
  data,
  endStream,
  grpcMessage,
  initialWindow,
  preface,
  reset,
  settings,
} from "../../../test/support/http2-frames.ts";
import { callAllocate, SimulatedPlugin, requestFor } from "../../../test/support/simulated-plugin.ts";
import { until } from "../../../test/support/until.ts";
import { AllocateRequest } from "../api/deviceplugin.ts";

const plugin = new SimulatedPlugin();

describe("a whole request that does not end", () => {
  const allocatePath = "/v1beta1.DevicePlugin/Allocate";
  const good = (...ids: string[]) => grpcMessage(AllocateRequest.encode(requestFor(...ids)).finish());
  let handled: string[] = [];
  let connection: Socket;
  beforeEach(async () => {
    handled = [];
    plugin.allocate = (ids) => {
      handled.push(...ids);
      return { containerResponses: [] };
    };
    connection = connectSocket({ path: plugin.socket });
    connection.on("error", () => {});
    connection.write(Buffer.concat([preface, settings]));
    connection.write(Buffer.concat([callHeaders(1, allocatePath), data(1, good("half"))]));
    connection.write(
      Buffer.concat([callHeaders(3, "/v1beta1.DevicePlugin/ListAndWatch"), data(3, grpcMessage(new Uint8Array()))]),
    );
  });
  afterEach(() => connection.destroy());

  /** Calls on the same connection, behind what was sent there; resolves when it was answered. */
  const callBehind = async () => {
    connection.write(Buffer.concat([callHeaders(5, allocatePath), data(5, good("behind"), endStream)]));
    await until("what was sent behind it is answered", () => handled.includes("behind"));
  };

  test("waits for its end", async () => {
    await callBehind();
    expect({ handled, streams: plugin.streams }).toEqual({ handled: ["behind"], streams: [] });
    connection.write(Buffer.concat([data(1, new Uint8Array(), endStream), data(3, new Uint8Array(), endStream)]));
    await until("both are answered", () => handled.length === 2 && plugin.streams.length === 1);
  });

  test("and is reset reaches no handler", async () => {
    await callBehind();
    connection.write(Buffer.concat([reset(1), reset(3)]));
    connection.write(Buffer.concat([callHeaders(7, allocatePath), data(7, good("last"), endStream)]));
    await until("the last call is answered", () => handled.includes("last"));
    expect({ handled, streams: plugin.streams }).toEqual({ handled: ["behind", "last"], streams: [] });
  });

  test.each([
    ["closes", () => connection.end()],
    ["breaks", () => connection.destroy()],
  ])("when its connection %s reaches no handler", async (_, end) => {
    await callBehind();
    end();
    await plugin.server.close();
    expect({ handled, streams: plugin.streams }).toEqual({ handled: ["behind"], streams: [] });
  });
});

describe("connections", () => {
  const allocatePath = "/v1beta1.DevicePlugin/Allocate";
  const listPath = "/v1beta1.DevicePlugin/ListAndWatch";
  const good = grpcMessage(AllocateRequest.encode(requestFor("a")).finish());
  let sockets: Socket[] = [];
  beforeEach(() => {
    sockets = [];
  });
  afterEach(() => {
    for (const each of sockets) each.destroy();
  });

  const dial = () =>
    new Promise<Socket & { isClosed: boolean }>((resolve) => {
      const connection = Object.assign(connectSocket({ path: plugin.socket }), { isClosed: false });
      sockets.push(connection);
      connection.on("error", () => {});
      connection.on("close", () => (connection.isClosed = true));
      connection.on("connect", () => resolve(connection)).resume();
    });

  test("are served whatever the pieces in which their first bytes come", async () => {
    const calls: number[] = [];
    plugin.allocate = () => {
      calls.push(1);
      return { containerResponses: [] };
    };
    const bytes = Buffer.concat([preface, settings, callHeaders(1, allocatePath), data(1, good, endStream)]);
    (await dial()).write(bytes);
    await until("the whole is answered", () => calls.length === 1);
    const slow = await dial();
    for (const byte of bytes) {
      slow.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until("the pieces are answered", () => calls.length === 2);
  });

  test("have an identity, which all their calls share and no other connection has", async () => {
    for (const connection of [await dial(), await dial()])
      connection.write(
        Buffer.concat([
          preface,
          settings,
          ...[1, 3].flatMap((id) => [callHeaders(id, listPath), data(id, grpcMessage(new Uint8Array()), endStream)]),
        ]),
      );
    await until("four streams are open", () => plugin.streams.length === 4);
    const connections = new Map(Map.groupBy(plugin.streams, ({ connection }) => connection));
    expect([...connections.values()].map((group) => group.length)).toEqual([2, 2]);
    plugin.streams[0]?.cut();
    await until("the streams of one are over", () => sockets.filter((each) => each.destroyed).length === 1);
  });

  test("that do not speak HTTP/2 are closed at once", async () => {
    const connection = await dial();
    connection.write("GET / HTTP/1.1\r\n\r\n");
    await until("it is closed", () => connection.isClosed);
  });

  test("beyond the limit replace the oldest that has no stream", async () => {
    const { call, error } = (() => {
      const call = plugin.newClient().listAndWatch({});
      let error: unknown = null;
      call.on("data", () => {});
      call.on("error", (failure: unknown) => (error = failure));
      return { call, error: () => error };
    })();
    await until("the stream is open", () => plugin.streams.length === 1);
    const first = await Promise.all(Array.from({ length: 19 }, dial));
    await dial();
    await until("the oldest is closed", () => first[0]?.isClosed === true);
    expect(await callAllocate(plugin.newClient(), "a")).toBe(1);
    expect(first.filter(({ isClosed }) => isClosed).length).toBeLessThanOrEqual(3);
    expect(error()).toBeNull();
    call.on("error", () => {});
    call.cancel();
  });

  test("beyond the limit are refused where all have a stream", async () => {
    const client = () => {
      const call = plugin.newClient().listAndWatch({});
      call.on("data", () => {});
      call.on("error", () => {});
    };
    for (let count = 0; count < 20; count++) client();
    await until("all have a stream", () => plugin.streams.length === 20);
    const late = await dial();
    await until("the new one is closed", () => late.isClosed);
    expect(plugin.streams.every(({ connection }) => connection.streams === 1)).toBeTrue();
  });

  test.each([
    ["that say nothing", () => Buffer.alloc(0)],
    ["that wait", () => Buffer.concat([preface, settings])],
    [
      "whose answers are not taken",
      () => {
        // Not a byte of an answer may be sent.
        return Buffer.concat([
          preface,
          initialWindow(0),
          callHeaders(1, listPath),
          data(1, grpcMessage(new Uint8Array()), 1),
        ]);
      },
    ],
  ])("%s are closed with the server at once", async (_, bytes) => {
    const connection = await dial();
    const sent = bytes();
    connection.write(sent);
    if (sent.length > 100) {
      await until("the stream is open", () => plugin.streams.length === 1);
      plugin.streams[0]?.send({ devices: [] }, () => {});
      plugin.streams[0]?.end();
    } else expect(await callAllocate(plugin.newClient(), "a")).toBe(1);
    const started = performance.now();
    await plugin.server.close();
    // 50 ms, and what a busy machine adds; calls that do not end would have a second otherwise.
    expect(performance.now() - started).toBeLessThan(500);
    await until("it is closed", () => connection.isClosed);
  });
});
