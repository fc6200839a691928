import { expect, test } from "bun:test";
import { context } from "../../test/support/published-slices.ts";
import { aPool, aVf } from "../../test/support/published-slices.ts";
import { sliceProblems } from "../../test/support/resource-api.ts";
import { firstDelay, publisherTimes } from "./publisher-times.ts";
import { publishingProblem } from "./publishing-problem.ts";
import { isTainted, needsTaints, taintProbe } from "./taint-support.ts";

test("a missing right is named by its rule", () => {
  const message = "POST /apis/resource.k8s.io/v1/resourceslices: 403 no";
  expect(publishingProblem("create", { kind: "forbidden", message })).toBe(
    `${message}; the rule is {"apiGroups":["resource.k8s.io"],"resources":["resourceslices"],"verbs":["create"]}`,
  );
  expect(publishingProblem("watch", { kind: "forbidden", message })).toEndWith('"verbs":["list","watch"]}');
  expect(publishingProblem("node", { kind: "forbidden", message })).toEndWith(
    '{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}',
  );
});

test("other failures say what to do where it is known", () => {
  expect(publishingProblem("node", { kind: "notFound", message: "m" })).toBe(
    "m; check that --node-name is the name of the Node",
  );
  expect(publishingProblem("create", { kind: "alreadyExists", message: "m" })).toContain("delete it");
  expect(publishingProblem("create", { kind: "unavailable", message: "m" })).toBe("m");
});

test("the first slices of a fleet are spread over the time that there is", () => {
  const { firstPublication } = publisherTimes;
  const delays = Array.from({ length: 15_000 }, (_, index) =>
    firstDelay(`node-${index}.example.com`, firstPublication),
  );
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...delays)).toBeLessThanOrEqual(firstPublication);
  const seconds = Map.groupBy(delays, (delay) => Math.min(29, Math.floor(delay / 1000)));
  // 500 a second on average.
  for (let second = 0; second < 30; second++) {
    expect(seconds.get(second)?.length ?? 0).toBeGreaterThan(400);
    expect(seconds.get(second)?.length ?? 0).toBeLessThan(600);
  }
  expect(firstDelay("node-1", 0)).toBe(0);
});

test("the probe for taints is a slice that the API takes, for a node with the longest name, too", () => {
  for (const name of ["node-a", `${"n".repeat(240)}.example.com`]) {
    const probe = taintProbe({ driver: context.driver, node: { name, uid: "u" } });
    expect([sliceProblems(probe), isTainted(probe)]).toEqual([[], true]);
    expect(probe.spec).toMatchObject({ driver: context.driver, nodeName: name });
  }
});

test("taints are needed for devices that are Unhealthy or held elsewhere", () => {
  const { id } = aVf(0);
  expect(needsTaints([aPool([aVf(0)])], new Set())).toBe(false);
  expect(needsTaints([aPool([aVf(0)], [id])], new Set())).toBe(true);
  expect(needsTaints([aPool([aVf(0)])], new Set([id]))).toBe(true);
  expect(needsTaints([aPool([aVf(0)])], new Set(["0000:00:00.0"]))).toBe(false);
});
