import { describe, expect, test } from "bun:test";
import { type ApiRequest, type Misbehaviour, refuse, reply } from "../../../test/support/api-server.ts";
import { isList, isWatch } from "../../../test/support/mirrors.ts";
import { aPool, context, vfs } from "../../../test/support/published-slices.ts";
import { admitted, aNode, isWrite, nodePath, publishingServer, withDevices } from "../../../test/support/publishers.ts";
import { accessTo } from "../../../test/support/slices.ts";
import { until } from "../../../test/support/until.ts";
import { resourceSlices } from "../resource-slice.ts";

const played = publishingServer();
const { aPublisher, devices, slices, writes } = played;

const first = vfs(3);
const ids = first.map(({ id }) => id);
const healthy = [aPool(first)];
const lost = [aPool(first, ids)];
const isProbe = ({ query }: ApiRequest) => query.has("dryRun");

describe("an API server", () => {
  test("that is away is waited for, and has what changed meanwhile when it is back", async () => {
    const { publisher, isCurrent, lines } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    await played.server.stop();
    publisher.publish(lost);
    await until("there is a problem", () => publisher.state().problem !== null && publisher.state().writes.failed > 2);
    expect(publisher.state()).toMatchObject({ mode: "publishing", published: { devices: 3 } });
    await played.server.start();
    await until("it has the taints", () => devices().every((name) => name.endsWith("!")));
    await until("there is no problem", () => publisher.state().problem === null);
    expect(lines.filter(({ level }) => level === "error").length).toBeLessThanOrEqual(2);
    expect(lines.at(-1)?.message).toBeOneOf(["ResourceSlices can be published again", "ResourceSlice written"]);
  });

  test("that is away at the start is waited for", async () => {
    await played.server.stop();
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await until("there is a problem", () => publisher.state().problem !== null);
    expect(publisher.state()).toMatchObject({ mode: "starting", published: null });
    await played.server.start();
    await isCurrent();
    expect(devices()).toHaveLength(3);
  });

  const refusals: readonly [code: number, reason: string][] = [
    [401, "Unauthorized"],
    [403, "Forbidden"],
    [409, "Conflict"],
    [410, "Expired"],
    [422, "Invalid"],
    [429, "TooManyRequests"],
    [500, "InternalError"],
  ];
  const steps: readonly [step: string, matches: (request: ApiRequest) => boolean][] = [
    ["list", (request) => isList(request) && request.method === "GET" && request.path !== nodePath],
    ["watch", isWatch],
    ["node", ({ path }) => path === nodePath],
    ["create", (request) => isWrite(request) && request.method === "POST"],
    ["update", ({ method }) => method === "PUT"],
    ["delete", ({ method }) => method === "DELETE"],
    ["probe", isProbe],
  ];

  test.each(
    refusals.flatMap(([code, reason]) => steps.map(([step, matches]) => [code, reason, step, matches] as const)),
  )("that refuses with %d %s to %s is asked again, with pauses", async (code, reason, step, matches) => {
    for (let count = 0; count < 3; count++)
      played.server.misbehave((_, response) => refuse(response, code, reason, reason), matches);
    const { publisher } = aPublisher();
    publisher.publish(healthy);
    await until("it is published", () => devices().length === 3);
    publisher.publish(lost);
    const isUntold = step === "probe" && code === 422;
    const expected = isUntold ? [] : ["0000-3b-02-0!", "0000-3b-02-1!", "0000-3b-02-2!"];
    await until("the loss is published", () => devices().join() === expected.join());
    publisher.publish([]);
    await until("it is deleted", () => slices().length === 0);
    await until("there is no problem", () => publisher.state().problem === null);
  });

  test.each(steps.filter(([step]) => step !== "watch"))(
    "that forbids to %s is reported with the rule that is missing",
    async (step, matches) => {
      const forbid = () =>
        played.server.misbehave((_, response) => {
          forbid();
          refuse(response, 403, "Forbidden", "no rights");
        }, matches);
      forbid();
      const { publisher } = aPublisher();
      publisher.publish(healthy);
      if (["update", "delete", "probe"].includes(step)) await until("it is published", () => devices().length === 3);
      publisher.publish(step === "delete" ? [] : lost);
      await until("there is a problem", () => publisher.state().problem !== null);
      const verb = { node: '"get"', list: '"list","watch"', probe: '"create"' }[step] ?? `"${step}"`;
      expect(publisher.state().problem).toContain(`"verbs":[${verb}]`);
      expect(publisher.state().problem).toContain(
        step === "node" ? '"resources":["nodes"]' : '"resources":["resourceslices"]',
      );
    },
  );

  test("whose watch shows nothing any more is read where a write finds a slice changed, deleted or created", async () => {
    const { publisher, isCurrent } = aPublisher();
    const stall = () =>
      played.server.misbehave((_, response) => {
        response.writeHead(200);
        response.flushHeaders();
      }, isWatch);
    stall();
    publisher.publish(healthy);
    await isCurrent();
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    played.server.set({ ...slice, spec: { ...slice.spec, devices: [] } });
    publisher.publish(lost);
    await until("it is written", () => devices().length === 3 && devices().every((name) => name.endsWith("!")));
    played.server.remove(slice.metadata.name);
    publisher.publish(healthy);
    await until("it is created", () => devices().join("") === "0000-3b-02-00000-3b-02-10000-3b-02-2");
    publisher.publish([]);
    await until("it is deleted", () => slices().length === 0);
    played.server.set({ ...slice, spec: { ...slice.spec, devices: [] } });
    publisher.publish(healthy);
    await until("it is updated", () => devices().length === 3);
    expect(played.server.requests.filter(isWatch)).toHaveLength(1);
  });

  test("that refuses to restore a slice makes one warning", async () => {
    const { publisher, isCurrent, lines } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    for (let count = 0; count < 4; count++)
      played.server.misbehave((_, response) => refuse(response, 500, "InternalError"), isWrite);
    for (const { metadata } of slices()) played.server.remove(metadata.name);
    await until("it is back", () => publisher.state().writes.repair === 1);
    expect(publisher.state().writes.failed).toBe(4);
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  test("without a Node of this name is waited for", async () => {
    played.server.others.delete(nodePath);
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await until("there is a problem", () => publisher.state().problem !== null);
    played.server.others.set(nodePath, aNode());
    await isCurrent();
    expect(slices()[0]?.metadata.ownerReferences?.[0]?.uid).toBe(context.node.uid);
  });

  test("that never answers one slice is no obstacle to the others", async () => {
    const { publisher } = aPublisher({}, { access: { ...accessTo(played.server), requestLimit: 200 } });
    played.server.misbehave(
      () => {},
      (request) => isWrite(request) && request.body.includes("0000-af-00.0"),
    );
    publisher.publish([aPool([...first, ...vfs(1, "0000:af:00.0")])]);
    await until("one is published", () => devices().length === 3);
    await until("both are published", () => publisher.state().writes.create === 2);
    expect(publisher.state().writes.failed).toBe(1);
  });

  test("with a slice of our name of another driver is reported", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    played.server.remove(slice.metadata.name);
    await publisher.close();
    played.server.set({ ...slice, spec: { ...slice.spec, driver: "other.example.com" } });
    const other = aPublisher();
    other.publisher.publish(healthy);
    await until("there is a problem", () => other.publisher.state().problem !== null);
    expect(other.publisher.state().problem).toContain("another node's or driver's: delete it");
    played.server.remove(slice.metadata.name);
    await other.isCurrent();
    expect(other.publisher.state().problem).toBeNull();
  });
});

/** Carries out the write, and answers as `answer` does. */
const doing =
  (answer: Misbehaviour): Misbehaviour =>
  (request, response) => {
    const object = resourceSlices.parse(JSON.parse(request.body));
    played.server.set(admitted(object));
    answer(request, response);
  };

describe("an answer to a write that was carried out", () => {
  const answers: readonly [what: string, answer: Misbehaviour][] = [
    [
      "is cut short",
      (_, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write('{"metadata":', () => response.destroy());
      },
    ],
    ["never comes", (_, response) => response.destroy()],
    ["is garbage", (_, response) => response.end("<html>")],
    ["is null", (_, response) => response.end("null")],
    ["is another object", (_, response) => reply(response, 200, aNode())],
    [
      "is a slice of another name",
      ({ body }, response) => {
        const slice = resourceSlices.parse(JSON.parse(body));
        reply(response, 200, { ...slice, metadata: { ...slice.metadata, name: "other" } });
      },
    ],
    ["is a slice without a version", ({ body }, response) => response.end(body)],
    [
      "is a slice of another node and a later version",
      ({ body }, response) => {
        const slice = resourceSlices.parse(JSON.parse(body));
        const metadata = { ...slice.metadata, uid: "x", resourceVersion: "999999999" };
        reply(response, 200, { ...slice, metadata, spec: { ...slice.spec, nodeName: "node-b" } });
      },
    ],
    [
      "is a slice without devices",
      ({ body }, response) => {
        const slice = resourceSlices.parse(JSON.parse(body));
        reply(response, 200, { ...slice, spec: { ...slice.spec, devices: undefined } });
      },
    ],
  ];

  test.each(["POST", "PUT"].flatMap((method) => answers.map(([what, answer]) => [method, what, answer] as const)))(
    "and %s %s leads to no loop, and to the right slices",
    async (method, _, answer) => {
      played.server.misbehave(doing(answer), (request) => isWrite(request) && request.method === method);
      const { publisher, isCurrent } = aPublisher();
      publisher.publish(healthy);
      await until("it is published", () => devices().length === 3);
      publisher.publish(lost);
      await until("the loss is published", () => devices().every((name) => name.endsWith("!")));
      await isCurrent();
      expect(writes().length).toBeLessThanOrEqual(5);
      await until("there is no problem", () => publisher.state().problem === null);
    },
  );
});

describe("an API server that drops fields", () => {
  const withoutTaints = () => {
    played.server.admit = (object) =>
      withDevices(resourceSlices.parse(admitted(object)), (device) => ({ ...device, taints: undefined }));
  };

  // Before 1.36: DRADeviceTaints is off.
  test("never has an Unhealthy device in a slice when it drops taints, and a restart writes nothing", async () => {
    withoutTaints();
    const { publisher, isCurrent, lines } = aPublisher();
    publisher.publish([aPool(first, ids.slice(0, 1))]);
    await isCurrent();
    expect(devices()).toEqual(["0000-3b-02-1", "0000-3b-02-2"]);
    expect(played.server.requests.filter(isWrite).filter(({ body }) => body.includes("0000-3b-02-0"))).toEqual([]);
    expect(publisher.state().hasTaints).toBe(false);
    publisher.publish(lost);
    await until("the slice is gone", () => slices().length === 0);
    publisher.publish([aPool(first)], new Set(ids.slice(1)));
    await until("one is back", () => devices().length === 1);
    expect(lines.filter(({ message }) => message.startsWith("the API server drops taints"))).toHaveLength(1);
    await publisher.close();
    played.server.requests.length = 0;
    const after = aPublisher();
    after.publisher.publish([aPool(first)], new Set(ids.slice(1)));
    await after.isCurrent();
    expect(writes()).toEqual([]);
  });

  test("is found out again when the connection is a new one", async () => {
    withoutTaints();
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(lost);
    await isCurrent();
    played.server.admit = admitted;
    played.server.endWatches();
    await until("it has taints", () => devices().length === 3);
    expect(publisher.state().hasTaints).toBe(true);
  });

  test("loses an Unhealthy device at once when it stops to keep taints", async () => {
    const { publisher, isCurrent } = aPublisher();
    publisher.publish([aPool(first, ids.slice(0, 1))]);
    await isCurrent();
    withoutTaints();
    publisher.publish([aPool(first, ids.slice(0, 2))]);
    await until("they are left out", () => devices().join() === "0000-3b-02-2");
    await isCurrent();
    expect(writes().length).toBeLessThanOrEqual(3);
  });

  test("counts as dropping taints when it refuses the probe", async () => {
    played.server.misbehave(
      (_, response) => refuse(response, 400, "BadRequest", "a webhook does not support dry run"),
      isProbe,
    );
    const { publisher, isCurrent } = aPublisher();
    publisher.publish([aPool(first, ids.slice(0, 1))]);
    await isCurrent();
    expect(devices()).toEqual(["0000-3b-02-1", "0000-3b-02-2"]);
  });

  test("is not written to again for a field that never comes back", async () => {
    played.server.admit = (object) =>
      withDevices(resourceSlices.parse(admitted(object)), ({ attributes, ...device }) => ({
        ...device,
        attributes: Object.fromEntries(Object.entries(attributes).slice(1)),
      }));
    const { publisher, isCurrent } = aPublisher();
    publisher.publish(healthy);
    await isCurrent();
    // An event, and so another comparison.
    const [slice] = slices();
    if (!slice) throw new Error("no slice");
    const labelled = played.server.set({ ...slice, metadata: { ...slice.metadata, labels: { a: "b" } } });
    publisher.publish([aPool([...first, ...vfs(1, "0000:af:00.0")])]);
    await until("the other slice is there", () => slices().length === 2);
    await isCurrent();
    expect(writes()).toEqual(["POST", "POST"]);
    played.server.set({ ...labelled, spec: { ...labelled.spec, devices: [] } });
    await until("it is restored", () => devices().length === 4);
    expect(writes()).toEqual(["POST", "POST", "PUT"]);
  });
});
