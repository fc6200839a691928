import { afterEach, beforeEach, expect, test } from "bun:test";
import { credentials, DevicePluginClient } from "../../test/support/grpc.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { DevicePluginDefinition, type ListAndWatchResponse } from "./api/deviceplugin.ts";
import { type AnswerStream, GrpcServer } from "./grpc/server.ts";
import { ListStreams } from "./list-streams.ts";

let folder = "";
let server: GrpcServer;
let client: DevicePluginClient;
let calls: { cancel(): void }[] = [];
let told: string[] = [];
let streams: ListStreams;
let isKubelets = false;
let open: (stream: AnswerStream<ListAndWatchResponse>) => void;

beforeEach(async () => {
  folder = temporaryFolder();
  [calls, told, isKubelets] = [[], [], false];
  streams = new ListStreams([], {
    opened: () => told.push("opened"),
    closed: () => told.push("closed"),
    stalled: () => told.push("stalled"),
  });
  open = (stream) => streams.open(stream, isKubelets);
  server = new GrpcServer({ requestBytes: 1000, callsAtOnce: 10, refused: () => {} });
  server.serve(DevicePluginDefinition, { listAndWatch: (stream: never) => open(stream) } as never);
  await server.listen(`${folder}/s`);
  client = new DevicePluginClient(`unix:${folder}/s`, credentials.createInsecure());
});
afterEach(async () => {
  for (const call of calls) call.cancel();
  client.close();
  await server.close();
  removeTemporaryFolder(folder);
});

/** Opens a stream and waits until it is one of so many. */
async function listen(size: number) {
  const call = client.listAndWatch({});
  calls.push(call);
  let hasEnded = false;
  call.on("data", () => {});
  call.on("error", () => {});
  call.on("end", () => (hasEnded = true));
  await until("the stream is open", () => streams.size === size);
  return { cancel: () => call.cancel(), hasEnded: () => hasEnded };
}

test("the kubelet's stream is the first one after it was told of the pool, if it is not known by its connection", async () => {
  const before = await listen(1);
  expect(streams.isHeard).toBeFalse();
  streams.expect(true);
  const kubelets = await listen(2);
  expect(streams.isHeard).toBeTrue();
  const after = await listen(3);
  before.cancel();
  after.cancel();
  await until("the others are gone", () => streams.size === 1);
  expect(told).toEqual(["opened"]);
  kubelets.cancel();
  await until("the kubelet's is gone", () => streams.size === 0);
  expect(streams.isHeard).toBeFalse();
  expect(told).toEqual(["opened", "closed"]);
});

test("a kubelet that refused opens no stream", async () => {
  streams.expect(true);
  streams.expect(false);
  await listen(1);
  expect({ told, isHeard: streams.isHeard }).toEqual({ told: [], isHeard: false });
});

test("of a kubelet that has two streams, the end of either is told", async () => {
  isKubelets = true;
  const one = await listen(1);
  await listen(2);
  expect(told).toEqual(["opened", "opened"]);
  one.cancel();
  await until("one is gone", () => streams.size === 1);
  expect({ told, isHeard: streams.isHeard }).toEqual({ told: ["opened", "opened", "closed"], isHeard: true });
});

test("streams that are closed from here end without a word", async () => {
  streams.expect(true);
  const all = [await listen(1), await listen(2)];
  streams.close();
  expect({ told, isHeard: streams.isHeard, size: streams.size }).toEqual({ told: ["opened"], isHeard: false, size: 0 });
  await until("both have ended", () => all.every(({ hasEnded }) => hasEnded()));
  expect(told).toEqual(["opened"]);
});

test("a stream that is over before it is added is none", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<AnswerStream<ListAndWatchResponse>>();
  open = resolve;
  const call = client.listAndWatch({});
  call.on("error", () => {});
  const stream = await asked;
  let isOver = false;
  stream.whenOver(() => (isOver = true));
  call.cancel();
  await until("it is over", () => isOver);
  streams.expect(true);
  streams.open(stream, true);
  // The pool would take itself for registered.
  expect({ told, isHeard: streams.isHeard, size: streams.size }).toEqual({ told: [], isHeard: false, size: 0 });
});
