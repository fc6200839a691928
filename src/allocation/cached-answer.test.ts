import { expect, test } from "bun:test";
import { type CachedAnswer, staleAnswers } from "./cached-answer.ts";

const vfio = "/dev/vfio/vfio";
const answer = (nodes: readonly string[], ids: readonly string[] = ["a"], namesCdiDevices = false): CachedAnswer => ({
  resource: "x/y",
  pod: "uid",
  ids,
  nodes,
  namesCdiDevices,
});

test.each<[string, CachedAnswer, Record<string, readonly string[] | null>, readonly string[]]>([
  ["the same nodes", answer([vfio, "/dev/vfio/12"]), { a: [vfio, "/dev/vfio/12"] }, []],
  ["another group", answer([vfio, "/dev/vfio/12"]), { a: [vfio, "/dev/vfio/13"] }, ["a"]],
  ["a node that the device has no more", answer([vfio, "/dev/vfio/12"]), { a: [] }, ["a"]],
  ["no node where there is one now", answer([]), { a: [vfio, "/dev/vfio/12"] }, ["a"]],
  ["no node for a kernel device", answer([]), { a: [] }, []],
  ["one node of several another", answer(["/dev/u0", "/dev/m0"]), { a: ["/dev/u0", "/dev/m1"] }, ["a"]],
  [
    "two devices of which one moved",
    answer(["/dev/1", "/dev/2"], ["a", "b"]),
    { a: ["/dev/1"], b: ["/dev/3"] },
    ["a", "b"],
  ],
  ["two devices that changed places", answer(["/dev/1", "/dev/2"], ["a", "b"]), { a: ["/dev/2"], b: ["/dev/1"] }, []],
  ["a neighbor that is in another pool now", answer(["/dev/1", "/dev/2"], ["a", "b"]), { a: ["/dev/1"], b: null }, []],
  ["a device that is in another pool now", answer(["/dev/1"]), { a: null }, []],
  ["a shared node that is missing now", answer(["/dev/vhost-net", "/dev/net/tun"]), { a: [] }, []],
  ["CDI names, which are resolved when the container starts", answer([], ["a"], true), { a: ["/dev/vfio/13"] }, []],
])("a cached answer with %s", (_, cached, now, stale) => {
  const found = staleAnswers([cached], (resource, id) => (resource === "x/y" ? (now[id] ?? null) : null));
  expect([...found.keys()]).toEqual([...stale]);
});

test("says which nodes differ, and whose pod it is", () => {
  const [found] = staleAnswers([answer([vfio, "/dev/vfio/12"])], () => [vfio, "/dev/vfio/13"]).values();
  expect(found).toEqual({
    resource: "x/y",
    pod: "uid",
    reason: "pod uid would be restarted with /dev/vfio/12, and it is /dev/vfio/13 now",
  });
});
