import { afterEach, beforeEach, expect, test } from "bun:test";
import { credentials, type ClientReadableStream } from "@grpc/grpc-js";
import { connect, type Socket } from "node:net";
import { channelOptions, EarlierHealthClient, HealthClient } from "../../test/support/grpc.ts";
import { callHeaders, data, endStream, grpcMessage, preface, settings } from "../../test/support/http2-frames.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { limits } from "../limits.ts";
import { DRAResourceHealthService, type NodeWatchResourcesResponse } from "./api/drahealth.ts";
import { DRAResourceHealthService as EarlierHealthService } from "./api/drahealthv1alpha1.ts";
import { GrpcServer } from "./grpc/server.ts";
import type { DeviceState } from "./health-list.ts";
import { HealthStreams } from "./health-streams.ts";

let folder = "";
let server: GrpcServer;
let streams: HealthStreams;
let stalled = 0;
const clients: { close(): void }[] = [];
const calls: { cancel(): void }[] = [];
const sockets: Socket[] = [];

/** Begins with these devices; lists count for so many seconds. */
async function serve(devices: readonly DeviceState[], timeout = 60): Promise<void> {
  streams = new HealthStreams(devices, { timeout, stalled: () => stalled++ });
  server = new GrpcServer({ requestBytes: 1000, callsAtOnce: 100, connections: 100, refused: () => {} });
  server.serve(DRAResourceHealthService, { nodeWatchResources: (stream) => streams.open(stream) });
  server.serve(EarlierHealthService, { nodeWatchResources: (stream) => streams.open(stream) });
  await server.listen(`${folder}/s`);
}

beforeEach(() => {
  folder = temporaryFolder();
  stalled = 0;
});
afterEach(async () => {
  for (const call of calls.splice(0)) call.cancel();
  for (const client of clients.splice(0)) client.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  streams.close();
  await server.close();
  removeTemporaryFolder(folder);
});

/** Opens a stream by a kubelet of either kind, and collects its lists: each as the reasons of its devices. */
function listen(Client: typeof HealthClient | typeof EarlierHealthClient = HealthClient) {
  const client = new Client(`unix:${folder}/s`, credentials.createInsecure(), channelOptions);
  const call = client.nodeWatchResources({}) as ClientReadableStream<NodeWatchResourcesResponse>;
  clients.push(client);
  calls.push(call);
  const found = { lists: [] as string[][], hasEnded: false, call };
  call.on("data", ({ devices }: NodeWatchResourcesResponse) =>
    found.lists.push(devices.map(({ device, message }) => `${device?.deviceName ?? ""} ${message}`)),
  );
  call.on("error", () => {});
  call.on("end", () => (found.hasEnded = true));
  return found;
}

const aState = (device: string, unhealthy: string | null = null): DeviceState => ({ pool: "p", device, unhealthy });

test("a stream begins with the whole list, and has it again after each change", async () => {
  await serve([aState("a"), aState("b", "down")]);
  const kubelets = [listen(), listen(EarlierHealthClient)];
  await until("both have the list", () => kubelets.every(({ lists }) => lists.length === 1));
  streams.set([aState("a"), aState("b", "down")]);
  streams.set([aState("a", "down"), aState("b", "down")]);
  await until("both have the change", () => kubelets.every(({ lists }) => lists.length === 2));
  for (const { lists } of kubelets)
    expect(lists).toEqual([
      ["a ", "b down"],
      ["a down", "b down"],
    ]);
});

test("an empty list is sent too: devices that were there are no longer", async () => {
  await serve([]);
  const { lists } = listen();
  await until("there is a list", () => lists.length === 1);
  expect(lists).toEqual([[]]);
});

test("of changes in quick succession the last one is sent", async () => {
  await serve([aState("a")]);
  const { lists } = listen();
  await until("there is a list", () => lists.length === 1);
  for (let round = 0; round < 50; round++) streams.set([aState("a", `reason ${round}`)]);
  await until("the last one is there", () => lists.at(-1)?.[0] === "a reason 49");
  expect(lists.length).toBeLessThanOrEqual(3);
});

test("a list is sent again before it is outdated", async () => {
  await serve([aState("a")], 1);
  const began = performance.now();
  const { lists } = listen();
  await until("there are three lists", () => lists.length === 3);
  // Two within each second: all at once would be no repetition.
  expect(performance.now() - began).toBeGreaterThan(500);
  expect(new Set(lists.flat())).toEqual(new Set(["a "]));
});

test("a large list comes in several messages, and a change begins it anew", async () => {
  const many = (reason: string | null) =>
    Array.from({ length: 4000 }, (_, index) => aState(`${"d".repeat(50)}-${index}`, reason));
  await serve(many(null));
  const { lists } = listen();
  await until("the first part is there", () => lists.length === 1);
  streams.set(many("down"));
  await until("all are down", () => lists.flat().filter((each) => each.endsWith(" down")).length === 4000);
  expect(Math.max(...lists.map(({ length }) => length))).toBeLessThan(4000);
});

test("streams that end are forgotten", async () => {
  await serve([aState("a")]);
  const kubelets = [listen(), listen()];
  await until("both are open", () => streams.size === 2);
  kubelets[0]?.call.cancel();
  await until("one is left", () => streams.size === 1);
  streams.close();
  await until("the other one has ended", () => kubelets[1]?.hasEnded === true);
  expect(streams.size).toBe(0);
});

test("where there are too many, the oldest one ends", async () => {
  await serve([aState("a")]);
  const first = listen();
  await until("it is open", () => first.lists.length === 1);
  const others = Array.from({ length: limits.healthStreams.max }, () => listen());
  await until("all others have the list", () => others.every(({ lists }) => lists.length === 1));
  await until("the first one has ended", () => first.hasEnded);
  expect(streams.size).toBe(limits.healthStreams.max);
});

test("a reader that takes nothing is cut, and the others are not affected", async () => {
  await serve([aState("a")]);
  const socket = connect({ path: `${folder}/s` });
  sockets.push(socket);
  let isClosed = false;
  socket.on("error", () => {}).on("close", () => (isClosed = true));
  // It reads frames, but never opens its window again, which has 64 KiB at the beginning (RFC 9113, section 6.9.2).
  socket.resume();
  socket.write(
    Buffer.concat([
      preface,
      settings,
      callHeaders(1, "/v1.DRAResourceHealth/NodeWatchResources"),
      data(1, grpcMessage(new Uint8Array()), endStream),
    ]),
  );
  const kubelet = listen();
  await until("both are open", () => streams.size === 2);
  const large = Array.from({ length: 800 }, (_, index) => aState(`${"d".repeat(50)}-${index}`, "x".repeat(20)));
  streams.set(large);
  await until("it is cut", () => isClosed && stalled === 1);
  streams.set([aState("a", "down")]);
  await until("the kubelet has the change", () => kubelet.lists.at(-1)?.[0] === "a down");
  expect([stalled, streams.size]).toEqual([1, 1]);
}, 20_000);
