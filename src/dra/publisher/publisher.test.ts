import { describe, expect, test } from "bun:test";
import { reply } from "../../../test/support/api-server.ts";
import { isList, isWatch } from "../../../test/support/mirrors.ts";
import { aPool, aVf, context, vfs } from "../../../test/support/published-slices.ts";
import {
  aNode,
  isWrite,
  nodePath,
  publishingServer,
  realTimes,
  withDevices,
} from "../../../test/support/publishers.ts";
import { until } from "../../../test/support/until.ts";
import { resourceSlices } from "../resource-slice.ts";

const played = publishingServer();
const { aPublisher, devices, slices, writes } = played;

const [first, second] = [vfs(3), vfs(2, "0000:af:00.0")];
const ids = (list: readonly { readonly id: string }[]) => list.map(({ id }) => id);
const healthy = [aPool([...first, ...second])];
const lost = [aPool([...first, ...second], ids(first))];

describe("a publisher", () => {
  test("creates a slice a PF that belongs to the Node, with one list, one watch and one read of the Node", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    expect(slices().map(({ spec }) => [spec.pool.name, spec.devices?.length])).toEqual([
      ["node-a/0000-3b-00.0", 3],
      ["node-a/0000-af-00.0", 2],
    ]);
    expect(slices()[0]?.metadata.ownerReferences?.[0]).toMatchObject({ kind: "Node", uid: context.node.uid });
    const reads = played.server.requests.filter(({ method }) => method === "GET");
    expect(reads.filter(isWatch)).toHaveLength(1);
    expect(reads.filter((request) => isList(request) && request.path !== nodePath)).toHaveLength(1);
    expect(reads.filter(({ path }) => path === nodePath)).toHaveLength(1);
    for (const { query, path } of reads)
      if (path !== nodePath)
        expect(query.get("fieldSelector")).toBe("spec.nodeName=node-a,spec.driver=sriovdp.example.com");
    expect(publisher.state()).toEqual({
      mode: "publishing",
      reason: null,
      isCurrent: true,
      waiting: 0,
      published: { slices: 2, devices: 5, tainted: 0 },
      hasTaints: null,
      problem: null,
      writes: { create: 2, update: 0, delete: 0, repair: 0, failed: 0 },
    });
  });

  test("deletes nothing before it has pools", async () => {
    played.server.set({ ...aSlice(), metadata: { name: "of-before" } });
    const { publisher } = aPublisher();
    await until("the list is known", () => publisher.state().published?.slices === 1);
    await until("the server is watched", () => played.server.watches === 1);
    expect([publisher.state().mode, writes()]).toEqual(["starting", []]);
  });

  test("writes nothing after a restart when all is right, with taints too", async () => {
    const before = aPublisher();
    before.publisher.publish(lost);
    await before.isCurrent();
    await before.publisher.close();
    expect(before.publisher.state().mode).toBe("closed");
    played.server.requests.length = 0;
    const after = aPublisher();
    after.publisher.publish(lost);
    await after.isCurrent();
    expect(played.server.requests.filter(({ method }) => method !== "GET")).toEqual([]);
    expect(after.publisher.state().hasTaints).toBe(true);
  });

  test("keeps slices when it is closed, and deletes those of a PF that left", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    publisher.publish([aPool(second)]);
    await until("the PF's slice is gone", () => slices().length === 1);
    await publisher.close();
    expect(devices()).toEqual(["0000-af-02-0", "0000-af-02-1"]);
  });

  test("delays the first slices of a node, and no other write", async () => {
    const { publisher, lines } = aPublisher({ firstPublication: 3_600_000 });
    publisher.publish(healthy);
    await until("it waits", () => publisher.state().waiting === 2);
    expect(lines.map(({ message }) => message)).toContain("delaying the first ResourceSlices");
    expect(writes()).toEqual([]);
    await publisher.close();
    played.server.set({ ...aSlice(), metadata: { name: "of-before" } });
    const other = aPublisher({ firstPublication: 3_600_000 });
    other.publisher.publish(healthy);
    await other.isCurrent();
    expect(slices().map(({ metadata }) => metadata.name)).not.toContain("of-before");
  });

  test("creates no slice before it may, and updates and deletes what is there", async () => {
    const first = aPublisher();
    first.publisher.publish(healthy);
    await first.isCurrent();
    await first.publisher.close();
    const { publisher, isCurrent } = aPublisher({}, { holdsCreates: true });
    publisher.publish([aPool(second)]);
    await isCurrent();
    expect(devices()).toEqual(["0000-af-02-0", "0000-af-02-1"]);
    publisher.publish(healthy);
    await until("it waits", () => publisher.state().waiting === 1);
    await Bun.sleep(50);
    expect(slices()).toHaveLength(1);
    publisher.allowCreates();
    await isCurrent();
    expect(slices()).toHaveLength(2);
  });

  test("never touches slices of other nodes and drivers, even when a server shows them", async () => {
    const others = [
      { ...aSlice(), metadata: { name: "other-node" }, spec: { ...aSlice().spec, nodeName: "node-b" } },
      { ...aSlice(), metadata: { name: "other-driver" }, spec: { ...aSlice().spec, driver: "other.example.com" } },
      { ...aSlice(), metadata: { name: "all-nodes" }, spec: { ...aSlice().spec, nodeName: undefined, allNodes: true } },
    ].map((slice) => played.server.set(resourceSlices.parse(slice)));
    played.server.misbehave((_, response) => {
      const metadata = { resourceVersion: others.at(-1)?.metadata.resourceVersion };
      reply(response, 200, { apiVersion: "resource.k8s.io/v1", kind: "ResourceSliceList", metadata, items: others });
    }, isList);
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    expect(writes()).toEqual(["POST", "POST"]);
    expect(slices()).toHaveLength(5);
  });
});

const aSlice = () =>
  resourceSlices.parse({
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name: "a-slice" },
    spec: {
      driver: context.driver,
      nodeName: "node-a",
      pool: { name: "node-a", generation: 1, resourceSliceCount: 1 },
      devices: [],
    },
  });

describe("a link", () => {
  test("that is lost is one PUT of at most 32 KiB within a second", async () => {
    const { publisher, isCurrent } = aPublisher(realTimes);
    const all = vfs(64);
    publisher.publish([aPool([...all, ...second])]);
    await isCurrent();
    played.server.requests.length = 0;
    const started = performance.now();
    publisher.publish([aPool([...all, ...second], ids(all))]);
    await until("all of it has taints", () => devices().filter((name) => name.endsWith("!")).length === 64);
    expect(performance.now() - started).toBeLessThan(1000);
    const sent = played.server.requests.filter(isWrite);
    expect(sent.map(({ method }) => method)).toEqual(["PUT"]);
    expect(sent[0]?.body.length).toBeLessThanOrEqual(32_768);
  });

  test("that is back is published after a moment, and the taints of others keep their times", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(lost);
    await isCurrent();
    const since = "2026-01-01T00:00:00Z";
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    played.server.set(
      withDevices(slice, (device) => ({
        ...device,
        taints: device.taints?.map((taint) => ({ ...taint, timeAdded: since })),
      })),
    );
    publisher.publish([aPool([...first, ...second], ids(first).slice(1))]);
    await until("it waits", () => publisher.state().waiting === 1);
    await isCurrent();
    expect(devices().slice(0, 3)).toEqual(["0000-3b-02-0", "0000-3b-02-1!", "0000-3b-02-2!"]);
    expect(slices()[0]?.spec.devices?.[1]?.taints?.[0]?.timeAdded).toBe(since);
  });

  test("that is back for less than the window writes nothing", async () => {
    const { publisher, isCurrent } = aPublisher(realTimes);
    publisher.publish(lost);
    await isCurrent();
    played.server.requests.length = 0;
    publisher.publish(healthy);
    await until("it waits", () => publisher.state().waiting === 1);
    publisher.publish(lost);
    await isCurrent();
    expect(writes()).toEqual([]);
  });
});

describe("what another client changes", () => {
  test("is restored at once: an edit, a deletion, a slice too many", async () => {
    const { publisher, isCurrent, lines } = aPublisher(realTimes);
    publisher.publish(healthy);
    await isCurrent();
    const right = devices();
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    played.server.set({ ...slice, spec: { ...slice.spec, devices: [] } });
    await until("the edit is undone", () => devices().length === right.length);
    played.server.remove(slices()[1]?.metadata.name ?? "");
    await until("the slice is back", () => slices().length === 2);
    played.server.set(aSlice());
    await until("the other one is deleted", () => publisher.state().writes.delete === 1);
    expect(devices()).toEqual(right);
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(2);
    expect(publisher.state().writes).toMatchObject({ create: 3, update: 1, delete: 1, repair: 2 });
  });

  // The kubelet deletes all slices of its node when it starts (pkg/kubelet/cm/dra/plugin NewDRAPluginManager).
  test("when the kubelet starts and deletes all, is back far before a first retry, with the times of taints", async () => {
    const { publisher, isCurrent } = aPublisher(realTimes);
    publisher.publish(lost);
    await isCurrent();
    const before = slices();
    const started = performance.now();
    for (const { metadata } of before) played.server.remove(metadata.name);
    await until("all slices are back", () => slices().length === before.length);
    expect(performance.now() - started).toBeLessThan(500);
    expect(slices().map(({ spec }) => spec)).toEqual(before.map(({ spec }) => spec));
  });

  test("again and again, is restored ever more slowly", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    const { name } = slices()[0]?.metadata ?? { name: "" };
    const started = performance.now();
    const restored: number[] = [];
    for (let count = 0; count < 5; count++) {
      played.server.remove(name);
      await until("it is back", () => slices().length === 2);
      restored.push(performance.now() - started);
    }
    // 0, 50, 100, 200, 400
    for (const [index, least] of [0, 50, 150, 350, 750].entries())
      expect(restored[index]).toBeGreaterThanOrEqual(least);
    expect(slices()).toHaveLength(2);
  });

  test("because the Node was made anew gets the new Node as its owner", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    const uid = "3f2c1a00-0000-4000-8000-0000000000ff";
    played.server.others.set(nodePath, aNode(uid));
    for (const { metadata } of slices()) played.server.remove(metadata.name);
    await until("the owner is the new Node", () =>
      [2, slices().length].every(
        (count) => slices().filter(({ metadata }) => metadata.ownerReferences?.[0]?.uid === uid).length === count,
      ),
    );
  });

  test("and is no part of what we write, stays", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish([aPool([aVf(0)])]);
    await isCurrent();
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    played.server.set({ ...slice, metadata: { ...slice.metadata, labels: { a: "b" } } });
    publisher.publish([aPool([aVf(0)], ["0000:3b:02.0"])]);
    await until("it has its taint", () => devices().join("") === "0000-3b-02-0!");
    expect(slices()[0]?.metadata["labels"]).toEqual({ a: "b" });
  });
});
