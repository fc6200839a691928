import { describe, expect, test } from "bun:test";
import { type ApiRequest, refuse } from "../../test/support/api-server.ts";
import { isList, isWatch, mirroredServer, selection, type TestMirror, times } from "../../test/support/mirrors.ts";
import { accessTo, testSlices } from "../../test/support/slices.ts";
import { until } from "../../test/support/until.ts";
import { mirrorObjects } from "./watch.ts";

const mirrored = mirroredServer();
const { aMirror, watching, failed } = mirrored;

describe("a server that refuses", () => {
  test.each<[string, (request: ApiRequest) => boolean]>([
    ["to list", isList],
    ["to watch", isWatch],
  ])("%s is retried with growing waits, and each failure is reported", async (_, matches) => {
    for (let count = 0; count < 6; count++)
      mirrored.server.misbehave((_, response) => refuse(response, 500, "InternalError", "no"), matches);
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
    for (let count = 0; count < 5; count++)
      mirrored.server.misbehave((_, response) => refuse(response, 500, "InternalError"));
    const mirror = aMirror();
    await watching();
    mirrored.server.cutWatches();
    await failed(mirror, 6);
    expect(mirror.failures[4]?.wait).toBeGreaterThanOrEqual(64);
    expect(mirror.failures[5]?.wait).toBeLessThan(8);
  });

  test("that ends every watch at once is not retried in a tight loop", async () => {
    for (let count = 0; count < 5; count++)
      mirrored.server.misbehave((_, response) => {
        response.writeHead(200);
        response.end();
      }, isWatch);
    const started = performance.now();
    aMirror({ stable: 60_000 });
    await watching();
    expect(performance.now() - started).toBeGreaterThan(4 + 8 + 16 + 32 + 64);
  });

  test("with Retry-After is retried then and not before", async () => {
    mirrored.server.misbehave((_, response) =>
      refuse(response, 429, "TooManyRequests", "busy", {}, { "retry-after": "1" }),
    );
    const started = performance.now();
    const mirror = aMirror();
    await watching();
    expect(performance.now() - started).toBeGreaterThanOrEqual(1000);
    expect(mirror.failures[0]?.wait).toBeLessThanOrEqual(1250);
  });

  test("an expired token gets the rotated one", async () => {
    let token = "old";
    mirrored.server.accepted = new Set(["new"]);
    const access = accessTo(mirrored.server);
    const mirror = aMirror({}, { ...access, read: () => ({ ...access.read(), token }) });
    await failed(mirror, 2);
    expect(mirror.failures[0]?.error.kind).toBe("unauthorized");
    token = "new";
    await watching();
  });

  test("access is retried: the right may be granted", async () => {
    mirrored.server.misbehave((_, response) => refuse(response, 403, "Forbidden", "no rights"));
    const mirror = aMirror();
    await watching();
    expect(mirror.failures.map(({ error }) => error.kind)).toEqual(["forbidden"]);
  });

  test("to begin a watch in time is retried with growing waits", async () => {
    for (let count = 0; count < 3; count++) mirrored.server.misbehave(() => {}, isWatch);
    const mirror = aMirror({ stable: 20 }, { ...accessTo(mirrored.server), requestLimit: 100 });
    await failed(mirror, 3);
    expect(mirror.failures.every(({ error }) => error.kind === "unavailable")).toBe(true);
    expect(mirror.failures[2]?.wait).toBeGreaterThanOrEqual(16);
    await watching();
  });
});

describe("the caller", () => {
  test.each<[string, () => Promise<unknown>]>([
    ["a list", () => until("it is listed", () => mirrored.server.requests.length === 1)],
    ["a watch", () => watching()],
    ["a pause", () => failed(mirrored.mirrors[0] as TestMirror)],
  ])("ends a mirror during %s, with its connection", async (when, isThere) => {
    if (when === "a list") mirrored.server.misbehave(() => {});
    if (when === "a pause") mirrored.server.misbehave((_, response) => refuse(response, 500, "InternalError"));
    const mirror = aMirror({ firstWait: 60_000 });
    await isThere();
    const started = performance.now();
    await mirror.end();
    expect(performance.now() - started).toBeLessThan(1000);
    await watching(0);
  });

  test("that has already ended sends no request", async () => {
    const listener = { changed: () => {}, failed: () => {} };
    await mirrorObjects(accessTo(mirrored.server), testSlices, selection, listener, AbortSignal.abort());
    expect(mirrored.server.requests).toEqual([]);
  });

  test("receives errors of its own listener", async () => {
    const changed = () => {
      throw new Error("a mistake");
    };
    const caller = new AbortController();
    const listener = { changed, failed: () => {} };
    const over = mirrorObjects(accessTo(mirrored.server), testSlices, selection, listener, caller.signal, times);
    expect(over).rejects.toThrow("a mistake");
    await over.catch(() => {});
  });
});
