import { expect, test } from "bun:test";
import { credentials, DevicePluginClient } from "../../test/support/grpc.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import { DevicePluginDefinition, type ListAndWatchResponse } from "./api/deviceplugin.ts";
import { type AnswerStream, GrpcServer } from "./grpc/server.ts";
import { ListStreams } from "./list-streams.ts";

test("a stream that is over before it is added is none", async () => {
  const folder = temporaryFolder();
  const server = new GrpcServer({ requestBytes: 1000, callsAtOnce: 10, refused: () => {} });
  const told: string[] = [];
  const streams = new ListStreams([], {
    opened: () => told.push("opened"),
    closed: () => told.push("closed"),
    stalled: () => told.push("stalled"),
  });
  const { promise: asked, resolve } = Promise.withResolvers<AnswerStream<ListAndWatchResponse>>();
  server.serve(DevicePluginDefinition, { listAndWatch: resolve } as never);
  await server.listen(`${folder}/s`);
  const client = new DevicePluginClient(`unix:${folder}/s`, credentials.createInsecure());
  const call = client.listAndWatch({});
  call.on("error", () => {});
  const stream = await asked;
  let isOver = false;
  stream.whenOver(() => (isOver = true));
  call.cancel();
  await until("it is over", () => isOver);

  streams.open(stream);
  expect(streams.size).toBe(0);
  // "opened" behind "closed" would have the pool take itself for registered.
  expect(told).not.toContain("opened");

  client.close();
  await server.close();
  removeTemporaryFolder(folder);
});
