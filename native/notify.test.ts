import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { NotifySocket } from "../test/support/notify-socket.ts";
import { removeTemporaryFolder, temporaryFolder } from "../test/support/plugin.ts";
import { SystemError } from "./libc.ts";
import { monotonicMicroseconds, notify, unixAddress } from "./notify.ts";

test.each(["path", "abstract"])("lines arrive as one datagram at a socket with a name of kind: %s", (kind) => {
  const folder = temporaryFolder();
  try {
    using manager = new NotifySocket(kind === "path" ? `${folder}/notify` : `@sriovdp-test-${process.pid}`);
    notify(manager.name, ["READY=1", "STATUS=3 pools, 24 devices"]);
    notify(manager.name, ["WATCHDOG=1"]);
    manager.lines();
    expect(manager.received).toEqual([["READY=1", "STATUS=3 pools, 24 devices"], ["WATCHDOG=1"]]);
  } finally {
    removeTemporaryFolder(folder);
  }
});

test("a name is a path or abstract, and fits the kernel's structure", () => {
  expect(unixAddress("/run/systemd/notify")?.length).toBe(21);
  expect(unixAddress("@a")).toEqual(new Uint8Array([1, 0, 0, 97]));
  expect(unixAddress(`/${"x".repeat(107)}`)?.length).toBe(110);
  for (const name of ["", "/", "@", "relative", "vsock:2:1234", `/${"x".repeat(108)}`])
    expect(unixAddress(name)).toBeNull();
});

test("a manager that is away is an error, not a silence", () => {
  expect(() => notify("/nowhere/notify", ["READY=1"])).toThrow(SystemError);
  expect(() => notify("vsock:2:1234", ["READY=1"])).toThrow("NOTIFY_SOCKET is neither");
});

test("a manager that doesn't read keeps us no longer than a second", () => {
  using manager = new NotifySocket(`@sriovdp-full-${process.pid}`);
  const started = performance.now();
  expect(() => {
    for (let count = 0; count < 100_000; count++) notify(manager.name, ["WATCHDOG=1"]);
  }).toThrow("EAGAIN");
  expect(performance.now() - started).toBeLessThan(5000);
});

test("the time of a reload is that of the clock which the manager compares it with", () => {
  const first = monotonicMicroseconds();
  const uptime = Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
  // It stops while the machine sleeps, which the uptime does not.
  expect(first).toBeGreaterThan(0n);
  expect(Number(first) / 1e6).toBeLessThan(uptime + 0.02);
  expect(monotonicMicroseconds()).toBeGreaterThanOrEqual(first);
});
