// Mirrors of the slices of a simulated API server: what the tests of watches share.

import { afterEach, beforeEach } from "bun:test";
import type { Access } from "../../src/kube/access.ts";
import type { KubeError } from "../../src/kube/errors.ts";
import { mirrorObjects, type WatchTimes } from "../../src/kube/watch.ts";
import { ApiServer, type ApiRequest } from "./api-server.ts";
import { accessTo, type TestSlice, testSlices } from "./slices.ts";
import { until } from "./until.ts";

/** Short waits; a watch may be silent for as long as a test lasts. */
export const times: WatchTimes = { silence: 20_000, firstWait: 4, longestWait: 64, stable: 0 };

/** The slices of node a. */
export const selection = { fieldSelector: "spec.nodeName=a" };

export const isWatch = ({ query }: ApiRequest) => query.get("watch") === "true";
export const isList = (request: ApiRequest) => !isWatch(request);

/** A mirror of slices, and what is known of it. */
export interface TestMirror {
  readonly failures: readonly { readonly error: KubeError; readonly wait: number }[];
  /** The versions that it showed, and how many watches began. */
  readonly versions: readonly string[];
  readonly begun: () => number;
  /** The names of the objects that it shows, separated by blanks. */
  readonly names: () => string;
  /** Resolves when it shows these. */
  readonly shows: (names: string) => Promise<void>;
  readonly end: () => Promise<void>;
}

/** A fresh API server for each test of the calling file, and mirrors of it, which end with the test. */
export function mirroredServer() {
  let server: ApiServer;
  let mirrors: TestMirror[] = [];
  beforeEach(async () => {
    server = await new ApiServer(testSlices).start();
  });
  afterEach(async () => {
    for (const mirror of mirrors) await mirror.end();
    mirrors = [];
    await server.stop();
  });

  /** A mirror of the server's slices of node a. */
  function aMirror(own: Partial<WatchTimes> = {}, access: Access = accessTo(server)): TestMirror {
    const caller = new AbortController();
    const failures: { readonly error: KubeError; readonly wait: number }[] = [];
    let objects: ReadonlyMap<string, TestSlice> | null = null;
    const versions: string[] = [];
    let begun = 0;
    const over = mirrorObjects(
      access,
      testSlices,
      selection,
      {
        changed: (now, version) => {
          objects = now;
          versions.push(version);
        },
        begun: () => begun++,
        failed: (error, wait) => failures.push({ error, wait }),
      },
      caller.signal,
      { ...times, ...own },
    );
    const mirror = {
      failures,
      versions,
      begun: () => begun,
      names: () => (objects === null ? "nothing yet" : [...objects.keys()].join(" ")),
      shows: (names: string) =>
        until(`the mirror shows ${names}`, () => mirror.names() === names, { found: () => mirror.names() }),
      end: async () => {
        caller.abort();
        await over;
      },
    };
    mirrors.push(mirror);
    return mirror;
  }

  const lists = () => server.requests.filter(isList).length;
  const watching = (count = 1) => until("the server is watched", () => server.watches === count);
  const failed = (mirror: TestMirror, count = 1) =>
    until("a failure is reported", () => mirror.failures.length >= count);

  return {
    get server() {
      return server;
    },
    get mirrors(): readonly TestMirror[] {
      return mirrors;
    },
    aMirror,
    lists,
    watching,
    failed,
  };
}
