import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { expected, goldenNames, observe, readGolden } from "./golden.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

// How a pool is registered does not affect what the kubelet gets: each way of handing out devices goes with one mode.
const modes = ["watcher", "legacy"] as const;
const cases = goldenNames().flatMap((name, index) =>
  [false, true].map((useCdi) => ({
    name,
    useCdi,
    by: useCdi ? "CDI" : "device nodes",
    mode: modes[(index + Number(useCdi)) % 2] ?? "watcher",
  })),
);

describe.concurrent("everything that is given to pods is as its users expect it", () => {
  test.each(cases)("$name, by $by, $mode", async ({ name, useCdi, mode }) => {
    const golden = readGolden(name);
    expect(await observe(golden, mode, useCdi)).toEqual(expected(golden, useCdi));
  });
});
