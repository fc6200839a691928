// How is a pool registered with the kubelet, and what comes next? Pure: what happened, and the facts of that moment, give the next progress and
// what to do and to wait for. The plugin server reads the facts and acts.

import type { SocketPlace } from "./pool-socket.ts";
import type { RegistrationMode } from "./kubelet-paths.ts";

/**
 * "waiting": the kubelet is missing, or has disconnected. "announced": the kubelet can know of the socket, and has no ListAndWatch
 * stream yet. "connected": it has one. "rejected": it rejected the pool, or did not answer. "failed": the pool's own socket can't be
 * made. "standby": another instance serves the pool.
 */
export const registrationStates = ["waiting", "announced", "connected", "rejected", "failed", "standby"] as const;
export type RegistrationState = (typeof registrationStates)[number];

/** A pool's registration as status and metrics show it. Times are milliseconds since 1970. */
export interface Registration {
  readonly state: RegistrationState;
  /** Why it is so; null when it needs none. */
  readonly reason: string | null;
  readonly since: number;
  /** Since the start: registrations that the kubelet confirmed, those that failed, and when the last one was confirmed. */
  readonly registrations: number;
  readonly failures: number;
  readonly lastAt: number | null;
  /** Open ListAndWatch streams. */
  readonly streams: number;
}

/** What an attempt to register needs to know before each of its steps. */
export interface AttemptFacts {
  readonly mode: RegistrationMode;
  readonly hasFolder: boolean;
  readonly place: SocketPlace;
  /** Whether a process listens at the path; only known, and only of interest, while the place is foreign. */
  readonly isServed: boolean;
  /** Whether this server had bound its socket before the attempt: what is foreign has replaced it then. */
  readonly wasBound: boolean;
  /** Whether it was bound in this attempt. */
  readonly isNew: boolean;
  readonly hasKubeletStream: boolean;
  /** The identity of the kubelet's socket; null when it is missing. */
  readonly kubelet: string | null;
}

/** A step of an attempt to register; all but "bind" end it. */
export type Step =
  | { readonly kind: "wait"; readonly for: "folder" | "kubelet" }
  | { readonly kind: "standby" }
  | { readonly kind: "bind" }
  /** For a kubelet that watches the folder: the socket is in place; it is taken out and put back when it was before. */
  | { readonly kind: "announce"; readonly reappears: boolean }
  | { readonly kind: "register"; readonly kubelet: string };

/** The next step of an attempt. An instance that starts takes the pool; one whose socket was replaced leaves it to the process that listens there. */
export function nextStep(facts: AttemptFacts): Step {
  if (!facts.isNew) {
    if (!facts.hasFolder) return { kind: "wait", for: "folder" };
    if (facts.wasBound && facts.place === "foreign" && facts.isServed) return { kind: "standby" };
    if (facts.place !== "ours") return { kind: "bind" };
  }
  if (facts.mode === "watcher") return { kind: "announce", reappears: !facts.isNew && !facts.hasKubeletStream };
  return facts.kubelet === null ? { kind: "wait", for: "kubelet" } : { kind: "register", kubelet: facts.kubelet };
}

/** How far the registration of a pool has come. */
export type Stage =
  | { readonly state: "waiting" | "rejected" | "failed"; readonly reason: string | null }
  | { readonly state: "announced" | "connected" | "standby"; readonly reason: null };

/** The registration of a pool at one moment. */
export interface Progress {
  readonly stage: Stage;
  /** The attempt that is running: whether another one must follow it, and which kubelet's answer to Register it awaits. */
  readonly attempt: { readonly isOutdated: boolean; readonly calling: string | null } | null;
  /** The kubelet that was called, by the identity of its socket; null when Register must be called. */
  readonly calledAt: string | null;
}

/** The progress of a pool before its first attempt. */
export const noProgress: Progress = { stage: { state: "waiting", reason: null }, attempt: null, calledAt: null };

/** The facts of the moment in which something happens. */
export interface Facts {
  readonly mode: RegistrationMode;
  /** Whether the pool's socket is in its place. */
  readonly inPlace: boolean;
  readonly hasKubeletStream: boolean;
  /** The identity of the kubelet's socket; null when it is missing. */
  readonly kubelet: string | null;
}

/** What happens to a registration. */
export type RegistrationEvent =
  /** The server starts, or the time of a wait has come. */
  | { readonly kind: "due" }
  | { readonly kind: "foldersChanged" }
  /** An attempt found that the folder or the kubelet's socket is missing. */
  | { readonly kind: "kubeletMissing"; readonly reason: string }
  | { readonly kind: "standbyBegan" }
  | { readonly kind: "standbyEnded" }
  | { readonly kind: "bound" }
  | { readonly kind: "announced" }
  | { readonly kind: "callBegan"; readonly kubelet: string }
  /** Register was answered, well or not, or was given up; a kubelet that was not reached is called again at the next sign of it. */
  | { readonly kind: "callEnded"; readonly isReached: boolean }
  | { readonly kind: "confirmed" }
  /** A kubelet that watches the folder rejected the pool. */
  | { readonly kind: "rejected"; readonly reason: string }
  | { readonly kind: "attemptFailed"; readonly reason: string }
  /** `isAnnounced`: the kubelet can know of the socket now. */
  | { readonly kind: "attemptEnded"; readonly isAnnounced: boolean }
  /** The kubelet requests the plugin's info: it is about to open its stream. */
  | { readonly kind: "infoRequested" }
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  /** The pool must be registered again, after the kubelet has seen the end of its streams. */
  | { readonly kind: "renewalBegan"; readonly reason: string }
  | { readonly kind: "streamsEnded" };

/**
 * For how long to wait before the next attempt. "backOff": the last one failed. "patience": the kubelet may be about to open its stream.
 * "standby": until the instance that serves the pool is probed again. "marking": until the kubelet has marked the resource as ended.
 */
export type Wait = "backOff" | "patience" | "standby" | "marking";

/** What follows from an event. */
export interface Decision {
  readonly progress: Progress;
  /** What to wait for from now on: nothing any more, or what was waited for before. */
  readonly wait: Wait | "nothing" | "unchanged";
  /** Whether an attempt begins now. */
  readonly begins: boolean;
  /** Whether the Register call that is running is given up: its kubelet is gone. */
  readonly givesUp: boolean;
}

const decision = (progress: Progress, rest: Partial<Omit<Decision, "progress">> = {}): Decision => ({
  progress,
  wait: "unchanged",
  begins: false,
  givesUp: false,
  ...rest,
});

/** An attempt begins, or follows the one that is running. */
const attemptNow = (progress: Progress): Decision =>
  progress.attempt === null
    ? decision({ ...progress, attempt: { isOutdated: false, calling: null } }, { begins: true })
    : decision({ ...progress, attempt: { ...progress.attempt, isOutdated: true } });

const isStandby = ({ stage }: Progress): boolean => stage.state === "standby";

/** Standby ends by an attempt alone. */
const withStage = (progress: Progress, stage: Stage): Progress =>
  isStandby(progress) ? progress : { ...progress, stage };

/** Whether the socket is in place, and the kubelet of now can know of it. */
const isSettled = ({ calledAt }: Progress, { mode, inPlace, kubelet }: Facts): boolean =>
  inPlace && (mode === "watcher" || kubelet === calledAt);

type Handler<Event> = (progress: Progress, event: Event, facts: Facts) => Decision;

/** One row an event. */
const handlers: { readonly [Kind in RegistrationEvent["kind"]]: Handler<Extract<RegistrationEvent, { kind: Kind }>> } =
  {
    due: (progress, _, { hasKubeletStream }) => (hasKubeletStream ? decision(progress) : attemptNow(progress)),
    foldersChanged(progress, _, facts) {
      const calling = progress.attempt?.calling ?? null;
      const givesUp = calling !== null && calling !== facts.kubelet;
      // Without a kubelet there is nothing to register with, as long as the socket is in place for the next one.
      const isIdle = isSettled(progress, facts) || (facts.inPlace && facts.kubelet === null);
      return { ...(isIdle ? decision(progress) : attemptNow(progress)), givesUp };
    },
    kubeletMissing: (progress, { reason }) => decision(withStage(progress, { state: "waiting", reason })),
    standbyBegan: (progress) => decision({ ...progress, stage: { state: "standby", reason: null } }),
    standbyEnded: (progress) =>
      decision(
        isStandby(progress)
          ? { ...progress, stage: { state: "waiting", reason: "the other instance has ended" } }
          : progress,
      ),
    bound: (progress) => decision({ ...progress, calledAt: null }),
    // A refusal lasts until the kubelet answers otherwise.
    announced: (progress, _, { hasKubeletStream }) =>
      decision(
        hasKubeletStream || progress.stage.state === "rejected"
          ? progress
          : withStage(progress, { state: "announced", reason: null }),
      ),
    callBegan: (progress, { kubelet }) =>
      decision({
        ...progress,
        attempt: progress.attempt && { ...progress.attempt, calling: kubelet },
        calledAt: kubelet,
      }),
    callEnded: (progress, { isReached }) =>
      decision({
        ...progress,
        attempt: progress.attempt && { ...progress.attempt, calling: null },
        calledAt: isReached ? progress.calledAt : null,
      }),
    confirmed: (progress, _, { hasKubeletStream }) =>
      decision(withStage(progress, { state: hasKubeletStream ? "connected" : "announced", reason: null })),
    rejected: (progress, { reason }, { hasKubeletStream }) =>
      decision(hasKubeletStream ? progress : withStage(progress, { state: "rejected", reason }), { wait: "backOff" }),
    attemptFailed: (progress, { reason }, { hasKubeletStream, inPlace }) =>
      decision(hasKubeletStream ? progress : withStage(progress, { state: inPlace ? "rejected" : "failed", reason })),
    attemptEnded(progress, { isAnnounced }, facts) {
      const ended = { ...progress, attempt: null };
      if (progress.attempt?.isOutdated === true && !isSettled(progress, facts)) return attemptNow(ended);
      if (isStandby(ended)) return decision(ended, { wait: "standby" });
      if (facts.hasKubeletStream) return decision(ended);
      // In place of a shorter wait from before, which would register once more what the kubelet has just been sent.
      return decision(ended, { wait: isAnnounced ? "patience" : "backOff" });
    },
    infoRequested: (progress, _, { hasKubeletStream }) =>
      decision(progress, hasKubeletStream ? {} : { wait: "patience" }),
    connected: (progress) => decision(withStage(progress, { state: "connected", reason: null }), { wait: "nothing" }),
    disconnected: (progress) =>
      decision(withStage(progress, { state: "waiting", reason: "the kubelet has disconnected" }), {
        wait: isStandby(progress) ? "standby" : "backOff",
      }),
    renewalBegan: (progress, { reason }) =>
      decision({ ...withStage(progress, { state: "waiting", reason }), calledAt: null }, { wait: "nothing" }),
    streamsEnded: (progress, _, { hasKubeletStream }) =>
      decision(progress, hasKubeletStream ? {} : { wait: "marking" }),
  };

/** What follows from an event, given the facts of that moment. */
export const decide = (progress: Progress, event: RegistrationEvent, facts: Facts): Decision =>
  (handlers[event.kind] as Handler<RegistrationEvent>)(progress, event, facts);
