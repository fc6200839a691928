import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { until } from "../../../test/support/until.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { type Allocations, type PodDevice, recordDelay } from "../../pools/decide-allocations.ts";
import { DevicePluginOffers, type DevicePluginState } from "./device-plugin-offers.ts";

const id = "0000:3b:02.0";
const holder = { resource: "intel.com/net", pod: "default/pod" };
const allocation = { ...holder, id, container: "c", evidence: "pod cgroup", uid: "u", namedAt: null } as const;

let offered: string[];
let failure: Error | null;
let held: Allocations;
let starting: readonly PodDevice[];
let claimed: Allocations;
let prepared: readonly string[];
let reads: number;
let reading: () => void;
let logged: string[];
let states: DevicePluginState[];
let offers: DevicePluginOffers;
beforeEach(() => {
  [offered, failure, held, reads, logged, states] = [[], null, new Map(), 0, [], []];
  [reading, starting, claimed, prepared] = [() => {}, [], new Map(), []];
  const write = (message: string, fields = {}) => void logged.push(`${message} ${JSON.stringify(fields)}`);
  offers = new DevicePluginOffers(
    {
      offered: () => Promise.resolve(offered),
      podAllocations: {
        read: () => {
          reads++;
          reading();
          return failure === null ? Promise.resolve() : Promise.reject(failure);
        },
        get allocations() {
          return held;
        },
        get recentRecords() {
          return starting;
        },
        get claimed() {
          return claimed;
        },
      },
      isPrepared: (each) => prepared.includes(each),
      changed: (state) => states.push(state),
      times: { offering: 20, held: 20, unknown: 20 },
    },
    { info: write, warn: write },
  );
});
afterEach(() => offers.close());

const kinds = () => states.map(({ kind }) => kind);

describe("devices of this node", () => {
  test("are free where no device plugin runs and no pod has one", async () => {
    expect(offers.state).toEqual({ kind: "unknown", reason: null });
    await offers.check();
    expect(states).toEqual([{ kind: "held", devices: new Map() }]);
    await offers.refuse();
    // Nothing is left to wait for.
    await Bun.sleep(60);
    expect(reads).toBe(1);
  });

  test("are not free while a device plugin offers them, and are read again until it ends", async () => {
    offered = ["intel.com/b", "intel.com/a"];
    await offers.check();
    expect(states).toEqual([{ kind: "offering", resources: ["intel.com/a", "intel.com/b"] }]);
    expect(await failureOf(offers.refuse())).toContain("still offers this node's devices as intel.com/b, intel.com/a");
    expect(reads).toBe(0);
    offered = [];
    await until("it has ended", () => offers.state.kind === "held");
    expect(kinds()).toEqual(["offering", "held"]);
    await offers.refuse();
  });

  test("are not free at the moment at which a device plugin starts", async () => {
    await offers.check();
    offered = ["intel.com/a"];
    expect(await failureOf(offers.refuse())).toContain("intel.com/a");
  });

  test("are not free before the evidence of what pods have is read after a device plugin ended", async () => {
    offered = ["intel.com/a"];
    await offers.check();
    [offered, held] = [[], new Map([[id, allocation]])];
    await offers.refuse();
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, holder]]) });
  });

  test("that pods have from a device plugin are freed one by one", async () => {
    held = new Map([[id, allocation]]);
    await offers.check();
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, holder]]) });
    held = new Map();
    await until("it is free", () => states.length === 2);
    expect(offers.state).toEqual({ kind: "held", devices: new Map() });
    expect(logged).toEqual([
      `a pod has a device from the device plugin {"device":"${id}","resource":"intel.com/net","pod":"default/pod"}`,
      `device released {"device":"${id}","resource":"intel.com/net","pod":"default/pod"}`,
    ]);
  });

  test("that pods have by claims of the driver's name are free when they end, unless this driver prepared them", async () => {
    const other = "0000:3b:02.1";
    const ofDriver = { ...allocation, resource: "dra.example.com", evidence: "pod-resources" } as const;
    claimed = new Map([id, other].map((each) => [each, { ...ofDriver, id: each, isClaimed: true }]));
    prepared = [other];
    await offers.check();
    const held = { resource: "dra.example.com", pod: "default/pod" };
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, held]]) });
    claimed = new Map();
    await until("it is free", () => states.length === 2);
    expect(offers.state).toEqual({ kind: "held", devices: new Map() });
  });

  test("are not free when a device plugin starts while the evidence is read", async () => {
    reading = () => (offered = ["intel.com/a"]);
    expect(await failureOf(offers.refuse())).toContain("still offers this node's devices as intel.com/a");
  });

  test("are not free when pods got them from a device plugin that ran between two checks", async () => {
    await offers.check();
    // The kubelet has not recorded it yet.
    const recorded = setTimeout(() => (held = new Map([[id, allocation]])), recordDelay / 2);
    await offers.check();
    clearTimeout(recorded);
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, holder]]) });
  });

  test("are not free while the pods start that the kubelet recorded a moment ago, and are when these have ended", async () => {
    starting = [{ ...allocation, pod: allocation.uid }];
    await offers.check();
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, { ...holder, pod: allocation.uid }]]) });
    [held, starting] = [new Map([[id, allocation]]), []];
    await until("its pod is seen", () => states.length === 2);
    [held, starting] = [new Map(), [{ ...allocation, pod: allocation.uid }]];
    await until("it is free", () => states.length === 3);
    expect(offers.state).toEqual({ kind: "held", devices: new Map() });
  });

  test("are no devices of other vendors' plugins, which are neither logged nor waited for", async () => {
    held = new Map([["GPU-1", { ...allocation, id: "GPU-1", resource: "example.com/gpu" }]]);
    await offers.check();
    expect([offers.state, logged]).toEqual([{ kind: "held", devices: new Map() }, []]);
    await Bun.sleep(60);
    expect(reads).toBe(1);
  });

  test("are not free without evidence, which is logged once and read again", async () => {
    failure = new Error("no checkpoint");
    await offers.check();
    expect(await failureOf(offers.refuse())).toContain(
      "not known which devices pods have from a device plugin: no checkpoint",
    );
    await until("it was read again", () => reads > 2);
    expect(logged).toHaveLength(1);
    failure = null;
    await until("they are free", () => offers.state.kind === "held");
  });

  test("stay as they are known when the evidence can't be read later", async () => {
    held = new Map([[id, allocation]]);
    await offers.check();
    failure = new Error("no checkpoint");
    await offers.check();
    expect(states).toHaveLength(1);
    expect(offers.state).toEqual({ kind: "held", devices: new Map([[id, holder]]) });
  });
});

test("a check that comes during another one is not lost", async () => {
  const first = offers.check();
  offered = ["intel.com/a"];
  const second = offers.check();
  await Promise.all([first, second]);
  expect(offers.state.kind).toBe("offering");
});

test("nothing is read after the end", async () => {
  offered = ["intel.com/a"];
  await offers.check();
  offers.close();
  const before = states.length;
  offered = [];
  await Bun.sleep(60);
  expect([states.length, offers.state.kind]).toEqual([before, "offering"]);
});
