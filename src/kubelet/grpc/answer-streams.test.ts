import { describe, expect, test } from "bun:test";
import { connect as connectSocket } from "node:net";
import type { ServiceError } from "../../../test/support/grpc.ts";
import {
  callHeaders,
  data,
  dataOf,
  endStream,
  framesIn,
  grpcMessage,
  initialWindow,
  ping,
  preface,
  settings,
  windowUpdate,
} from "../../../test/support/http2-frames.ts";
import { callAllocate, SimulatedPlugin } from "../../../test/support/simulated-plugin.ts";
import { until } from "../../../test/support/until.ts";
import type { ListAndWatchResponse } from "../api/deviceplugin.ts";
import type { AnswerStream } from "./server.ts";
import { status, StatusError } from "./status-error.ts";

const plugin = new SimulatedPlugin();

describe("a stream", () => {
  const list = (...ids: string[]) => ({ devices: ids.map((ID) => ({ ID, health: "Healthy", topology: undefined })) });
  const listen = () => {
    const call = plugin.newClient().listAndWatch({});
    const seen: string[] = [];
    let error: ServiceError | null = null;
    let hasEnded = false;
    call.on("data", ({ devices }: ListAndWatchResponse) => seen.push(devices.map(({ ID }) => ID).join()));
    call.on("error", (failure: ServiceError) => (error = failure));
    call.on("end", () => (hasEnded = true));
    return { call, seen, error: () => error, hasEnded: () => hasEnded };
  };
  const opened = async (count = 1) => {
    await until("the stream is open", () => plugin.streams.length === count);
    return plugin.streams[count - 1] as AnswerStream<ListAndWatchResponse>;
  };

  test("carries as many answers as there are, and ends well", async () => {
    const { seen, error, hasEnded } = listen();
    const stream = await opened();
    let [taken, over] = [0, 0];
    stream.whenOver(() => over++);
    stream.send(list("a"), () => taken++);
    stream.send(list("a", "b"), () => taken++);
    await until("both are there", () => seen.length === 2);
    await until("both were taken", () => taken === 2);
    expect(over).toBe(0);
    stream.end();
    await until("it has ended", hasEnded);
    await until("its end is reported", () => over === 1);
    expect({ seen, error: error() }).toEqual({ seen: ["a", "a,b"], error: null });
    stream.send(list("c"), () => taken++);
    stream.end();
    expect({ taken, over }).toEqual({ taken: 2, over: 1 });
  });

  test.each([[0], [1]])("can end with a status after %d answers", async (answers) => {
    const { seen, error } = listen();
    const stream = await opened();
    for (let sent = 0; sent < answers; sent++) stream.send(list("a"), () => {});
    stream.end(new StatusError(status.RESOURCE_EXHAUSTED, "100 % full"));
    await until("it was refused", () => error() !== null);
    expect(error()).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: "100 % full" });
    expect(seen).toHaveLength(answers);
  });

  test.each([
    ["is cancelled", ({ call }: ReturnType<typeof listen>) => call.cancel()],
    ["loses its connection", () => plugin.clients.at(-1)?.close()],
  ])("that %s is over, once", async (_, end) => {
    const listener = listen();
    const stream = await opened();
    let over = 0;
    stream.whenOver(() => over++);
    stream.send(list("a"), () => {});
    await until("it is there", () => listener.seen.length === 1);
    end(listener);
    listener.call.on("error", () => {});
    // close() alone lets calls end; a kubelet that is gone takes its socket along.
    if (over === 0) listener.call.cancel();
    await until("it is over", () => over === 1);
    stream.send(list("b"), () => {});
    stream.end();
    stream.cut();
    expect(await callAllocate(plugin.newClient(), "a")).toBe(1);
    expect(over).toBe(1);
  });

  test("that is cut loses its connection at once, and others keep theirs", async () => {
    const other = listen();
    await opened(1);
    const { seen, error } = listen();
    const stream = await opened(2);
    let over = 0;
    stream.whenOver(() => over++);
    stream.send(list("a"), () => {});
    await until("it is there", () => seen.length === 1);
    stream.cut();
    await until("the caller has the error", () => error() !== null);
    await until("it is over", () => over === 1);
    expect(await callAllocate(plugin.newClient(), "a")).toBe(1);
    expect(other.error()).toBeNull();
  });

  test("whose handler throws is refused, also when it was answered in part", async () => {
    plugin.listening = () => {
      throw new StatusError(status.UNAVAILABLE, "not now");
    };
    const first = listen();
    await until("it was refused", () => first.error() !== null);
    expect(first.error()).toMatchObject({ code: status.UNAVAILABLE, details: "not now" });
    plugin.listening = (stream) => {
      stream.send(list("a"), () => {});
      throw new Error("in the middle");
    };
    const second = listen();
    await until("it has ended", () => second.error() !== null);
    expect(second.error()).toMatchObject({ code: status.INTERNAL, details: "in the middle" });
    expect(plugin.refused).toEqual(["ListAndWatch: StatusError: not now", "ListAndWatch: Error: in the middle"]);
    expect(await callAllocate(plugin.newClient(), "a")).toBe(1);
  });

  test("whose answer can't be written is refused with a status", async () => {
    plugin.listening = (stream) => stream.send({ devices: 7 } as never, () => {});
    const { error } = listen();
    await until("it was refused", () => error() !== null);
    expect(error()).toMatchObject({ code: status.INTERNAL, details: expect.stringMatching(/./) });
  });

  test("is not harmed by a refusal of many words beside it on its connection", async () => {
    const client = plugin.newClient();
    const call = client.listAndWatch({});
    let failure: unknown = null;
    call.on("error", (error: ServiceError) => (failure = error));
    call.resume();
    await opened();
    plugin.allocate = () => {
      throw new StatusError(status.INVALID_ARGUMENT, "ü".repeat(100_000));
    };
    const answer = await callAllocate(client, "a");
    expect(answer).toMatchObject({ code: status.INVALID_ARGUMENT, details: "ü".repeat(4096) });
    plugin.allocate = () => ({ containerResponses: [] });
    expect(await callAllocate(client, "a")).toBe(0);
    expect(failure).toBeNull();
    call.on("error", () => {});
    call.cancel();
  });

  test("that is never ended does not keep the server from closing", async () => {
    const { error } = listen();
    await opened();
    await plugin.server.close();
    await until("the caller has the error", () => error() !== null);
    expect(await callAllocate(plugin.newClient(), "a")).toMatchObject({ code: status.UNAVAILABLE });
  });
});

// RFC 9113, section 6.9.2: the change is added to the window of each open stream, beside the WINDOW_UPDATEs that came. Bun takes the
// larger of both (oven-sh/bun 30344, 41329). grpc-go raises its window so, and then waits for bytes that Bun does not send. The day
// this fails Bun is mended: then limits.listBytes can grow.
test("Bun loses credit of an open stream when the peer raises SETTINGS_INITIAL_WINDOW_SIZE", async () => {
  const window = 65_535;
  const connection = connectSocket({ path: plugin.socket });
  let received: Buffer = Buffer.alloc(0);
  connection.on("data", (piece: Buffer) => (received = Buffer.concat([received, piece])));
  const pings = () => framesIn(received).filter(({ type, flags }) => type === 6 && (flags & 1) === 1).length;
  const sent = () => dataOf(received, 1).length;
  plugin.listening = (stream) => {
    const ID = "x".repeat(4 * window);
    stream.send({ devices: [{ ID, health: "Healthy", topology: undefined }] }, () => {});
  };
  try {
    connection.write(Buffer.concat([preface, settings, windowUpdate(0, 1 << 24)]));
    connection.write(callHeaders(1, "/v1beta1.DevicePlugin/ListAndWatch"));
    connection.write(data(1, grpcMessage(new Uint8Array()), endStream));
    await until("the window is full", () => sent() === window);
    connection.write(windowUpdate(1, window));
    await until("what was credited is sent", () => sent() === 2 * window);
    connection.write(Buffer.concat([initialWindow(2 * window), ping]));
    await until("the raise was read", () => pings() === 1);
    // Once more: what the first SETTINGS allows would have come before.
    connection.write(ping);
    await until("the second ping is answered", () => pings() === 2);
    expect(sent()).toBe(2 * window);
    connection.write(windowUpdate(1, window));
    await until("what was credited again is sent", () => sent() === 3 * window);
  } finally {
    connection.destroy();
  }
});
