import { describe, expect, test } from "bun:test";
import {
  admissionGrace,
  type AllocatedDevice,
  decideAllocations,
  kubeletSettled,
  longestWithoutEvidence,
  recordDelay,
  type OwnAllocation,
  type PodEvidence,
} from "./decide-allocations.ts";

const now = 10_000_000;
const record = (id: string, pod: string, resource = "x/a") => ({ resource, id, pod, container: "main" });
const named = (id: string, resource = "x/a") => ({ resource, id, pod: "default/p", container: "main" });
const own = (overrides: Partial<OwnAllocation> = {}): [string, OwnAllocation] => [
  "v",
  { resource: "x/a", at: now - 1000, recorded: false, seenAlive: false, ...overrides },
];
const before = (overrides: Partial<AllocatedDevice> = {}): AllocatedDevice => ({
  ...record("v", "uid"),
  evidence: "pod-resources",
  uid: "uid",
  namedAt: now - 1000,
  ...overrides,
});
const nothing: PodEvidence = {
  now,
  checkpoint: [],
  podResources: null,
  podCgroups: new Set(),
  inUse: new Map(),
  own: new Map(),
  kubeletSince: 0,
};

interface Row {
  readonly what: string;
  readonly evidence: Partial<PodEvidence>;
  readonly before?: AllocatedDevice;
  /** The resource and the evidence of "v"; null when it is free. */
  readonly decided: readonly [resource: string, evidence: string] | null;
}

const rows = (title: string, base: Partial<PodEvidence>, all: readonly Row[]) =>
  describe(title, () => {
    test.each(all)("$what", ({ evidence, before: earlier, decided }) => {
      const known = new Map(earlier ? [["v", earlier]] : []);
      const found = decideAllocations({ ...nothing, ...base, ...evidence }, known).get("v");
      expect(found ? [found.resource, found.evidence] : null).toEqual(decided as never);
    });
  });

rows("where pods' cgroups are visible", {}, [
  {
    what: "what the checkpoint records for a pod with a cgroup is allocated",
    evidence: { checkpoint: [record("v", "uid")], podCgroups: new Set(["uid"]) },
    decided: ["x/a", "pod cgroup"],
  },
  {
    what: "what it records for a pod without one is free: the pod ended, or the node was rebooted",
    evidence: { checkpoint: [record("v", "uid")], podCgroups: new Set(["other"]) },
    decided: null,
  },
  {
    what: "of two records the running pod's counts, whichever comes first",
    evidence: {
      checkpoint: [record("v", "ended"), record("v", "uid", "x/b"), record("v", "gone", "x/c")],
      podCgroups: new Set(["uid"]),
    },
    decided: ["x/b", "pod cgroup"],
  },
  {
    what: "what pod-resources names is allocated, cgroup or not",
    evidence: { podResources: [named("v")] },
    decided: ["x/a", "pod-resources"],
  },
  {
    what: "what pod-resources leaves out, as pods in init containers, is allocated while the pod has its cgroup",
    evidence: { podResources: [], checkpoint: [record("v", "uid")], podCgroups: new Set(["uid"]) },
    decided: ["x/a", "pod cgroup"],
  },
  {
    what: "what pod-resources stopped naming is free when the cgroup is gone, though the checkpoint records it",
    evidence: { podResources: [], checkpoint: [record("v", "uid")] },
    before: before(),
    decided: null,
  },
  {
    what: "what the checkpoint dropped stays allocated while the pod has its cgroup",
    evidence: { podResources: [], podCgroups: new Set(["uid"]) },
    before: before(),
    decided: ["x/a", "pod cgroup"],
  },
  {
    what: "what pod-resources named before the checkpoint recorded it is free when its pod has no cgroup",
    evidence: { podResources: [], checkpoint: [record("v", "uid")], kubeletSince: now },
    before: before({ uid: null }),
    decided: null,
  },
  {
    what: "and when the kubelet has dropped the record",
    evidence: { podResources: [], kubeletSince: now },
    before: before({ uid: null }),
    decided: null,
  },
  {
    what: "but not while the record can't be read and the kubelet has just started",
    evidence: { podResources: [], checkpoint: null, kubeletSince: now },
    before: before({ uid: null }),
    decided: ["x/a", "named before"],
  },
  {
    what: "what was allocated a moment ago is allocated",
    evidence: { own: new Map([own()]) },
    decided: ["x/a", "allocated here"],
  },
  {
    what: "an allocation whose pod never got a cgroup is free in the end",
    evidence: { own: new Map([own({ at: now - admissionGrace - 1 })]), checkpoint: [record("v", "uid")] },
    decided: null,
  },
  {
    what: "an allocation whose pod was seen alive is free when its cgroup is gone, however short it lived",
    evidence: { own: new Map([own({ seenAlive: true, recorded: true })]), checkpoint: [record("v", "uid")] },
    decided: null,
  },
  {
    what: "an allocation that the kubelet has recorded counts for a moment, where it does not name its pods",
    evidence: { own: new Map([own()]), checkpoint: [record("v", "uid")] },
    decided: ["x/a", "allocated here"],
  },
  {
    what: "and is free where it names its pods, and not this one: the pod has ended already",
    evidence: { own: new Map([own()]), checkpoint: [record("v", "uid")], podResources: [named("w")] },
    decided: null,
  },
  {
    what: "but not before the kubelet can have recorded it: the record may be of the pod that had it before",
    evidence: {
      own: new Map([own({ at: now - recordDelay + 1 })]),
      checkpoint: [record("v", "uid")],
      podResources: [],
    },
    decided: ["x/a", "allocated here"],
  },
  {
    what: "an allocation that the kubelet took back is free at once",
    evidence: { own: new Map([own({ recorded: true })]) },
    decided: null,
  },
  {
    what: "an allocation that was recorded counts on when the checkpoint can't be read",
    evidence: { own: new Map([own({ recorded: true })]), checkpoint: null, podResources: [] },
    decided: ["x/a", "allocated here"],
  },
  {
    what: "a fresh allocation counts before what an ended pod left",
    evidence: { own: new Map([own({ resource: "x/b" })]), checkpoint: [record("v", "uid")] },
    before: before(),
    decided: ["x/b", "allocated here"],
  },
]);

rows("where pods' cgroups are not visible", { podCgroups: null }, [
  { what: "the checkpoint alone is not evidence", evidence: { checkpoint: [record("v", "uid")] }, decided: null },
  {
    what: "what the checkpoint records and shows a sign of use is allocated",
    evidence: { checkpoint: [record("v", "uid")], inUse: new Map([["v", "its VFIO device is open"]]) },
    decided: ["x/a", "in use"],
  },
  {
    what: "a sign of use keeps a device where it was though the checkpoint has another resource",
    evidence: { checkpoint: [record("v", "uid", "x/b")], inUse: new Map([["v", "…"]]) },
    before: before({ evidence: "in use", namedAt: null }),
    decided: ["x/a", "in use"],
  },
  { what: "a sign of use alone names no pool", evidence: { inUse: new Map([["v", "…"]]) }, decided: null },
  {
    what: "an allocation of this process counts while the checkpoint records it",
    evidence: { own: new Map([own({ at: now - longestWithoutEvidence })]), checkpoint: [record("v", "uid")] },
    decided: ["x/a", "allocated here"],
  },
  {
    what: "for an hour at most",
    evidence: { own: new Map([own({ at: now - longestWithoutEvidence - 1 })]), checkpoint: [record("v", "uid")] },
    decided: null,
  },
  {
    what: "and not when the checkpoint has dropped it",
    evidence: { own: new Map([own({ at: now - admissionGrace - 1, recorded: true })]) },
    decided: null,
  },
  {
    what: "what pod-resources names is allocated",
    evidence: { podResources: [named("v")], checkpoint: [record("v", "uid")] },
    decided: ["x/a", "pod-resources"],
  },
  {
    what: "what it stopped naming stays while the kubelet has just started",
    evidence: { podResources: [], kubeletSince: now - kubeletSettled + 1 },
    before: before(),
    decided: ["x/a", "named before"],
  },
  {
    what: "and while the checkpoint records it",
    evidence: { podResources: [], checkpoint: [record("v", "uid")] },
    before: before(),
    decided: ["x/a", "named before"],
  },
  {
    what: "and while the kubelet does not answer",
    evidence: { podResources: null },
    before: before(),
    decided: ["x/a", "named before"],
  },
  { what: "but no longer than that", evidence: { podResources: [] }, before: before(), decided: null },
  {
    what: "and for an hour at most",
    evidence: { podResources: null },
    before: before({ namedAt: now - longestWithoutEvidence - 1 }),
    decided: null,
  },
]);

test("says whose pod it is: by name where the kubelet has it, with the UID that the checkpoint records", () => {
  const evidence = {
    ...nothing,
    checkpoint: [record("v", "ended"), record("v", "uid"), record("w", "static")],
    podResources: [named("v")],
    podCgroups: new Set(["uid", "static"]),
  };
  const decided = decideAllocations(evidence, new Map());
  expect(decided.get("v")).toMatchObject({ pod: "default/p", uid: "uid", namedAt: now });
  expect(decided.get("w")).toMatchObject({ pod: "static", uid: "static", namedAt: null });
  // Its name is remembered when the kubelet is away.
  const later = decideAllocations({ ...evidence, podResources: null }, decided);
  expect(later.get("v")).toMatchObject({ pod: "default/p", uid: "uid", evidence: "pod cgroup" });
});

{
  const claimed = { ...named("v", "dra.example.com"), isClaimed: true };
  const known = before({ ...claimed, uid: null });
  rows("a device of a claim, which no record of the kubelet names", { kubeletSince: now - kubeletSettled }, [
    {
      what: "is allocated as long as the kubelet names its pod",
      evidence: { podResources: [claimed] },
      decided: ["dra.example.com", "pod-resources"],
    },
    {
      what: "stays allocated while the kubelet does not answer",
      evidence: { podResources: null },
      before: known,
      decided: ["dra.example.com", "named before"],
    },
    {
      what: "stays allocated while a kubelet that started just now names no pod",
      evidence: { podResources: [], kubeletSince: now - kubeletSettled + 1 },
      before: known,
      decided: ["dra.example.com", "named before"],
    },
    {
      what: "is free when the kubelet no longer names its pod",
      evidence: { podResources: [] },
      before: known,
      decided: null,
    },
  ]);
}
