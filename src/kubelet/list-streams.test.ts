import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type DevicePluginClient, pluginClient, type ServiceError } from "../../test/support/grpc.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { limits } from "../limits.ts";
import { DevicePluginService, type ListAndWatchResponse } from "./api/deviceplugin.ts";
import { type AnswerStream, GrpcServer } from "./grpc/server.ts";
import { status } from "./grpc/status-error.ts";
import { ListStreams } from "./list-streams.ts";

let folder = "";
let server: GrpcServer;
let client: DevicePluginClient;
let calls: { cancel(): void }[] = [];
let events: string[] = [];
let streams: ListStreams;
let isKubelets = false;
let open: (stream: AnswerStream<ListAndWatchResponse>) => void;

beforeEach(async () => {
  folder = temporaryFolder();
  [calls, events, isKubelets] = [[], [], false];
  streams = new ListStreams([], {
    opened: () => events.push("opened"),
    closed: () => events.push("closed"),
    stalled: () => events.push("stalled"),
  });
  open = (stream) => streams.open(stream, isKubelets);
  server = new GrpcServer({ requestBytes: 1000, callsAtOnce: 1000, connections: 10, refused: () => {} });
  server.serve(DevicePluginService, { listAndWatch: (stream: never) => open(stream) } as never);
  await server.listen(`${folder}/s`);
  client = pluginClient(`${folder}/s`);
});
afterEach(async () => {
  for (const call of calls) call.cancel();
  client.close();
  await server.close();
  removeTemporaryFolder(folder);
});

/** Opens a stream and waits until it is one of this many. */
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

test("the kubelet's stream is identified by its connection; others are not reported", async () => {
  streams.registerStarted();
  const before = await listen(1);
  streams.optionsRequested();
  isKubelets = true;
  const kubelets = await listen(2);
  streams.registerFinished(true);
  isKubelets = false;
  const after = await listen(3);
  expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
    events: ["opened"],
    hasKubeletStream: true,
  });
  before.cancel();
  after.cancel();
  await until("the others are gone", () => streams.size === 1);
  expect(events).toEqual(["opened"]);
  kubelets.cancel();
  await until("the kubelet's is gone", () => streams.size === 0);
  expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
    events: ["opened", "closed"],
    hasKubeletStream: false,
  });
});

describe("of a kubelet that does not ask for options", () => {
  test("it is the first that was opened after Register was called, once that is answered", async () => {
    await listen(1);
    streams.registerStarted();
    const first = await listen(2);
    await listen(3);
    expect(events).toEqual([]);
    streams.registerFinished(true);
    expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
      events: ["opened"],
      hasKubeletStream: true,
    });
    first.cancel();
    await until("it is gone", () => streams.size === 2);
    expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
      events: ["opened", "closed"],
      hasKubeletStream: false,
    });
  });

  test("it is the next when there was none before the answer", async () => {
    streams.registerStarted();
    const gone = await listen(1);
    gone.cancel();
    await until("what came is gone", () => streams.size === 0);
    streams.registerFinished(true);
    expect(events).toEqual([]);
    await listen(1);
    await listen(2);
    expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
      events: ["opened"],
      hasKubeletStream: true,
    });
  });

  test("there is none when it refused", async () => {
    streams.registerStarted();
    await listen(1);
    streams.registerFinished(false);
    await listen(2);
    expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({ events: [], hasKubeletStream: false });
  });
});

test("the kubelet is served however many others are", async () => {
  const { max } = limits.listStreams;
  for (let size = 1; size <= max; size++) client.listAndWatch({}).on("error", () => {});
  await until("all are open", () => streams.size === max);
  const refused = client.listAndWatch({});
  let code = 0;
  refused.on("error", (error: ServiceError) => (code = error.code));
  await until("one more is refused", () => code === status.RESOURCE_EXHAUSTED);
  isKubelets = true;
  await listen(max + 1);
  expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
    events: ["opened"],
    hasKubeletStream: true,
  });
});

test("of a kubelet that has two streams, the end of either is reported", async () => {
  isKubelets = true;
  const one = await listen(1);
  await listen(2);
  expect(events).toEqual(["opened", "opened"]);
  one.cancel();
  await until("one is gone", () => streams.size === 1);
  expect({ events, hasKubeletStream: streams.hasKubeletStream }).toEqual({
    events: ["opened", "opened", "closed"],
    hasKubeletStream: true,
  });
});

test("streams that the plugin closes end without a report", async () => {
  isKubelets = true;
  const all = [await listen(1), await listen(2)];
  streams.close();
  expect({ hasKubeletStream: streams.hasKubeletStream, size: streams.size }).toEqual({
    hasKubeletStream: false,
    size: 0,
  });
  await until("both have ended", () => all.every(({ hasEnded }) => hasEnded()));
  expect(events).toEqual(["opened", "opened"]);
});

test("a stream that is over before it is added does not count", async () => {
  const { promise: opened, resolve } = Promise.withResolvers<AnswerStream<ListAndWatchResponse>>();
  open = resolve;
  const call = client.listAndWatch({});
  call.on("error", () => {});
  const stream = await opened;
  let isOver = false;
  stream.whenOver(() => (isOver = true));
  call.cancel();
  await until("it is over", () => isOver);
  streams.open(stream, true);
  // The pool would take itself for registered.
  expect({ events, hasKubeletStream: streams.hasKubeletStream, size: streams.size }).toEqual({
    events: [],
    hasKubeletStream: false,
    size: 0,
  });
});
