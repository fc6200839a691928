import { describe, expect, test } from "bun:test";
import {
  type AttemptFacts,
  decide,
  type Decision,
  type Facts,
  nextStep,
  noProgress,
  type Progress,
  type RegistrationEvent,
  type Stage,
  type Step,
} from "./registration.ts";

describe("the next step of an attempt", () => {
  const facts: AttemptFacts = {
    mode: "legacy",
    hasFolder: true,
    place: "ours",
    isServed: false,
    wasBound: true,
    isNew: false,
    hasKubeletStream: false,
    kubelet: "k1",
  };
  const register: Step = { kind: "register", kubelet: "k1" };
  const reappear: Step = { kind: "announce", reappears: true };
  const announce: Step = { kind: "announce", reappears: false };

  test.each<[what: string, facts: Partial<AttemptFacts>, Step]>([
    ["the folder is missing", { hasFolder: false, place: "empty" }, { kind: "wait", for: "folder" }],
    ["nothing is at the path", { place: "empty" }, { kind: "bind" }],
    [
      "the plugin starts where another instance serves",
      { place: "foreign", isServed: true, wasBound: false },
      { kind: "bind" },
    ],
    ["another instance serves in our place", { place: "foreign", isServed: true }, { kind: "standby" }],
    ["another instance was killed in our place", { place: "foreign" }, { kind: "bind" }],
    ["the socket was bound in this attempt", { isNew: true }, register],
    ["it was replaced since, in the same attempt", { isNew: true, place: "foreign", isServed: true }, register],
    ["the socket is in place", {}, register],
    ["the kubelet's socket is missing", { kubelet: null }, { kind: "wait", for: "kubelet" }],
    ["a watching kubelet saw the socket, and does not connect", { mode: "watcher" }, reappear],
    ["a watching kubelet is connected", { mode: "watcher", hasKubeletStream: true }, announce],
    ["the socket is new for a watching kubelet", { mode: "watcher", isNew: true }, announce],
    ["a watching kubelet has no socket of its own", { mode: "watcher", kubelet: null }, reappear],
  ])("when %s", (_, given, step) => {
    expect(nextStep({ ...facts, ...given })).toEqual(step);
  });
});

const calm: Facts = { mode: "legacy", inPlace: true, hasKubeletStream: false, kubelet: "k1" };
const stageOf = (state: Stage["state"], reason: string | null = null) => ({ state, reason }) as Stage;
const at = (state: Stage["state"], rest: Partial<Progress> = {}): Progress => ({
  ...noProgress,
  stage: stageOf(state),
  calledAt: "k1",
  ...rest,
});
const running = { isOutdated: false, calling: null };
const follow = (progress: Progress, event: RegistrationEvent, facts: Partial<Facts> = {}): Decision =>
  decide(progress, event, { ...calm, ...facts });

describe("what comes next", () => {
  type Row = [what: string, Progress, RegistrationEvent, Partial<Facts>, Partial<Omit<Decision, "progress">>];
  const unchanged = { wait: "unchanged", begins: false, givesUp: false } as const;

  test.each<Row>([
    ["a start begins an attempt", noProgress, { kind: "due" }, {}, { begins: true }],
    ["a wait that is over begins one", at("waiting"), { kind: "due" }, {}, { begins: true }],
    ["a connected kubelet is left alone", at("connected"), { kind: "due" }, { hasKubeletStream: true }, {}],
    ["no attempt begins while one runs", at("waiting", { attempt: running }), { kind: "due" }, {}, {}],
    ["a change that concerns nothing", at("connected"), { kind: "foldersChanged" }, {}, {}],
    ["a socket that was removed", at("connected"), { kind: "foldersChanged" }, { inPlace: false }, { begins: true }],
    ["a restarted kubelet", at("connected"), { kind: "foldersChanged" }, { kubelet: "k2" }, { begins: true }],
    ["a kubelet that is gone", at("connected"), { kind: "foldersChanged" }, { kubelet: null }, {}],
    ["both gone", at("connected"), { kind: "foldersChanged" }, { kubelet: null, inPlace: false }, { begins: true }],
    [
      "a watching kubelet's own socket does not count",
      at("announced"),
      { kind: "foldersChanged" },
      { mode: "watcher", kubelet: "k2" },
      {},
    ],
    [
      "a call to a kubelet that is replaced is given up",
      at("waiting", { attempt: { isOutdated: false, calling: "k1" } }),
      { kind: "foldersChanged" },
      { kubelet: "k2" },
      { givesUp: true },
    ],
    [
      "a call to a kubelet that is gone is given up",
      at("waiting", { attempt: { isOutdated: false, calling: "k1" } }),
      { kind: "foldersChanged" },
      { kubelet: null },
      { givesUp: true },
    ],
    [
      "a call to a kubelet that is there goes on",
      at("waiting", { attempt: { isOutdated: false, calling: "k1" } }),
      { kind: "foldersChanged" },
      {},
      {},
    ],
    [
      "an attempt that announced the pool is followed by patience",
      at("announced", { attempt: running }),
      { kind: "attemptEnded", isAnnounced: true },
      {},
      { wait: "patience" },
    ],
    [
      "a failed attempt is followed by the back-off",
      at("waiting", { attempt: running }),
      { kind: "attemptEnded", isAnnounced: false },
      {},
      { wait: "backOff" },
    ],
    [
      "after an attempt nothing is waited for while the kubelet is connected",
      at("connected", { attempt: running }),
      { kind: "attemptEnded", isAnnounced: true },
      { hasKubeletStream: true },
      {},
    ],
    [
      "on standby the other instance is probed again, connected or not",
      at("standby", { attempt: running }),
      { kind: "attemptEnded", isAnnounced: false },
      { hasKubeletStream: true, inPlace: false },
      { wait: "standby" },
    ],
    [
      "an outdated attempt is followed by another one",
      at("announced", { attempt: { isOutdated: true, calling: null } }),
      { kind: "attemptEnded", isAnnounced: true },
      { kubelet: "k2" },
      { begins: true },
    ],
    [
      "not when it took in what had changed",
      at("announced", { attempt: { isOutdated: true, calling: null } }),
      { kind: "attemptEnded", isAnnounced: true },
      {},
      { wait: "patience" },
    ],
    [
      "a kubelet that calls GetInfo is given time",
      at("announced"),
      { kind: "infoRequested" },
      {},
      { wait: "patience" },
    ],
    ["a connected one needs none", at("connected"), { kind: "infoRequested" }, { hasKubeletStream: true }, {}],
    ["a rejection is retried", at("announced"), { kind: "rejected", reason: "no" }, {}, { wait: "backOff" }],
    ["a connected kubelet is not waited for", at("announced"), { kind: "connected" }, {}, { wait: "nothing" }],
    ["a disconnected one is", at("connected"), { kind: "disconnected" }, {}, { wait: "backOff" }],
    ["on standby only the other instance is", at("standby"), { kind: "disconnected" }, {}, { wait: "standby" }],
    [
      "a renewal waits for the end first",
      at("connected"),
      { kind: "renewalBegan", reason: "" },
      {},
      { wait: "nothing" },
    ],
    ["then for the kubelet's mark", at("waiting"), { kind: "streamsEnded" }, {}, { wait: "marking" }],
    ["not when it is connected again", at("connected"), { kind: "streamsEnded" }, { hasKubeletStream: true }, {}],
  ])("%s", (_, progress, event, facts, expected) => {
    const { wait, begins, givesUp } = follow(progress, event, facts);
    expect({ wait, begins, givesUp }).toEqual({ ...unchanged, ...expected });
  });
});

describe("the stage", () => {
  test.each<[Stage["state"], RegistrationEvent, Partial<Facts>, Stage["state"], reason: string | null]>([
    ["waiting", { kind: "kubeletMissing", reason: "/k is missing" }, {}, "waiting", "/k is missing"],
    ["waiting", { kind: "announced" }, {}, "announced", null],
    ["connected", { kind: "announced" }, { hasKubeletStream: true }, "connected", null],
    ["rejected", { kind: "announced" }, {}, "rejected", null],
    ["waiting", { kind: "confirmed" }, {}, "announced", null],
    ["rejected", { kind: "confirmed" }, {}, "announced", null],
    ["connected", { kind: "confirmed" }, { hasKubeletStream: true }, "connected", null],
    ["announced", { kind: "rejected", reason: "no" }, {}, "rejected", "no"],
    ["connected", { kind: "rejected", reason: "no" }, { hasKubeletStream: true }, "connected", null],
    ["waiting", { kind: "attemptFailed", reason: "no" }, {}, "rejected", "no"],
    ["waiting", { kind: "attemptFailed", reason: "full" }, { inPlace: false }, "failed", "full"],
    ["connected", { kind: "attemptFailed", reason: "no" }, { hasKubeletStream: true }, "connected", null],
    ["announced", { kind: "connected" }, { hasKubeletStream: true }, "connected", null],
    ["connected", { kind: "disconnected" }, {}, "waiting", "the kubelet has disconnected"],
    ["connected", { kind: "renewalBegan", reason: "why" }, {}, "waiting", "why"],
    ["connected", { kind: "standbyBegan" }, {}, "standby", null],
    ["standby", { kind: "standbyEnded" }, {}, "waiting", "the other instance has ended"],
    ["announced", { kind: "standbyEnded" }, {}, "announced", null],
  ])("%s, when there is %p with %p, is %s", (state, event, facts, next, reason) => {
    expect(follow(at(state), event, facts).progress.stage).toEqual(stageOf(next, reason));
  });

  test("only an attempt ends standby", () => {
    const events: RegistrationEvent[] = [
      { kind: "due" },
      { kind: "foldersChanged" },
      { kind: "kubeletMissing", reason: "" },
      { kind: "announced" },
      { kind: "confirmed" },
      { kind: "rejected", reason: "" },
      { kind: "attemptFailed", reason: "" },
      { kind: "attemptEnded", isAnnounced: false },
      { kind: "infoRequested" },
      { kind: "connected" },
      { kind: "disconnected" },
      { kind: "renewalBegan", reason: "" },
      { kind: "streamsEnded" },
    ];
    for (const event of events) expect(follow(at("standby"), event).progress.stage.state).toBe("standby");
  });
});

test("a kubelet that Register did not reach is called again at the next sign of it", () => {
  const called = follow(at("waiting", { attempt: running, calledAt: null }), {
    kind: "callBegan",
    kubelet: "k1",
  }).progress;
  expect(called).toMatchObject({ calledAt: "k1", attempt: { calling: "k1" } });
  const after = (isReached: boolean) => follow(called, { kind: "callEnded", isReached }).progress;
  expect(after(true)).toMatchObject({ calledAt: "k1", attempt: { calling: null } });
  expect(after(false)).toMatchObject({ calledAt: null, attempt: { calling: null } });
  const ended = (isReached: boolean) => follow(after(isReached), { kind: "attemptEnded", isAnnounced: false }).progress;
  expect(follow(ended(true), { kind: "foldersChanged" }).begins).toBe(false);
  expect(follow(ended(false), { kind: "foldersChanged" }).begins).toBe(true);
});

test.each<RegistrationEvent>([{ kind: "bound" }, { kind: "renewalBegan", reason: "" }])(
  "after %p Register must be called again",
  (event) => {
    expect(follow(at("connected"), event).progress.calledAt).toBeNull();
  },
);
