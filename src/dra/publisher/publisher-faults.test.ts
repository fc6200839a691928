import { expect, test } from "bun:test";
import { type Misbehaviour, refuse } from "../../../test/support/api-server.ts";
import { aPool, context, vfs } from "../../../test/support/published-slices.ts";
import { admitted, isWrite, publishingServer } from "../../../test/support/publishers.ts";
import { Random } from "../../../test/support/random.ts";
import { accessTo } from "../../../test/support/slices.ts";
import { until } from "../../../test/support/until.ts";
import { listObjects } from "../../kube/api-client.ts";
import { resourceSlices } from "../resource-slice.ts";
import { type DesiredSlice, desiredSlices } from "../slices.ts";

const played = publishingServer();
const { aPublisher, slices } = played;

const { signal } = new AbortController();
const devices = [...vfs(6), ...vfs(70, "0000:af:00.0")];

/** Pools and devices of slices with their taints, by the slices' names. */
const shown = (list: readonly DesiredSlice[]) =>
  Object.fromEntries(
    list.map(({ name, pool, devices }) => [
      name,
      [pool, devices.map(({ name, taints = [] }) => `${name} ${taints.map(({ key }) => key).join()}`)],
    ]),
  );
const found = () =>
  shown(slices().map(({ metadata: { name }, spec }) => ({ name, pool: spec.pool.name, devices: spec.devices ?? [] })));

// Whatever an API server, a network and other clients do: when they are done, the slices are right.
test.each([1, 2, 3, 4, 5, 6, 7, 8])("faults at random, seed %d, end with the right slices", async (seed) => {
  const random = new Random(seed);
  const access = { ...accessTo(played.server), requestLimit: 100 };
  const { publisher, lines } = aPublisher({}, { access });
  const some = <T>(list: readonly T[]): T | undefined => (list.length === 0 ? undefined : random.of(list));
  const randomPools = () => {
    const chosen = devices.filter(() => !random.once(5));
    return [
      aPool(
        chosen,
        chosen.filter(() => random.once(3)).map(({ id }) => id),
      ),
    ];
  };
  const answers: readonly Misbehaviour[] = [
    (_, response) => refuse(response, some([401, 403, 409, 410, 422, 429, 500, 503]) ?? 500, "Random"),
    (_, response) => response.destroy(),
    (_, response) => response.end('{"kind":"ResourceSlice"'),
    () => {},
    ({ method, body }, response) => {
      if (method === "POST" || method === "PUT") played.server.set(admitted(resourceSlices.parse(JSON.parse(body))));
      response.destroy();
    },
  ];
  let pools = randomPools();
  const steps: readonly (() => void | Promise<unknown>)[] = [
    () => publisher.publish((pools = randomPools())),
    () => publisher.publish((pools = randomPools())),
    () => played.server.remove(some(slices())?.metadata.name ?? ""),
    () => {
      for (const { metadata } of slices()) played.server.remove(metadata.name);
    },
    () => {
      const slice = some(slices());
      if (slice) played.server.set({ ...slice, spec: { ...slice.spec, devices: slice.spec.devices?.slice(1) } });
    },
    () => {
      const slice = some(slices());
      if (!slice) return;
      const metadata = { name: `stranger-${random.below(3)}` };
      played.server.set({ ...slice, metadata, spec: { ...slice.spec, pool: { ...slice.spec.pool, generation: 9 } } });
    },
    () => played.server.cutWatches(),
    () => played.server.endWatches(),
    () => played.server.compact(),
    () => played.server.misbehave(some(answers) ?? (() => {})),
    () => played.server.misbehave(some(answers) ?? (() => {}), isWrite),
    () => played.server.send("garbage\n"),
    () => publisher.resume(),
    () => void publisher.withdraw(),
  ];
  publisher.publish(pools);
  for (let count = 0; count < 60; count++) {
    await random.of(steps)();
    // Other clients' requests: while they are answered, the publisher does its own.
    for (let turns = random.below(4); turns > 0; turns--)
      await listObjects(access, resourceSlices, {}, signal).catch(() => null);
  }
  played.server.behave();
  // An API server that once refused the probe for taints is probed again.
  played.server.endWatches();
  publisher.resume();
  const expected = desiredSlices(pools, { ...context, hasTaints: true });
  const right = shown(expected);
  await until("the slices are right", () => Bun.deepEquals(found(), right) && publisher.state().isCurrent, {
    within: 4000,
    found: () => JSON.stringify([publisher.state(), found(), lines.slice(-10)]),
  });
  await until("there is no problem", () => publisher.state().problem === null, {
    within: 4000,
    found: () => JSON.stringify([publisher.state(), lines.slice(-10)]),
  });
  expect(publisher.state().mode).toBe("publishing");
});
