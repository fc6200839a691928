import { describe, expect, test } from "bun:test";
import { refuse } from "../../../test/support/api-server.ts";
import { aPool, context, vfs } from "../../../test/support/published-slices.ts";
import { isWrite, publishingServer, type TestPublisher } from "../../../test/support/publishers.ts";
import { until } from "../../../test/support/until.ts";
import { stampAnnotation, stampOf } from "../instance-stamp.ts";

const played = publishingServer();
const { aPublisher, devices, slices, writes } = played;

const first = vfs(3);
const healthy = [aPool(first)];
const lost = [aPool(first, [first[0]?.id ?? ""])];
const messages = ({ lines }: TestPublisher) => lines.map(({ message }) => message);
const mode = ({ publisher }: TestPublisher) => publisher.state().mode;

describe("two instances", () => {
  test("with other configs do not fight: the newer one writes, the older one is on standby", async () => {
    const older = aPublisher({ standby: { first: 60_000, longest: 60_000 } });
    older.publisher.publish(healthy);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish([aPool(first.slice(0, 1))]);
    await until("the older one is on standby", () => mode(older) === "standby");
    await newer.isCurrent();
    // What would make it write.
    older.publisher.publish(lost);
    newer.publisher.publish([aPool(first.slice(0, 2))]);
    await until("the newer one's change is there", () => devices().length === 2);
    expect(devices()).toEqual(["0000-3b-02-0", "0000-3b-02-1"]);
    expect(writes()).toEqual(["POST", "PUT", "PUT"]);
    expect(messages(older)).toContain("standby: a newer instance publishes ResourceSlices");
    expect(older.publisher.state().reason).toMatch(/^\d{4}-.*Z-[0-9a-f]{8}$/);
    expect(mode(newer)).toBe("publishing");
  });

  test("with one config write nothing when the second one starts", async () => {
    const older = aPublisher();
    older.publisher.publish(healthy);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish(healthy);
    await newer.isCurrent();
    expect([mode(older), mode(newer), writes()]).toEqual(["publishing", "publishing", ["POST"]]);
  });

  test("of which the newer one only takes slices away: the older one does not restore them", async () => {
    const older = aPublisher({ standby: { first: 60_000, longest: 60_000 } });
    older.publisher.publish([aPool([...first, ...vfs(2, "0000:af:00.0")])]);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish(healthy);
    await until("the slice is gone", () => newer.publisher.state().writes.delete === 1);
    await newer.isCurrent();
    await until("the older one is on standby", () => mode(older) === "standby");
    await until("the older instance has seen it", () => older.publisher.state().published?.slices === 1);
    expect([devices().length, writes()]).toEqual([3, ["POST", "POST", "PUT", "DELETE"]]);
    expect(older.lines.filter(({ level }) => level === "warn")).toEqual([]);
    expect(newer.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });

  test("of which the newer one withdraws: the older one does not restore the slices", async () => {
    const older = aPublisher({ standby: { first: 60_000, longest: 60_000 } });
    older.publisher.publish(healthy);
    await older.isCurrent();
    expect(await aPublisher().publisher.withdraw()).toBe(true);
    await until("the older one is on standby", () => mode(older) === "standby");
    await until("the older instance has seen it", () => older.publisher.state().published?.slices === 0);
    expect(writes()).toEqual(["POST", "PUT", "DELETE"]);
  });

  test("restore together what is deleted, and nothing twice", async () => {
    const both = [aPublisher(), aPublisher()];
    for (const { publisher } of both) publisher.publish(healthy);
    for (const { isCurrent } of both) await isCurrent();
    for (const { metadata } of slices()) played.server.remove(metadata.name);
    await until("it is back", () => slices().length === 1);
    for (const { isCurrent, publisher } of both) {
      if (publisher.state().mode === "publishing") await isCurrent();
      expect(publisher.state().problem).toBeNull();
    }
    expect(devices()).toHaveLength(3);
  });

  test("of which the newer one ends without a word: the older one publishes again after a while", async () => {
    const older = aPublisher();
    older.publisher.publish(healthy);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish(lost);
    await until("the older one is on standby", () => mode(older) === "standby");
    await newer.publisher.close();
    for (const { metadata } of slices()) played.server.remove(metadata.name);
    await until("it is back", () => devices().join() === "0000-3b-02-0,0000-3b-02-1,0000-3b-02-2");
    expect(messages(older)).toContain("standby ended: the newer instance writes nothing");
  });

  test("that both live and disagree meet ever more seldom", async () => {
    const older = aPublisher({ standby: { first: 40, longest: 600 } });
    older.publisher.publish(healthy);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish(lost);
    const standbys = () => messages(older).filter((message) => message.startsWith("standby:")).length;
    await until("the first standby", () => standbys() === 1);
    const started = performance.now();
    await until("the fifth standby", () => standbys() === 5);
    // 40 + 80 + 160 + 320
    expect(performance.now() - started).toBeGreaterThan(550);
    await until("the newer one has it", () => devices()[0] === "0000-3b-02-0!");
  });

  test("whose clock was set back are distinguished", async () => {
    const before = aPublisher();
    before.publisher.publish(healthy);
    await before.isCurrent();
    await before.publisher.close();
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    const future = { time: Date.parse("2199-01-01T00:00:00Z"), id: "00000000" };
    const annotations = stampAnnotation(context.driver, future);
    played.server.set({ ...slice, metadata: { ...slice.metadata, annotations } });
    const after = aPublisher();
    after.publisher.publish(lost);
    await until("it is published", () => devices()[0] === "0000-3b-02-0!");
    const [written] = slices();
    expect(written && stampOf(written, context.driver)?.time).toBe(future.time + 1);
  });
});

describe("a withdrawal", () => {
  test("deletes all slices of this node and driver, and resume() creates them again", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish([aPool([...first, ...vfs(2, "0000:af:00.0")])]);
    await isCurrent();
    const [a, b] = [publisher.withdraw(), publisher.withdraw()];
    expect([await a, await b]).toEqual([true, true]);
    expect(slices()).toEqual([]);
    publisher.publish(healthy);
    expect(publisher.state()).toMatchObject({ mode: "withdrawn", published: { slices: 0 } });
    publisher.resume();
    await until("it is published", () => devices().length === 3);
  });

  test("is undone by resume() before the watch shows it, and no other client is blamed", async () => {
    const one = aPublisher();
    one.publisher.publish(healthy);
    await one.isCurrent();
    for (let count = 0; count < 5; count++) {
      expect(await one.publisher.withdraw()).toBe(true);
      one.publisher.resume();
      await until("it is published", () => devices().length === 3);
      await one.isCurrent();
    }
    expect(one.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });

  test("lasts until the API server is there", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    await played.server.stop();
    const gone = publisher.withdraw();
    await until("there is a problem", () => publisher.state().problem !== null);
    await played.server.start();
    expect(await gone).toBe(true);
    expect(slices()).toEqual([]);
  });

  test("deletes also what comes later, as a write does whose answer was lost", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    const [slice] = slices();
    if (!slice) throw new Error("nothing is published");
    expect(await publisher.withdraw()).toBe(true);
    played.server.set(slice);
    await until("it is deleted", () => slices().length === 0);
    expect(publisher.state().mode).toBe("withdrawn");
  });

  test("is retried when it is refused, and needs no pools", async () => {
    const before = aPublisher();
    before.publisher.publish(healthy);
    await before.isCurrent();
    await before.publisher.close();
    for (let count = 0; count < 3; count++)
      played.server.misbehave((_, response) => refuse(response, 500, "InternalError"), isWrite);
    const { publisher } = aPublisher();
    expect(await publisher.withdraw()).toBe(true);
    expect(publisher.state()).toMatchObject({ problem: null, writes: { delete: 1, failed: 3 } });
  });

  test("leaves the slices of a newer instance", async () => {
    const older = aPublisher();
    older.publisher.publish(healthy);
    await older.isCurrent();
    const newer = aPublisher();
    newer.publisher.publish(lost);
    await until("the older one is on standby", () => mode(older) === "standby");
    expect(await older.publisher.withdraw()).toBe(false);
    expect(devices()).toHaveLength(3);
  });

  test("ends with close() and resume()", async () => {
    await played.server.stop();
    const { publisher } = aPublisher();
    const resumed = publisher.withdraw();
    publisher.resume();
    expect(await resumed).toBe(false);
    const closed = publisher.withdraw();
    await publisher.close();
    expect([await closed, await publisher.withdraw()]).toEqual([false, false]);
  });
});
