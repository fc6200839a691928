import { describe, expect, test } from "bun:test";
import { refuse } from "../../test/support/api-server.ts";
import { isWatch, mirroredServer } from "../../test/support/mirrors.ts";
import { aTestSlice } from "../../test/support/slices.ts";
import { until } from "../../test/support/until.ts";

const mirrored = mirroredServer();
const { aMirror, lists, watching, failed } = mirrored;

describe("a mirror", () => {
  test("shows existing objects, and then each change", async () => {
    mirrored.server.set(aTestSlice("s"));
    mirrored.server.set(aTestSlice("elsewhere", "b"));
    const mirror = aMirror();
    await mirror.shows("s");
    await watching();
    mirrored.server.set(aTestSlice("t"));
    mirrored.server.set(aTestSlice("elsewhere", "b"));
    await mirror.shows("s t");
    mirrored.server.remove("s");
    await mirror.shows("t");
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });

  test("reports the version of each state, the version of a deletion too, and each watch that begins", async () => {
    const listed = mirrored.server.set(aTestSlice("s"));
    const mirror = aMirror();
    await watching();
    const added = mirrored.server.set(aTestSlice("t"));
    await mirror.shows("s t");
    mirrored.server.remove("s");
    await mirror.shows("t");
    expect(mirror.versions.slice(0, 2)).toEqual(
      [listed, added].map(({ metadata }) => metadata.resourceVersion ?? "none"),
    );
    expect(Number(mirror.versions[2])).toBeGreaterThan(Number(mirror.versions[1]));
    expect(mirror.begun()).toBe(1);
    mirrored.server.endWatches();
    await until("another watch begins", () => mirror.begun() === 2);
  });

  test("requests bookmarks and a jittered timeout", async () => {
    for (let count = 0; count < 8; count++) aMirror();
    await watching(8);
    const queries = mirrored.server.requests.filter(isWatch).map(({ query }) => query);
    expect(queries.every((query) => query.get("allowWatchBookmarks") === "true")).toBe(true);
    const seconds = queries.map((query) => Number(query.get("timeoutSeconds")));
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(300);
    expect(Math.max(...seconds)).toBeLessThanOrEqual(600);
    expect(new Set(seconds).size).toBeGreaterThan(2);
  });

  test("resumes without a list, a failure or a gap when the server ends a watch", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.set(aTestSlice("s"));
    await mirror.shows("s");
    mirrored.server.endWatches();
    mirrored.server.set(aTestSlice("t"));
    await mirror.shows("s t");
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });

  test("resumes from the last bookmark when earlier versions are compacted", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.compact();
    mirrored.server.bookmark();
    mirrored.server.set(aTestSlice("s"));
    await mirror.shows("s");
    mirrored.server.compact();
    mirrored.server.bookmark();
    await until("the bookmark has come", () => {
      mirrored.server.endWatches();
      return mirrored.server.requests.filter(isWatch).length >= 3;
    });
    expect(lists()).toBe(1);
    expect(mirror.failures).toEqual([]);
  });
});

describe("a watch that is lost", () => {
  test("in the middle of a line resumes after the last whole event", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.set(aTestSlice("s"));
    await mirror.shows("s");
    mirrored.server.send('{"type":"DELETED","object":{"metadata":{"name":"s"');
    mirrored.server.cutWatches();
    mirrored.server.set(aTestSlice("t"));
    await mirror.shows("s t");
    expect(lists()).toBe(1);
    expect(mirror.failures.map(({ error }) => error.kind)).toEqual(["unavailable"]);
  });

  test("by a clean end in the middle of a line resumes after the last whole event", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.send('{"type":"ADDED","object":');
    mirrored.server.endWatches();
    await failed(mirror);
    expect(mirror.failures[0]?.error).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("in the middle"),
    });
    await watching();
    mirrored.server.set(aTestSlice("s"));
    await mirror.shows("s");
    expect(lists()).toBe(1);
  });

  test("with the whole server is resumed when that is back", async () => {
    const mirror = aMirror();
    mirrored.server.set(aTestSlice("s"));
    await watching();
    await mirrored.server.stop();
    await failed(mirror, 2);
    mirrored.server.remove("s");
    mirrored.server.set(aTestSlice("t"));
    await mirrored.server.start();
    await mirror.shows("t");
    expect(mirror.failures.every(({ error }) => error.kind === "unavailable")).toBe(true);
  });

  test.each<[string, () => void]>([
    ["is silent", () => {}],
    ["never ends a line", () => mirrored.server.send(" ")],
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
    const beating = setInterval(() => mirrored.server.bookmark(), 20);
    await until("the silence would be over", () => performance.now() > end);
    clearInterval(beating);
    expect(mirror.failures).toEqual([]);
    expect(mirrored.server.requests.filter(isWatch).length).toBe(1);
  });
});

describe("a version that is too old", () => {
  test("leads to a new list without the deleted objects", async () => {
    mirrored.server.set(aTestSlice("s"));
    const mirror = aMirror();
    await watching();
    mirrored.server.misbehave((_, response) => refuse(response, 410, "Expired", "too old resource version"), isWatch);
    mirrored.server.endWatches();
    mirrored.server.remove("s");
    mirrored.server.set(aTestSlice("t"));
    await mirror.shows("t");
    expect(lists()).toBe(2);
    expect(mirror.failures).toEqual([]);
  });

  test("leads to a new list at once, but not twice in a row", async () => {
    const mirror = aMirror({ firstWait: 60_000, stable: 60_000 });
    const expire = () =>
      mirrored.server.misbehave((_, response) => refuse(response, 410, "Expired", "too old"), isWatch);
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
    mirrored.server.send(`${JSON.stringify({ type: "ERROR", object })}\n`);
    await until("a new list is requested", () => lists() === 2);
    await watching();
    mirrored.server.set(aTestSlice("s"));
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
    mirrored.server.set(aTestSlice("s"));
    const mirror = aMirror();
    await watching();
    mirrored.server.send(`${line}\n`);
    await failed(mirror);
    expect(mirror.failures[0]?.error.kind).toBe("malformed");
    await until("a new list is requested", () => lists() === 2);
    await watching();
    mirrored.server.set(aTestSlice("t"));
    await mirror.shows("s t");
  });

  test("as an endless line, is abandoned at 8 MiB", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.send("x".repeat(9 << 20));
    await failed(mirror);
    expect(mirror.failures[0]?.error.message).toEndWith("a line has more than 8388608 bytes");
  });

  test("as an empty line, is ignored", async () => {
    const mirror = aMirror();
    await watching();
    mirrored.server.send("\n\n");
    mirrored.server.set(aTestSlice("s"));
    await mirror.shows("s");
    expect(mirror.failures).toEqual([]);
  });

  test("as an error of the server, is reported with its message", async () => {
    const mirror = aMirror();
    await watching();
    const object = { kind: "Status", code: 500, reason: "InternalError", message: "etcd is gone" };
    mirrored.server.send(`${JSON.stringify({ type: "ERROR", object })}\n{"type":"ERROR"}\n`);
    await failed(mirror);
    expect(mirror.failures[0]?.error).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("500 etcd is gone"),
    });
  });
});
