import { afterEach, describe, expect, test } from "bun:test";
import { ChangeQueue, debounce, type Stale } from "./change-queue.ts";

let changes = new ChangeQueue();
afterEach(() => {
  changes.close();
  changes = new ChangeQueue();
});

const names = Object.keys(debounce) as Stale[];
const timed = async () => {
  const started = performance.now();
  const stale = await changes.next();
  return { stale: stale && [...stale].sort(), ms: performance.now() - started };
};

test("a mark is reported before anything is timed, so that timers can be made exact", () => {
  let marks = 0;
  const watched = new ChangeQueue(() => marks++);
  watched.mark("links");
  watched.close();
  watched.mark("links");
  expect(marks).toBe(1);
});

describe("what is stale", () => {
  test("is given when it was marked, without waiting where that was requested", async () => {
    changes.mark("functions", true);
    const { stale, ms } = await timed();
    expect(stale).toEqual(["functions"]);
    expect(ms).toBeLessThan(debounce.functions.quietMs);
  });

  test("is given once, however often it was marked, and together with what else has settled", async () => {
    for (let burst = 0; burst < 100; burst++) for (const name of names) changes.mark(name, true);
    expect((await timed()).stale).toEqual([...names].sort());
    changes.mark("links", true);
    expect((await timed()).stale).toEqual(["links"]);
  });

  test.each(["links", "config"] as const)("is given only after it has settled: %s", async (name) => {
    changes.mark(name);
    const { stale, ms } = await timed();
    expect(stale).toEqual([name]);
    expect(ms).toBeGreaterThan(90);
    expect(ms).toBeLessThan(debounce[name].maxMs + 500);
  });

  test("does not keep what settles sooner waiting", async () => {
    changes.mark("functions");
    changes.mark("links");
    expect((await timed()).stale).toEqual(["links"]);
  });

  test("is noticed while next() is already waiting", async () => {
    const waiting = timed();
    changes.mark("functions");
    changes.mark("config", true);
    expect((await waiting).stale).toEqual(["config"]);
  });

  test("is kept while nothing waits for it", async () => {
    changes.mark("links", true);
    await new Promise((resolve) => setImmediate(resolve));
    changes.mark("config", true);
    expect((await timed()).stale).toEqual(["config", "links"]);
  });

  test("is postponed by further events, but not for ever", async () => {
    const storm = setInterval(() => changes.mark("config"), 20);
    changes.mark("config");
    const { stale, ms } = await timed();
    clearInterval(storm);
    expect(stale).toEqual(["config"]);
    expect(ms).toBeGreaterThan(debounce.config.quietMs + 100);
    expect(ms).toBeLessThan(debounce.config.maxMs + 500);
  });

  test("that must be scanned now is not postponed by a later event", async () => {
    changes.mark("functions", true);
    changes.mark("functions");
    expect((await timed()).ms).toBeLessThan(debounce.functions.quietMs);
  });
});

describe("closing", () => {
  test("ends a wait, and every later one", async () => {
    const waiting = changes.next();
    changes.mark("functions");
    changes.close();
    expect(await waiting).toBeNull();
    changes.mark("links", true);
    expect(await changes.next()).toBeNull();
  });
});

test("the first event of links leads to a scan within 100 ms, and functions are debounced for about a second", () => {
  expect(debounce.links).toEqual({ quietMs: 0, maxMs: 100 });
  expect(debounce.functions.quietMs).toBeGreaterThanOrEqual(500);
  for (const name of names) expect(debounce[name].maxMs).toBeGreaterThan(debounce[name].quietMs);
});
