import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { frame, preface, settings } from "../../../test/support/http2-frames.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../../test/support/plugin.ts";
import { until } from "../../../test/support/until.ts";
import { Connections, handshakeOf } from "./connections.ts";

/** Captured: the first bytes of grpc-go 1.85 on a unix socket: the preface, and SETTINGS with one entry. */
const grpcGo = Buffer.concat([preface, frame(4, 0, 0, Uint8Array.of(0, 5, 0, 0, 0x40, 0))]);

describe("the beginning of an HTTP/2 connection", () => {
  test.each([
    ["an empty SETTINGS", Buffer.concat([preface, settings])],
    ["SETTINGS with an entry", grpcGo],
  ])("with %s is complete with its last byte, and at none before", (_, bytes) => {
    for (let length = 0; length < bytes.length; length++)
      expect(handshakeOf(bytes.subarray(0, length))).toBe("incomplete");
    expect(handshakeOf(bytes)).toBe("complete");
    expect(handshakeOf(Buffer.concat([bytes, Uint8Array.of(1, 2, 3)]))).toBe("complete");
  });

  test.each([
    ["HTTP/1", Buffer.from("GET / HTTP/1.1\r\n")],
    ["TLS", Buffer.from("16030100a5010000a10303", "hex")],
    ["a preface that goes wrong in its last byte", Buffer.concat([preface.subarray(0, -1), Uint8Array.of(0)])],
    ["another frame than SETTINGS", Buffer.concat([preface, frame(6, 0, 0, new Uint8Array(8))])],
    ["an acknowledgement", Buffer.concat([preface, frame(4, 1, 0, new Uint8Array())])],
    ["a frame longer than any", Buffer.concat([preface, frame(4, 0, 0, new Uint8Array(), 16_385)])],
  ])("is not %s", (_, bytes) => {
    expect(handshakeOf(bytes)).toBe("invalid");
  });
});

describe("connections", () => {
  let folder = "";
  let listener: Server;
  let connections: Connections;
  let established = 0;
  let changes = 0;
  const clients: Socket[] = [];
  beforeEach(async () => {
    folder = temporaryFolder();
    [established, changes] = [0, 0];
    connections = new Connections(
      { connections: 3, handshake: 150 },
      () => established++,
      () => changes++,
    );
    listener = createServer((socket) => connections.accept(socket));
    await new Promise<void>((resolve) => listener.listen(`${folder}/s`, resolve));
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.destroy();
    listener.close();
    removeTemporaryFolder(folder);
  });
  const dial = (bytes: Uint8Array) => {
    const socket = connect({ path: `${folder}/s` });
    const found = { isClosed: false, socket };
    clients.push(socket);
    socket.on("error", () => {});
    socket.on("close", () => (found.isClosed = true));
    socket.resume().write(bytes);
    return found;
  };

  test("that do not begin with HTTP/2 in time are closed; those that do stay", async () => {
    const good = dial(grpcGo);
    await until("it is established", () => established === 1);
    const bad = [dial(Buffer.from("P")), dial(grpcGo.subarray(0, -1))];
    await until("the half-open ones are closed", () => bad.every(({ isClosed }) => isClosed));
    expect({ isClosed: good.isClosed, established }).toEqual({ isClosed: false, established: 1 });
  });

  test("are forgotten when they close, so that others find room", async () => {
    for (let round = 0; round < 10; round++) {
      const { socket } = dial(grpcGo);
      await until("it is established", () => established === round + 1);
      socket.destroy();
    }
    await connections.close(5000);
  });

  test("are listed from their handshake to their end, and each change is reported", async () => {
    const half = dial(grpcGo.subarray(0, -1));
    const whole = dial(grpcGo);
    await until("one is established", () => connections.established.length === 1);
    expect(changes).toBe(1);
    whole.socket.destroy();
    await until("none is", () => connections.established.length === 0 && changes >= 2);
    await until("the half-open one is closed", () => half.isClosed && changes === 3);
  });

  test("that do not end are cut at the limit", async () => {
    const open = dial(grpcGo);
    await until("it is established", () => established === 1);
    await connections.close(50);
    await until("it is closed", () => open.isClosed);
  });

  test("of an unknown peer are none", () => {
    expect(connections.get("unknown")).toBeNull();
  });
});
