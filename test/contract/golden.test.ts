import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { expected, goldenNames, observe, readGolden } from "./golden.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

describe.concurrent.each(goldenNames())("everything that is given of the node %s", (name) => {
  const golden = readGolden(name);
  test.each([
    ["device nodes", "watcher", false],
    ["device nodes, to a kubelet without a plugin watcher", "legacy", false],
    ["CDI names", "watcher", true],
    ["CDI names, to a kubelet without a plugin watcher", "legacy", true],
  ] as const)("is as its users expect it: %s", async (_, mode, useCdi) => {
    expect(await observe(golden, mode, useCdi)).toEqual(expected(golden, useCdi));
  });
});
