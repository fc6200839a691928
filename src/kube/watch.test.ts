import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ApiServer, type ApiRequest, refuse } from "../../test/support/api-server.ts";
import { accessTo, aTestSlice, type TestSlice, testSlices } from "../../test/support/slices.ts";
import { until } from "../../test/support/until.ts";
import type { Access } from "./access.ts";
import type { KubeError } from "./errors.ts";
import { mirrorObjects, type WatchTimes } from "./watch.ts";

/** Short waits; a watch may be silent for as long as a test lasts. */
const times: WatchTimes = { silence: 20_000, firstWait: 4, longestWait: 64, stable: 0 };
const selection = { fieldSelector: "spec.nodeName=a" };

const isWatch = ({ query }: ApiRequest) => query.get("watch") === "true";
const isList = (request: ApiRequest) => !isWatch(request);

let server: ApiServer;
let mirrors: { readonly end: () => Promise<void> }[] = [];
beforeEach(async () => {
  server = await new ApiServer(testSlices).start();
});
afterEach(async () => {
  for (const mirror of mirrors) await mirror.end();
  mirrors = [];
  await server.stop();
});

/** A mirror of the server's slices of node a. */
function aMirror(own: Partial<WatchTimes> = {}, access: Access = accessTo(server)) {
  const caller = new AbortController();
  const failures: { readonly error: KubeError; readonly wait: number }[] = [];
  let objects: ReadonlyMap<string, TestSlice> | null = null;
  const over = mirrorObjects(
    access,
    testSlices,
    selection,
    { changed: (now) => (objects = now), failed: (error, wait) => failures.push({ error, wait }) },
    caller.signal,
    { ...times, ...own },
  );
  const mirror = {
    failures,
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
const failed = (mirror: ReturnType<typeof aMirror>, count = 1) =>
  until("a failure is reported", () => mirror.failures.length >= count);

describe("a mirror", () => {
  test("shows existing objects, and then each change", async () => {
    server.set(aTestSlice("s"));
    server.set(aTestSlice("elsewhere", "b"));
    const mirror = aMirror();
    await mirror.shows("s");
    await watching();
    server.set(aTestSlice("t"));
    server.set(aTestSlice("elsewhere", "b"));
    await mirror.shows("s t");
    server.remove("s");
    await mirror.shows("t");
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });

  test("requests bookmarks and a jittered timeout", async () => {
    for (let count = 0; count < 8; count++) aMirror();
    await watching(8);
    const queries = server.requests.filter(isWatch).map(({ query }) => query);
    expect(queries.every((query) => query.get("allowWatchBookmarks") === "true")).toBe(true);
    const seconds = queries.map((query) => Number(query.get("timeoutSeconds")));
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(300);
    expect(Math.max(...seconds)).toBeLessThanOrEqual(600);
    expect(new Set(seconds).size).toBeGreaterThan(2);
  });

  test("resumes without a list, a failure or a gap when the server ends a watch", async () => {
    const mirror = aMirror();
    await watching();
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    server.endWatches();
    server.set(aTestSlice("t"));
    await mirror.shows("s t");
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });

  test("resumes from the last bookmark when earlier versions are compacted", async () => {
    const mirror = aMirror();
    await watching();
    server.compact();
    server.bookmark();
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    server.compact();
    server.bookmark();
    await until("the bookmark has come", () => {
      server.endWatches();
      return server.requests.filter(isWatch).length >= 3;
    });
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });
});

describe("a watch that is lost", () => {
  test("in the middle of a line resumes after the last whole event", async () => {
    const mirror = aMirror();
    await watching();
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    server.send('{"type":"DELETED","object":{"metadata":{"name":"s"');
    server.cutWatches();
    server.set(aTestSlice("t"));
    await mirror.shows("s t");
    expect(lists()).toBe(1);
    expect(mirror.failures.map(({ error }) => error.kind)).toEqual(["unavailable"]);
  });

  test("by a clean end in the middle of a line resumes after the last whole event", async () => {
    const mirror = aMirror();
    await watching();
    server.send('{"type":"ADDED","object":');
    server.endWatches();
    await failed(mirror);
    expect(mirror.failures[0]?.error).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("in the middle"),
    });
    await watching();
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    expect(lists()).toBe(1);
  });

  test("with the whole server is resumed when that is back", async () => {
    const mirror = aMirror();
    server.set(aTestSlice("s"));
    await watching();
    await server.stop();
    await failed(mirror, 2);
    server.remove("s");
    server.set(aTestSlice("t"));
    await server.start();
    await mirror.shows("t");
    expect(mirror.failures.every(({ error }) => error.kind === "unavailable")).toBe(true);
  });

  test.each<[string, () => void]>([
    ["is silent", () => {}],
    ["never ends a line", () => server.send(" ")],
  ])("because it %s is closed and resumed", async (_, act) => {
    const mirror = aMirror({ silence: 60 });
    await watching();
    const dripping = setInterval(act, 5);
    await failed(mirror);
    clearInterval(dripping);
    expect(mirror.failures[0]?.error).toMatchObject({
      kind: "unavailable",
      message: "GET /apis/resource.k8s.io/v1/resourceslices?watch: no answer in time",
    });
    await watching();
    expect(lists()).toBe(1);
  });

  test("is kept while bookmarks arrive", async () => {
    const mirror = aMirror({ silence: 1000 });
    await watching();
    const end = performance.now() + 1600;
    const beating = setInterval(() => server.bookmark(), 20);
    await until("the silence would be over", () => performance.now() > end);
    clearInterval(beating);
    expect(mirror.failures).toEqual([]);
    expect(server.requests.filter(isWatch).length).toBe(1);
  });
});

describe("a version that is too old", () => {
  test("leads to a new list without the deleted objects", async () => {
    server.set(aTestSlice("s"));
    const mirror = aMirror();
    await watching();
    server.misbehave((_, response) => refuse(response, 410, "Expired", "too old resource version"), isWatch);
    server.endWatches();
    server.remove("s");
    server.set(aTestSlice("t"));
    await mirror.shows("t");
    expect(lists()).toBe(2);
    expect(mirror.failures).toEqual([]);
  });

  test("leads to a new list at once, but not twice in a row", async () => {
    const mirror = aMirror({ firstWait: 60_000, stable: 60_000 });
    const expire = () => server.misbehave((_, response) => refuse(response, 410, "Expired", "too old"), isWatch);
    expire();
    expire();
    await failed(mirror);
    expect(lists()).toBe(2);
    expect(mirror.failures.map(({ error }) => error.kind)).toEqual(["expired"]);
  });

  test("may be reported inside the watch, and a stable watch is resumed at once", async () => {
    const mirror = aMirror({ firstWait: 60_000 });
    await watching();
    const object = {
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      code: 410,
      reason: "Expired",
      message: "old",
    };
    server.send(`${JSON.stringify({ type: "ERROR", object })}\n`);
    await until("a new list is requested", () => lists() === 2);
    await watching();
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    expect(mirror.failures).toEqual([]);
  });
});

describe("what is no event", () => {
  test.each([
    ["garbage", "garbage"],
    ["half an object", '{"type":"ADDED"'],
    ["null", "null"],
    ["an unknown type", '{"type":"RENAMED","object":{}}'],
    ["a type that every object has", '{"type":"constructor","object":{}}'],
    ["an object of another kind", '{"type":"ADDED","object":{"metadata":{"name":"s","resourceVersion":"9"}}}'],
    ["no object", '{"type":"DELETED"}'],
    ["an object without version", '{"type":"ADDED","object":{"metadata":{"name":"x"},"spec":{"nodeName":"a"}}}'],
    ["a bookmark of nothing", '{"type":"BOOKMARK","object":{}}'],
  ])("as %s, leads to a new list", async (_, line) => {
    server.set(aTestSlice("s"));
    const mirror = aMirror();
    await watching();
    server.send(`${line}\n`);
    await failed(mirror);
    expect(mirror.failures[0]?.error.kind).toBe("malformed");
    await until("a new list is requested", () => lists() === 2);
    await watching();
    server.set(aTestSlice("t"));
    await mirror.shows("s t");
  });

  test("as an endless line, is abandoned at 8 MiB", async () => {
    const mirror = aMirror();
    await watching();
    server.send("x".repeat(9 << 20));
    await failed(mirror);
    expect(mirror.failures[0]?.error.message).toEndWith("a line has more than 8388608 bytes");
  });

  test("as an empty line, is ignored", async () => {
    const mirror = aMirror();
    await watching();
    server.send("\n\n");
    server.set(aTestSlice("s"));
    await mirror.shows("s");
    expect(mirror.failures).toEqual([]);
  });

  test("as an error of the server, is reported with its message", async () => {
    const mirror = aMirror();
    await watching();
    const object = { kind: "Status", code: 500, reason: "InternalError", message: "etcd is gone" };
    server.send(`${JSON.stringify({ type: "ERROR", object })}\n{"type":"ERROR"}\n`);
    await failed(mirror);
    expect(mirror.failures[0]?.error).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("500 etcd is gone"),
    });
  });
});

describe("a server that refuses", () => {
  test.each<[string, (request: ApiRequest) => boolean]>([
    ["to list", isList],
    ["to watch", isWatch],
  ])("%s is retried with growing waits, and each failure is reported", async (_, matches) => {
    for (let count = 0; count < 6; count++)
      server.misbehave((_, response) => refuse(response, 500, "InternalError", "no"), matches);
    const mirror = aMirror({ stable: 60_000 });
    await failed(mirror, 6);
    await watching();
    const waits = mirror.failures.map(({ wait }) => wait);
    for (const [index, least] of [4, 8, 16, 32, 64, 64].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(least);
      expect(waits[index]).toBeLessThanOrEqual(least * 1.25);
    }
  });

  test("is retried with short waits again after a stable watch", async () => {
    for (let count = 0; count < 5; count++) server.misbehave((_, response) => refuse(response, 500, "InternalError"));
    const mirror = aMirror();
    await watching();
    server.cutWatches();
    await failed(mirror, 6);
    expect(mirror.failures[4]?.wait).toBeGreaterThanOrEqual(64);
    expect(mirror.failures[5]?.wait).toBeLessThan(8);
  });

  test("that ends every watch at once is not retried in a tight loop", async () => {
    for (let count = 0; count < 5; count++)
      server.misbehave((_, response) => {
        response.writeHead(200);
        response.end();
      }, isWatch);
    const started = performance.now();
    aMirror({ stable: 60_000 });
    await watching();
    expect(performance.now() - started).toBeGreaterThan(4 + 8 + 16 + 32 + 64);
  });

  test("with Retry-After is retried then and not before", async () => {
    server.misbehave((_, response) => refuse(response, 429, "TooManyRequests", "busy", {}, { "retry-after": "1" }));
    const started = performance.now();
    const mirror = aMirror();
    await watching();
    expect(performance.now() - started).toBeGreaterThanOrEqual(1000);
    expect(mirror.failures[0]?.wait).toBeLessThanOrEqual(1250);
  });

  test("an expired token gets the rotated one", async () => {
    let token = "old";
    server.accepted = new Set(["new"]);
    const access = accessTo(server);
    const mirror = aMirror({}, { ...access, read: () => ({ ...access.read(), token }) });
    await failed(mirror, 2);
    expect(mirror.failures[0]?.error.kind).toBe("unauthorized");
    token = "new";
    await watching();
  });

  test("access is retried: the right may be granted", async () => {
    server.misbehave((_, response) => refuse(response, 403, "Forbidden", "no rights"));
    const mirror = aMirror();
    await watching();
    expect(mirror.failures.map(({ error }) => error.kind)).toEqual(["forbidden"]);
  });

  test("to begin a watch in time is retried with growing waits", async () => {
    for (let count = 0; count < 3; count++) server.misbehave(() => {}, isWatch);
    const mirror = aMirror({ stable: 20 }, { ...accessTo(server), requestLimit: 100 });
    await failed(mirror, 3);
    expect(mirror.failures.every(({ error }) => error.kind === "unavailable")).toBe(true);
    expect(mirror.failures[2]?.wait).toBeGreaterThanOrEqual(16);
    await watching();
  });
});

describe("the caller", () => {
  test.each<[string, () => Promise<unknown>]>([
    ["a list", () => until("it is listed", () => server.requests.length === 1)],
    ["a watch", () => watching()],
    ["a pause", () => failed(mirrors[0] as ReturnType<typeof aMirror>)],
  ])("ends a mirror during %s, with its connection", async (when, isThere) => {
    if (when === "a list") server.misbehave(() => {});
    if (when === "a pause") server.misbehave((_, response) => refuse(response, 500, "InternalError"));
    const mirror = aMirror({ firstWait: 60_000 });
    await isThere();
    const started = performance.now();
    await mirror.end();
    expect(performance.now() - started).toBeLessThan(1000);
    await watching(0);
  });

  test("that has already ended sends no request", async () => {
    const listener = { changed: () => {}, failed: () => {} };
    await mirrorObjects(accessTo(server), testSlices, selection, listener, AbortSignal.abort());
    expect(server.requests).toEqual([]);
  });

  test("receives errors of its own listener", async () => {
    const changed = () => {
      throw new Error("a mistake");
    };
    const caller = new AbortController();
    const listener = { changed, failed: () => {} };
    const over = mirrorObjects(accessTo(server), testSlices, selection, listener, caller.signal, times);
    expect(over).rejects.toThrow("a mistake");
    await over.catch(() => {});
  });
});
