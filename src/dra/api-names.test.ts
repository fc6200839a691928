import { expect, test } from "bun:test";
import { driverNameProblem, resourceProblem, shortened, withHash } from "./api-names.ts";

test.each(["sriovdp.example.com", "a", "sriovnetwork.k8snetworkplumbingwg.io", "a-1.b2", "a".repeat(63)])(
  "%s can be a driver's name",
  (name) => expect(driverNameProblem(name)).toBeNull(),
);

test.each(["", "A.com", "1.com", "a..b", "a.", ".a", "-a", "a-.b", "a_b", "a/b", "a b", "a".repeat(64)])(
  "%p can't be a driver's name, with the reason",
  (name) => expect(driverNameProblem(name)).toStartWith("must "),
);

test("a resource can be published up to 64 bytes", () => {
  expect(resourceProblem(`intel.com/${"a".repeat(54)}`)).toBeNull();
  expect(resourceProblem(`intel.com/${"a".repeat(55)}`)).toContain("at most 64 bytes");
});

test("a name that fits is kept, and a longer one is cut to fit, and stays a name", () => {
  expect(shortened("a.b", 20)).toBe("a.b");
  for (const text of ["a".repeat(100), `${"a".repeat(5)}.-.${"b".repeat(100)}`, "a.".repeat(50)]) {
    const short = shortened(text, 20);
    expect(short.length).toBeLessThanOrEqual(20);
    expect(short).toMatch(/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/);
  }
});

test("names that differ only behind the cut stay different", () => {
  const names = Array.from({ length: 1000 }, (_, index) => shortened(`${"a".repeat(60)}${index}`, 40));
  expect(new Set(names).size).toBe(1000);
  expect(withHash("a", "A", 40)).not.toBe(withHash("a", "a", 40));
});
