// Publishers of made-up devices to a played API server: what their tests share.

import { afterEach, beforeEach, expect } from "bun:test";
import { Publisher, type PublisherOptions } from "../../src/dra/publisher/publisher.ts";
import { type PublisherTimes, publisherTimes } from "../../src/dra/publisher-times.ts";
import { type ResourceSlice, resourceSlices } from "../../src/dra/resource-slice.ts";
import type { KubeObject } from "../../src/kube/api-client.ts";
import type { Level, LogMessageRow } from "../../src/process/log-message-row.ts";
import { logMessages } from "../../src/process/log-messages.ts";
import { type ApiRequest, ApiServer } from "./api-server.ts";
import { times as watch } from "./mirrors.ts";
import { context } from "./published-slices.ts";
import { sliceProblems } from "./resource-api.ts";
import { accessTo } from "./slices.ts";
import { until } from "./until.ts";

/** Short waits, in the order of the real ones. */
export const shortTimes: PublisherTimes = {
  pacing: {
    window: 30,
    lossGap: 10,
    firstInterval: 60,
    longestInterval: 400,
    calm: 2000,
    firstRepair: 50,
    longestRepair: 400,
    repairCalm: 2000,
    firstRetry: 8,
    staleRetry: 2,
    longestRetry: 64,
  },
  standby: { first: 300, longest: 1200 },
  watch,
  firstPublication: 0,
  firstAttempt: 4,
  longestAttempt: 64,
};

/** The real waits, except that first slices are not delayed. */
export const realTimes: PublisherTimes = { ...publisherTimes, watch, firstPublication: 0 };

export const isWrite = ({ method, query }: ApiRequest): boolean => method !== "GET" && !query.has("dryRun");
export const nodePath = "/api/v1/nodes/node-a";

export const aNode = (uid = context.node.uid): KubeObject => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "node-a", uid, resourceVersion: "7" },
});

/** What the API server makes of a slice: it refuses none of ours, and adds the times of taints. */
export function admitted(object: KubeObject): KubeObject {
  const slice = resourceSlices.parse(object);
  expect(sliceProblems(slice)).toEqual([]);
  const timed = withDevices(slice, (device) => ({
    ...device,
    ...(device.taints && { taints: device.taints.map((taint) => ({ timeAdded: "2026-11-28T09:00:00Z", ...taint })) }),
  }));
  // As the real one: an empty list is null.
  const spec = { ...timed.spec, devices: timed.spec.devices?.length === 0 ? null : timed.spec.devices };
  return Object.assign({}, timed, { spec });
}

type Devices = NonNullable<ResourceSlice["spec"]["devices"]>;

/** A slice with its devices changed. */
export const withDevices = (
  slice: ResourceSlice,
  change: (device: Devices[number]) => Devices[number],
): ResourceSlice => ({
  ...slice,
  spec: { ...slice.spec, devices: (slice.spec.devices ?? []).map(change) },
});

/** A publisher, and what it logged. */
export interface TestPublisher {
  readonly publisher: Publisher;
  readonly lines: readonly { readonly level: Level; readonly message: string; readonly fields: object }[];
  /** Resolves when the API server has what it should, as the publisher sees it. */
  readonly isCurrent: () => Promise<void>;
}

/** A fresh API server for each test of the calling file, and publishers, which end with the test. */
export function publishingServer() {
  let server: ApiServer;
  let publishers: TestPublisher[] = [];
  beforeEach(async () => {
    server = await new ApiServer(resourceSlices).start();
    server.others.set(nodePath, aNode());
    server.admit = admitted;
  });
  afterEach(async () => {
    for (const { publisher, lines } of publishers) {
      await publisher.close();
      for (const { level, message, fields } of lines) {
        const row: LogMessageRow | undefined = logMessages[message as keyof typeof logMessages];
        expect(row?.levels).toContain(level);
        for (const field of Object.keys(fields)) expect(row?.fields).toContain(field);
      }
    }
    publishers = [];
    await server.stop();
  });

  function aPublisher(times: Partial<PublisherTimes> = {}, own: Partial<PublisherOptions> = {}): TestPublisher {
    const lines: { level: Level; message: string; fields: object }[] = [];
    const at =
      (level: Level) =>
      (message: string, fields: object = {}) =>
        void lines.push({ level, message, fields });
    const log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
    const options = {
      access: accessTo(server),
      driver: context.driver,
      node: "node-a",
      attributes: "default" as const,
    };
    const publisher = new Publisher({ ...options, ...own }, log, { ...shortTimes, ...times });
    const isCurrent = () =>
      until("the API server has what it should", () => publisher.state().isCurrent, {
        found: () => JSON.stringify([publisher.state(), lines.slice(-5)]),
      });
    const made = { publisher, lines, isCurrent };
    publishers.push(made);
    return made;
  }

  const slices = (): ResourceSlice[] => server.objects.map((object) => resourceSlices.parse(object));
  return {
    get server() {
      return server;
    },
    aPublisher,
    slices,
    /** The writes so far: "POST", "PUT", "DELETE". */
    writes: () => server.requests.filter(isWrite).map(({ method }) => method),
    /** Device names of all slices, each with "!" where it has a taint. */
    devices: () =>
      slices().flatMap(({ spec }) =>
        (spec.devices ?? []).map(({ name, taints = [] }) => `${name}${taints.length > 0 ? "!" : ""}`),
      ),
  };
}
