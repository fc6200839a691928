import { expect, test } from "bun:test";
import * as libc from "./libc.ts";

const thrownBy = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return error;
  }
};

test("a failed system call is reported with its name and reason", () => {
  const error = thrownBy(() => libc.socket(libc.AF_NETLINK, libc.SOCK_RAW, 31));
  expect(error).toBeInstanceOf(libc.SystemError);
  expect(error).toMatchObject({
    syscall: "socket",
    code: "EPROTONOSUPPORT",
    errno: 93,
    message: "socket: EPROTONOSUPPORT",
  });
});

test("an errno keeps the kernel's name where two names share it, and a number where it has none", () => {
  expect([libc.errnoName(1), libc.errnoName(11), libc.errnoName(95), libc.errnoName(105), libc.errnoName(524)]).toEqual(
    ["EPERM", "EAGAIN", "EOPNOTSUPP", "ENOBUFS", "ENOTSUPP"],
  );
  expect(libc.errnoName(9999)).toBe("errno 9999");
});

test("the reason is right whatever else the runtime does meanwhile", () => {
  for (let round = 0; round < 2000; round++) {
    if (round % 500 === 0) Bun.gc(true);
    expect(libc.access("/nowhere")).toBe(-2);
    expect(libc.open("/proc/self/status/below", libc.O_RDONLY)).toBe(-20);
  }
});

test("a path that can't be one is refused without asking the kernel", () => {
  expect(libc.access("/sys\0/kernel")).toBe(-22);
  expect(libc.access(`/${"x".repeat(5000)}`)).toBe(-36);
  expect(libc.access(`/${"ü".repeat(2048)}`)).toBe(-36);
});
