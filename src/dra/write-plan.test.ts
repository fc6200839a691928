import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { aPool, aVf, context, served, vfs } from "../../test/support/published-slices.ts";
import type { Pool } from "../pools/pool.ts";
import { publisherTimes } from "./publisher-times.ts";
import type { ResourceSlice } from "./resource-slice.ts";
import { sliceContent, desiredSlices } from "./slices.ts";
import { type DueWrite, planWrites, type WritePlan } from "./write-plan.ts";
import { newPace, type SlicePace, writtenPace } from "./write-pacing.ts";

const times = publisherTimes.pacing;
const first = vfs(8);
const healthy = [aPool(first)];
const lost = [
  aPool(
    first,
    first.map(({ id }) => id),
  ),
];

/** An API server, and what a publisher of pools writes to it; time passes only where it is said. */
class Played {
  now = 1_000_000;
  pools: readonly Pool[] = healthy;
  found = new Map<string, ResourceSlice>();
  paces: ReadonlyMap<string, SlicePace> = new Map();
  createsFrom = 0;
  readonly writes: { readonly at: number; readonly write: DueWrite }[] = [];
  #plan: WritePlan | null = null;

  /** Writes all that is due now. */
  settle(): WritePlan {
    for (;;) {
      const plan = planWrites({
        desired: desiredSlices(this.pools, context),
        found: [...this.found.values()],
        deleted: new Set(),
        context,
        annotations: {},
        lastDevices: new Map(),
        paces: this.paces,
        createsFrom: this.createsFrom,
        now: this.now,
        times,
      });
      this.#plan = plan;
      this.paces = plan.paces;
      if (plan.due.length === 0) return plan;
      for (const write of plan.due) this.#do(write);
    }
  }

  #do(write: DueWrite): void {
    const { action, slice, key, want, reason } = write;
    const answer = action === "delete" ? null : served(slice);
    if (answer) this.found.set(slice.metadata.name, answer);
    else this.found.delete(slice.metadata.name);
    const pace = this.paces.get(key);
    if (!pace) throw new Error("no pace");
    const received = answer && sliceContent(answer);
    this.paces = new Map([...this.paces, [key, writtenPace(pace, { want, reason, received }, this.now, times)]]);
    this.writes.push({ at: this.now, write });
  }

  /** Lets time pass to this moment, and writes what becomes due on the way. */
  passTo(moment: number): void {
    for (let next = this.#plan?.next ?? null; next !== null && next <= moment; next = this.settle().next)
      this.now = Math.max(this.now, next);
    this.now = Math.max(this.now, moment);
    this.settle();
  }

  publish(pools: readonly Pool[]): void {
    this.pools = pools;
    this.settle();
  }
}

const started = (): Played => {
  const played = new Played();
  played.settle();
  played.writes.length = 0;
  played.passTo(played.now + 600_000);
  return played;
};

const shown = ({ writes }: Played) => writes.map(({ write: { action, reason } }) => `${action} ${reason}`);

describe("a link", () => {
  test("that flaps every ten seconds for an hour costs two writes a minute, and each loss is written within half a second", () => {
    const played = started();
    const from = played.now;
    for (let time = 0; time < 3_600_000; time += 10_000) {
      played.passTo(from + time);
      played.publish(lost);
      // The gain may have been written at this very moment.
      played.passTo(played.now + times.lossGap);
      const [slice] = [...played.found.values()];
      expect(slice?.spec.devices?.every(({ taints = [] }) => taints.length === 1)).toBe(true);
      played.passTo(from + time + 5000);
      played.publish(healthy);
    }
    expect(played.writes.length).toBeLessThanOrEqual(2 * 60 + 12);
    expect(played.writes.length).toBeGreaterThan(60);
    played.passTo(played.now + 60_000);
    expect([...played.found.values()][0]?.spec.devices?.some(({ taints }) => taints)).toBe(false);
  });

  test("that is lost once and comes back costs two writes", () => {
    const played = started();
    played.publish(lost);
    played.passTo(played.now + 30_000);
    played.publish(healthy);
    expect(shown(played)).toEqual(["update loss"]);
    played.passTo(played.now + times.window);
    expect(shown(played)).toEqual(["update loss", "update gain"]);
  });

  test("whatever it does: a loss is published within a second, a gain within a minute, and no write is repeated", () => {
    const step = fc.record({ wait: fc.nat(20_000), count: fc.nat(8) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const played = started();
        for (const { wait, count } of steps) {
          played.passTo(played.now + wait);
          const down = first.slice(0, count).map(({ id }) => id);
          played.publish([aPool(first, down)]);
          const changed = played.now;
          const isPublished = () => {
            const devices = [...played.found.values()].flatMap(({ spec }) => spec.devices ?? []);
            return devices.filter(({ taints = [] }) => taints.length > 0).length >= count;
          };
          while (!isPublished() && played.now <= changed + 1000) played.passTo(played.now + 100);
          expect(isPublished()).toBe(true);
        }
        played.passTo(played.now + times.longestInterval + times.window);
        const plan = played.settle();
        expect([plan.due, plan.waiting]).toEqual([[], 0]);
        for (let index = 1; index < played.writes.length; index++)
          expect((played.writes[index]?.at ?? 0) - (played.writes[index - 1]?.at ?? 0)).toBeGreaterThanOrEqual(
            times.lossGap,
          );
      }),
      { seed: 20_261_128, numRuns: 60 },
    );
  });
});

describe("a plan", () => {
  test("creates at once, but not before the first ones may be", () => {
    const played = new Played();
    played.createsFrom = played.now + 10_000;
    const plan = played.settle();
    expect([plan.due.length, plan.next, plan.waiting]).toEqual([0, played.createsFrom, 1]);
    played.passTo(played.createsFrom);
    expect(shown(played)).toEqual(["create gain"]);
  });

  test("has no time for what must not be created yet", () => {
    const played = new Played();
    played.createsFrom = Infinity;
    const plan = played.settle();
    expect([plan.due.length, plan.next, plan.waiting]).toEqual([0, null, 1]);
  });

  test("does not delay a loss with the first ones", () => {
    const played = started();
    played.createsFrom = played.now + 10_000;
    played.publish(lost);
    expect(shown(played)).toEqual(["update loss"]);
  });

  test("deletes an obsolete slice at once, and it can come back", () => {
    const played = started();
    played.publish([]);
    played.passTo(played.now + 5000);
    played.publish(healthy);
    played.passTo(played.now + 5000);
    expect(shown(played)).toEqual(["delete loss", "create gain"]);
  });

  test("restores a deletion at once, and a second one after a second", () => {
    const played = started();
    for (let count = 0; count < 2; count++) {
      played.found.clear();
      played.settle();
    }
    expect(shown(played)).toEqual(["create repair"]);
    played.passTo(played.now + times.firstRepair);
    expect(shown(played)).toEqual(["create repair", "create repair"]);
  });

  test("publishes a loss at once even while it fights about the slice", () => {
    const played = started();
    for (let count = 0; count < 5; count++) {
      const [slice] = [...played.found.values()];
      if (slice) played.found.set(slice.metadata.name, { ...slice, spec: { ...slice.spec, devices: [] } });
      played.settle();
      played.passTo(played.now + 20_000);
    }
    played.publish([aPool(first, [first[0]?.id ?? ""])]);
    expect(shown(played).at(-1)).toBe("update loss");
  });

  test("deletes others' slices of this node and driver ever more slowly, however they are named", () => {
    const played = started();
    const [slice] = [...played.found.values()];
    if (!slice) throw new Error("no slice");
    const from = played.now;
    for (let count = 0; played.now < from + 60_000; count++) {
      const metadata = { name: `stranger-${count}`, uid: `uid-${count}`, resourceVersion: "1" };
      const pool = { name: `pool-${count}`, generation: 1, resourceSliceCount: 1 };
      played.found.set(metadata.name, { ...slice, metadata, spec: { ...slice.spec, pool } });
      played.settle();
      played.passTo(played.now + 100);
    }
    expect(new Set(played.writes.map(({ at }) => at)).size).toBeLessThan(10);
    expect(new Set(shown(played))).toEqual(new Set(["delete loss", "delete repair"]));
    played.passTo(played.now + 60_000);
    expect([...played.found.keys()]).toEqual([slice.metadata.name]);
  });

  test("does not delete twice what is being deleted", () => {
    const played = started();
    const [slice] = [...played.found.values()];
    if (!slice) throw new Error("no slice");
    const input = {
      desired: [],
      found: [slice],
      context,
      annotations: {},
      lastDevices: new Map(),
      paces: played.paces,
      createsFrom: 0,
      now: played.now,
      times,
    };
    expect(planWrites({ ...input, deleted: new Set() }).due.map(({ action }) => action)).toEqual(["delete"]);
    expect(planWrites({ ...input, deleted: new Set([slice.metadata.uid ?? ""]) })).toMatchObject({
      due: [],
      next: null,
    });
  });

  test("creates anew what was deleted and is still shown, and counts the generation of another slice that is", () => {
    const played = started();
    const [slice] = [...played.found.values()];
    if (!slice) throw new Error("no slice");
    const input = {
      desired: desiredSlices(healthy, context),
      deleted: new Set([slice.metadata.uid ?? ""]),
      context,
      annotations: {},
      lastDevices: new Map(),
      paces: new Map(),
      createsFrom: 0,
      now: played.now,
      times,
    };
    const generations = (found: readonly ResourceSlice[]) =>
      planWrites({ ...input, found }).due.map(({ action, slice }) => [action, slice.spec.pool.generation]);
    const pool = { ...slice.spec.pool, generation: 7 };
    expect(generations([{ ...slice, spec: { ...slice.spec, pool } }])).toEqual([["create", 1]]);
    const rival = { ...slice, metadata: { ...slice.metadata, name: "rival" }, spec: { ...slice.spec, pool } };
    expect(generations([rival])).toEqual([["create", 8]]);
  });

  test("keeps the time of a taint when the slice was deleted", () => {
    const taints = [{ key: `${context.driver}/unhealthy`, effect: "NoSchedule", timeAdded: "2026-01-01T00:00:00Z" }];
    const [desired] = desiredSlices([aPool([aVf(0)], [aVf(0).id])], context);
    if (!desired) throw new Error("no slice");
    const [create] = planWrites({
      desired: [desired],
      found: [],
      deleted: new Set(),
      context,
      annotations: {},
      lastDevices: new Map([[desired.name, [{ name: "0000-3b-02-0", attributes: {}, taints }]]]),
      paces: new Map(),
      createsFrom: 0,
      now: 0,
      times,
    }).due;
    expect(create?.slice.spec.devices?.[0]?.taints).toEqual(taints);
  });

  test("forgets a failure that nothing depends on any more: another client deleted the slice", () => {
    const played = started();
    const stranger = "";
    const pace = {
      ...newPace(times),
      settled: "absent",
      lastRepair: played.now,
      repairs: 1,
      failures: 3,
      retryAt: played.now + 9,
    };
    played.paces = new Map([...played.paces, [stranger, pace]]);
    played.settle();
    expect(played.paces.get(stranger)).toMatchObject({ failures: 0, retryAt: null, repairs: 1 });
  });

  test("forgets slices that are gone", () => {
    const played = started();
    played.publish([]);
    played.passTo(played.now + times.calm + 1);
    expect([...played.paces.keys()]).toEqual([]);
  });
});
