import { describe, expect, test } from "bun:test";
import { aPool, context, served, vfs, written } from "../../test/support/published-slices.ts";
import {
  answeredSlice,
  currentSlices,
  deletedSlice,
  isLaterVersion,
  lastDevicesOf,
  remainingSlices,
  watchedSlices,
} from "./found-slices.ts";
import type { ResourceSlice } from "./resource-slice.ts";
import { desiredSlices } from "./slices.ts";

const owner = { driver: context.driver, node: context.node.name };
const [base] = written([], desiredSlices([aPool(vfs(1))], context), context);
const aSlice = (resourceVersion: string, own: Partial<ResourceSlice["metadata"]> = {}): ResourceSlice => {
  const slice = base ?? served({} as ResourceSlice);
  return { ...slice, metadata: { ...slice.metadata, name: "s", uid: "u", resourceVersion, ...own } };
};
const byName = (...slices: readonly ResourceSlice[]) => new Map(slices.map((slice) => [slice.metadata.name, slice]));
const versions = (slices: readonly ResourceSlice[]) =>
  slices.map(({ metadata: { name, resourceVersion } }) => `${name}@${resourceVersion}`);

test.each([
  ["10", "9", true],
  ["9", "10", false],
  ["10", "10", false],
  ["9223372036854775807", "9223372036854775806", true],
  ["1", "0", true],
  ["", "1", false],
  ["abc", "1", false],
  ["5", "abc", false],
  ["-5", "1", false],
  ["007", "1", false],
])("version %p is later than %p: %p", (a, b, isLater) => {
  expect(isLaterVersion(a, b)).toBe(isLater);
});

describe("the slices that are there", () => {
  const empty = watchedSlices(null, new Map(), "100", owner);

  test("include the answer to a write until the watch has reached it", () => {
    const answered = answeredSlice(empty, aSlice("105"));
    expect(versions(currentSlices(answered))).toEqual(["s@105"]);
    // An event about something else, from before the write.
    const earlier = watchedSlices(answered, byName(aSlice("103", { name: "t", uid: "v" })), "103", owner);
    expect(versions(currentSlices(earlier))).toEqual(["t@103", "s@105"]);
    const reached = watchedSlices(earlier, byName(aSlice("105")), "105", owner);
    expect([versions(currentSlices(reached)), reached.answers.size]).toEqual([["s@105"], 0]);
  });

  test("do not include what was created and deleted before the answer came", () => {
    const deleted = watchedSlices(watchedSlices(empty, byName(aSlice("105")), "105", owner), new Map(), "110", owner);
    expect(currentSlices(answeredSlice(deleted, aSlice("105")))).toEqual([]);
  });

  test("do not include an answer that the watch has passed: it was deleted", () => {
    const passed = watchedSlices(answeredSlice(empty, aSlice("105")), new Map(), "110", owner);
    expect(currentSlices(passed)).toEqual([]);
  });

  test("are the later ones of the watch and the answers", () => {
    const before = watchedSlices(null, byName(aSlice("104")), "104", owner);
    expect(versions(currentSlices(answeredSlice(before, aSlice("106"))))).toEqual(["s@106"]);
    const later = watchedSlices(before, byName(aSlice("107")), "107", owner);
    expect(versions(currentSlices(answeredSlice(later, aSlice("106"))))).toEqual(["s@107"]);
  });

  test("are those of the watch alone when versions are no numbers", () => {
    const before = watchedSlices(null, new Map(), "x1", owner);
    expect(currentSlices(answeredSlice(before, aSlice("x2")))).toEqual([]);
  });

  test("of which one is deleted remain until the watch shows that they are gone, but are not ours any more", () => {
    const before = answeredSlice(watchedSlices(null, byName(aSlice("104")), "104", owner), aSlice("106"));
    const deleted = deletedSlice(before, aSlice("106"));
    expect(versions(currentSlices(deleted))).toEqual(["s@104"]);
    expect(remainingSlices(deleted)).toEqual([]);
    const again = watchedSlices(deleted, byName(aSlice("108", { uid: "new" })), "108", owner);
    expect(versions(remainingSlices(again))).toEqual(["s@108"]);
    expect(again.deleted.size).toBe(0);
  });

  test("are of this node and driver only", () => {
    const slice = aSlice("101");
    const others = byName(
      { ...slice, spec: { ...slice.spec, nodeName: "node-b" } },
      { ...slice, metadata: { ...slice.metadata, name: "t" }, spec: { ...slice.spec, driver: "other.example.com" } },
      { ...slice, metadata: { ...slice.metadata, name: "u" }, spec: { ...slice.spec, nodeName: undefined } },
    );
    expect(currentSlices(watchedSlices(null, others, "101", owner))).toEqual([]);
  });
});

test("devices of slices that are gone are remembered as long as those are desired", () => {
  const slice = aSlice("1");
  const devices = slice.spec.devices ?? [];
  const known = lastDevicesOf(new Map(), [slice], new Set(["s"]));
  expect(lastDevicesOf(known, [], new Set(["s"])).get("s")).toEqual(devices);
  expect(lastDevicesOf(known, [], new Set()).size).toBe(0);
});
