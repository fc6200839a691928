import { expect, test } from "bun:test";
import { NotifySocket } from "../../test/support/notify-socket.ts";
import { until } from "../../test/support/until.ts";
import { createLog } from "./log.ts";
import { managerOf, ServiceNotices, statusLine } from "./systemd.ts";

const log = createLog({ format: "text", verbosity: 0, folder: null, stderr: "all" });
let sockets = 0;
const listen = () => new NotifySocket(`@sriovdp-notices-${process.pid}-${++sockets}`);
const state = { pools: 2, devices: 16, unhealthy: 0, configRejected: false };

test("without NOTIFY_SOCKET there is no manager, and nothing is sent", async () => {
  expect(managerOf({}, 1)).toBeNull();
  expect(managerOf({ NOTIFY_SOCKET: "", WATCHDOG_USEC: "1000" }, 1)).toBeNull();
  const notices = new ServiceNotices(null, () => true, log);
  notices.serving(state);
  let reloaded = false;
  await notices.reloading(async () => void (reloaded = true));
  expect(reloaded).toBeTrue();
  notices.close();
});

test("the watchdog applies when it names no process or this one", () => {
  const of = (variables: Record<string, string>) => managerOf({ NOTIFY_SOCKET: "@a", ...variables }, 42);
  expect(of({})).toEqual({ socket: "@a", watchdog: null });
  expect(of({ WATCHDOG_USEC: "30000000" })?.watchdog).toBe(30_000);
  expect(of({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "42" })?.watchdog).toBe(30_000);
  expect(of({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "7" })?.watchdog).toBeNull();
  for (const odd of ["0", "-1", "soon", ""]) expect(of({ WATCHDOG_USEC: odd })?.watchdog).toBeNull();
});

test("readiness is sent once, a status only when it changed", () => {
  using manager = listen();
  const notices = new ServiceNotices({ socket: manager.name, watchdog: null }, () => true, log);
  notices.waiting();
  notices.serving(state);
  notices.serving(state);
  notices.serving({ ...state, unhealthy: 3 });
  notices.close();
  manager.lines();
  expect(manager.received).toEqual([
    ["READY=1", "STATUS=waiting for the kubelet"],
    ["STATUS=2 pools, 16 devices"],
    ["STATUS=2 pools, 16 devices, 3 of them unhealthy"],
    ["STOPPING=1", "STATUS=ending"],
  ]);
});

test("a reload is sent with its time, and its end; before readiness it is not sent", async () => {
  using manager = listen();
  const notices = new ServiceNotices({ socket: manager.name, watchdog: null }, () => true, log);
  await notices.reloading(async () => {});
  expect(manager.lines()).toEqual([]);
  notices.serving(state);
  await notices.reloading(async () => notices.serving({ ...state, configRejected: true }));
  expect(manager.lines().slice(2)).toEqual([
    "RELOADING=1",
    expect.stringMatching(/^MONOTONIC_USEC=[1-9]\d+$/),
    "STATUS=2 pools, 16 devices; config rejected; the previous config stays active",
    "READY=1",
  ]);
  notices.close();
});

test("signs of life come twice as often as they must while the plugin makes progress, and stay out while it doesn't", async () => {
  using manager = listen();
  let alive = true;
  const checks = { count: 0 };
  const isAlive = () => (checks.count++, alive);
  const notices = new ServiceNotices({ socket: manager.name, watchdog: 40 }, isAlive, log);
  await manager.waitFor(/^WATCHDOG=1$/, 3);
  alive = false;
  const before = manager.lines().length;
  const { count } = checks;
  await until("it is checked five times more", () => checks.count >= count + 5);
  expect(manager.lines()).toHaveLength(before);
  expect(before).toBe(count);
  alive = true;
  await manager.waitFor(/^WATCHDOG=1$/, before + 2);
  notices.close();
});

test("one pool and one device are not written as many", () => {
  expect(statusLine({ ...state, pools: 1, devices: 1 })).toBe("1 pool, 1 device");
});

test("a manager that is gone costs a warning, not the plugin", () => {
  const notices = new ServiceNotices({ socket: "/nowhere/notify", watchdog: null }, () => true, log);
  expect(() => notices.serving(state)).not.toThrow();
  notices.close();
});

test("reloads that are requested while one is under way are one more reload, whose end is sent last", async () => {
  using manager = listen();
  const notices = new ServiceNotices({ socket: manager.name, watchdog: null }, () => true, log);
  notices.serving(state);
  const { promise: underWay, resolve: end } = Promise.withResolvers<void>();
  let reloads = 0;
  const reload = () => (++reloads === 1 ? underWay : Promise.resolve());
  const first = notices.reloading(reload);
  for (let request = 0; request < 100; request++) await notices.reloading(reload);
  end();
  await first;
  expect(reloads).toBe(2);
  const lines = manager.lines().filter((line) => /^(READY|RELOADING)/.test(line));
  expect(lines).toEqual(["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]);
  notices.close();
});
