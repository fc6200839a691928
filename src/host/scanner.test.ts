import { afterEach, describe, expect, test } from "bun:test";
import { buildNode } from "../../test/support/node.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { unpack } from "../../test/support/tree.ts";
import { aDevice } from "../../test/support/device.ts";
import { until } from "../../test/support/until.ts";
import type { Device } from "./device.ts";
import { encodeDevices } from "./device-text.ts";
import { NodeScanner, type ScanOrder, type ScanReply, type StartScanThread } from "./scanner.ts";

const facts = { ddpProfiles: false, enableRdma: false, vhostNet: false };
const limit = 40;

/** A thread whose answers the test gives. */
interface SimulatedThread {
  readonly orders: ScanOrder[];
  readonly reply: (reply: ScanReply) => void;
  readonly fail: (reason: string) => void;
  isTerminated: boolean;
}

/** A scanner whose threads are simulated, and how often it reported a scan that nobody waited for. */
function simulated() {
  const threads: SimulatedThread[] = [];
  const start: StartScanThread = (reply, fail) => {
    const thread: SimulatedThread = { orders: [], reply, fail, isTerminated: false };
    threads.push(thread);
    return {
      post: (order) => void (order !== "rest" && thread.orders.push(order)),
      terminate: () => void (thread.isTerminated = true),
    };
  };
  const reported = { late: 0 };
  const scanner = new NodeScanner("/node", () => void reported.late++, start, limit);
  scanners.push(scanner);
  return { scanner, threads, reported };
}
const scanners: NodeScanner[] = [];
afterEach(() => {
  for (const scanner of scanners.splice(0)) scanner.close();
});

const found = (
  number: number,
  ids: readonly string[],
  changed: readonly Device[] = ids.map((id) => aDevice({ id })),
) => ({
  number,
  ids,
  changed: encodeDevices(changed),
  problems: [],
  hasDefaultRoute: true,
});
const idsOf = (scan: { readonly devices: readonly Device[] } | null) => scan?.devices.map(({ id }) => id);
const lastOrder = (thread: SimulatedThread | undefined) => thread?.orders.at(-1)?.number ?? 0;

describe("a node whose drivers answer", () => {
  test("is scanned by one thread, which scans only links once it has the functions", async () => {
    const { scanner, threads } = simulated();
    const first = scanner.scan(facts, false);
    expect(threads[0]?.orders).toMatchObject([{ root: "/node", isWhole: true }]);
    threads[0]?.reply(found(1, ["a", "b"]));
    expect(idsOf(await first)).toEqual(["a", "b"]);
    const second = scanner.scan(facts, false);
    expect(threads[0]?.orders.at(-1)).toMatchObject({ number: 2, isWhole: false });
    threads[0]?.reply(found(2, ["a"], []));
    expect(idsOf(await second)).toEqual(["a"]);
    expect(threads).toHaveLength(1);
  });

  test("keeps devices that did not change as they are", async () => {
    const { scanner, threads } = simulated();
    const first = scanner.scan(facts, true);
    threads[0]?.reply(found(1, ["a", "b"]));
    const [a] = (await first)?.devices ?? [];
    const second = scanner.scan(facts, true);
    threads[0]?.reply(found(2, ["a", "b"], [aDevice({ id: "b", driver: null })]));
    const scan = await second;
    expect(scan?.devices[0]).toBe(a as Device);
    expect(scan?.devices[1]?.driver).toBeNull();
  });

  test("is not scanned twice for requests during a scan, and not by a scan that began before the request", async () => {
    const { scanner, threads } = simulated();
    const first = scanner.scan(facts, true);
    const others = [scanner.scan(facts, false), scanner.scan(facts, true)];
    threads[0]?.reply(found(1, ["a"]));
    expect(idsOf(await first)).toEqual(["a"]);
    expect(threads[0]?.orders.map(({ isWhole }) => isWhole)).toEqual([true, true]);
    threads[0]?.reply(found(2, ["b"]));
    expect((await Promise.all(others)).map(idsOf)).toEqual([["b"], ["b"]]);
  });
});

test("a scan that fails rejects, and the next one is made by the same thread", async () => {
  const { scanner, threads } = simulated();
  const first = scanner.scan(facts, true);
  threads[0]?.reply({ number: 1, error: "links can't be read" });
  expect(await first.catch((error: Error) => error.message)).toBe("links can't be read");
  const second = scanner.scan(facts, false);
  expect(threads[0]?.orders.at(-1)).toMatchObject({ number: 2, isWhole: true });
  threads[0]?.reply(found(2, ["a"]));
  expect(idsOf(await second)).toEqual(["a"]);
});

test("a thread that ends by itself costs its scan, and is replaced", async () => {
  const { scanner, threads } = simulated();
  const first = scanner.scan(facts, true);
  threads[0]?.fail("out of memory");
  expect(await first.catch((error: Error) => error.message)).toBe("the scan thread ended: out of memory");
  const second = scanner.scan(facts, true);
  threads[1]?.reply(found(2, ["a"]));
  expect(idsOf(await second)).toEqual(["a"]);
});

describe("a scan that does not return", () => {
  test("is no longer waited for, shown with what it reads, and tried once more by one successor", async () => {
    const { scanner, threads } = simulated();
    expect(await scanner.scan(facts, true)).toBeNull();
    expect(scanner.stalled).toMatchObject({ reading: null });
    await until("a successor scans", () => lastOrder(threads[1]) === 2);
    expect(await scanner.scan(facts, true)).toBeNull();
    expect(await scanner.scan(facts, false)).toBeNull();
    expect(threads).toHaveLength(2);
  });

  test("is reported once it returns late, and no longer counts as stalled", async () => {
    const { scanner, threads, reported } = simulated();
    await scanner.scan(facts, true);
    threads[0]?.reply(found(1, ["a"]));
    expect({ ids: idsOf(scanner.latest), stalled: scanner.stalled, late: reported.late }).toEqual({
      ids: ["a"],
      stalled: null,
      late: 1,
    });
  });

  test("does not count as stalled any more when its successor returns, and its own result is dropped", async () => {
    const { scanner, threads, reported } = simulated();
    await scanner.scan(facts, true);
    await until("a successor scans", () => lastOrder(threads[1]) === 2);
    threads[1]?.reply(found(2, ["new"]));
    expect(scanner.stalled).toBeNull();
    expect(reported.late).toBe(1);
    threads[0]?.reply(found(1, ["old"]));
    expect(idsOf(scanner.latest)).toEqual(["new"]);
    expect(reported.late).toBe(1);
    expect(threads.map(({ isTerminated }) => isTerminated)).toEqual([true, false]);
  });

  test("is followed by a whole scan when the thread that returns has older facts than the other", async () => {
    const { scanner, threads } = simulated();
    await scanner.scan(facts, true);
    await until("a successor scans", () => lastOrder(threads[1]) === 2);
    threads[1]?.reply(found(2, ["a"]));
    const stuck = scanner.scan(facts, false);
    expect(threads[1]?.orders.at(-1)).toMatchObject({ isWhole: false });
    threads[0]?.reply(found(1, ["old"]));
    expect(await stuck).toBeNull();
    void scanner.scan(facts, false);
    expect(threads[0]?.orders.at(-1)).toMatchObject({ isWhole: true });
  });

  test("does not keep the scanner from closing", async () => {
    const { scanner, threads } = simulated();
    const waiting = scanner.scan(facts, true);
    scanner.close();
    expect(await waiting).toBeNull();
    expect(threads[0]?.isTerminated).toBeTrue();
    expect(await scanner.scan(facts, true)).toBeNull();
  });
});

test("the thread of its own scans a node", async () => {
  const root = temporaryFolder();
  unpack(buildNode({ pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 2 }] }] }), root);
  const scanner = new NodeScanner(root, () => {});
  scanners.push(scanner);
  const scan = await scanner.scan(facts, true);
  expect(idsOf(scan)).toEqual(["0000:3b:00.0", "0000:3b:01.0", "0000:3b:01.1"]);
  expect(scan).toMatchObject({ hasDefaultRoute: false, isWhole: true, problems: [] });
  removeTemporaryFolder(root);
  expect((await scanner.scan(facts, true))?.devices).toEqual([]);
});
