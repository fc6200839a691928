// Which devices are allocated to which pods? Reads the evidence and keeps what was decided from it, together with what this process
// allocated since: pools/decide-allocations.ts decides.

import { lstatSync } from "node:fs";
import type { CachedAnswer } from "../allocation/cached-answer.ts";
import { identityOf } from "../fs/identity.ts";
import type { Held } from "../pools/assign.ts";
import {
  admissionGrace,
  type Allocations,
  allocationKey,
  decideAllocations,
  longestWithoutEvidence,
  type OwnAllocation,
  type PodDevice,
  recordDelay,
} from "../pools/decide-allocations.ts";
import { cachedAnswerIn, type CheckpointRecord, devicesIn, readCheckpoint, readPodResources } from "./allocations.ts";
import type { KubeletPaths } from "./kubelet-paths.ts";

/** What the node shows of pods, beside the kubelet. */
export interface PodSigns {
  /** UIDs of pods that have a cgroup; null when they are not visible. */
  readonly podCgroups: () => ReadonlySet<string> | null;
  /** Which of these devices show signs of use, by id. */
  readonly inUse: (ids: Iterable<string>) => ReadonlyMap<string, string>;
}

/** What pods hold. */
export class PodAllocations {
  readonly #paths: KubeletPaths;
  readonly #signs: PodSigns;
  readonly #ownDriver: string | null;
  readonly #own = new Map<string, OwnAllocation>();
  #allocations: Allocations = new Map();
  #claimed: Allocations = new Map();
  #held: Held = new Map();
  #isKnown = false;
  #kubelet: { readonly identity: string | null; readonly since: number } | null = null;
  #records: readonly CheckpointRecord[] = [];
  /** How many reads have begun, and which of them was the last to be decided on. */
  #begun = 0;
  #decided = 0;

  /** `ownDriver` is the DRA driver of this process, whose claims are kept apart; null where it has none. */
  constructor(paths: KubeletPaths, signs: PodSigns, ownDriver: string | null = null) {
    this.#paths = paths;
    this.#signs = signs;
    this.#ownDriver = ownDriver;
  }

  /** The resource under which each device is held. */
  get held(): Held {
    return this.#held;
  }

  /** What is allocated to pods, as it was decided last. */
  get allocations(): Allocations {
    return this.#allocations;
  }

  /**
   * What pods have by claims of this process's driver, as it was decided last. Its files record what it prepared; the rest was prepared by another
   * program under the same driver's name.
   */
  get claimed(): Allocations {
    return this.#claimed;
  }

  /** Whether there was evidence of what pods hold, when it was read last. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Answers in the checkpoint, as it was read last, of pods that are not running: the kubelet may start them again with these. */
  get cachedAnswers(): readonly CachedAnswer[] {
    const alive = new Set([...this.#allocations.values()].map(allocationKey));
    return this.#records
      .filter(({ resource, ids }) => !ids.some((id) => alive.has(allocationKey({ resource, id }))))
      .map(cachedAnswerIn)
      .filter((answer) => answer !== null);
  }

  /**
   * What the checkpoint, as it was read last, records of pods that show no life, if it was written a moment ago: of a pod that was just
   * admitted there is no cgroup yet, and a process that did not allocate its devices does not know of it.
   */
  get recentRecords(): readonly PodDevice[] {
    const written = lstatSync(this.#paths.checkpoint, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
    if (Date.now() - written > admissionGrace) return [];
    return devicesIn(this.#records).filter(({ id }) => !this.#allocations.has(id));
  }

  /** Whether something that this process allocated has not been seen with its pod yet. */
  get awaitsPods(): boolean {
    return [...this.#own.values()].some(({ seenAlive }) => !seenAlive);
  }

  /** In how many milliseconds the kubelet has recorded what this process allocated last; 0 when it has. */
  get recordedIn(): number {
    const latest = Math.max(-Infinity, ...[...this.#own.values()].map(({ at }) => at));
    return Math.max(0, latest + recordDelay - performance.now());
  }

  /** Notes that devices were allocated just now. */
  allocated(resource: string, ids: readonly string[]): void {
    const at = performance.now();
    for (const id of ids) this.#own.set(id, { resource, at, recorded: false, seenAlive: false });
  }

  /**
   * Reads the evidence and decides; the kubelet may take `within` milliseconds to answer. Rejects when neither the kubelet nor its
   * checkpoint can be read; then `assume` provides a guess.
   */
  async read(within?: number): Promise<void> {
    const turn = ++this.#begun;
    let records: CheckpointRecord[] | null = null;
    let failure: unknown = null;
    try {
      records = readCheckpoint(this.#paths.checkpoint);
    } catch (error) {
      failure = error;
    }
    // After the checkpoint: what that records, the kubelet names now, unless the pod has ended.
    const named = await readPodResources(this.#paths, within).catch((error: unknown) => {
      failure ??= error;
      return null;
    });
    const isOwn = ({ isClaimed, resource }: PodDevice) => isClaimed === true && resource === this.#ownDriver;
    const podResources = named?.filter((device) => !isOwn(device)) ?? null;
    const claimed = named?.filter(isOwn) ?? null;
    if (records === null && podResources === null) throw failure;
    // A later read has newer evidence.
    if (turn < this.#decided) return;
    this.#decided = turn;
    const checkpoint = records && devicesIn(records);
    const podCgroups = this.#signs.podCgroups();
    const known = new Set([...(checkpoint ?? []).map(({ id }) => id), ...this.#allocations.keys()]);
    const now = performance.now();
    const evidence = {
      now,
      checkpoint,
      podResources,
      podCgroups,
      inUse: podCgroups === null ? this.#signs.inUse(known) : new Map<string, string>(),
      own: this.#own,
      kubeletSince: this.#kubeletSince(now),
    };
    this.#allocations = decideAllocations(evidence, this.#allocations);
    // The checkpoint records no claims.
    const ofClaims = {
      checkpoint: checkpoint && [],
      podResources: claimed,
      inUse: new Map<string, string>(),
      own: new Map<string, OwnAllocation>(),
    };
    this.#claimed = decideAllocations({ ...evidence, ...ofClaims }, this.#claimed);
    this.#records = records ?? [];
    this.#held = new Map([...this.#allocations].map(([id, { resource }]) => [id, resource]));
    this.#isKnown = true;
    this.#settle(checkpoint ?? [], now);
  }

  /** Uses a guess until there is evidence: nothing that pods may hold is removed meanwhile. */
  assume(held: Held): void {
    this.#held = held;
    this.#isKnown = false;
  }

  /** Whether a pod is known to hold the device under this resource. */
  holds(resource: string, id: string): boolean {
    return this.#held.get(id) === resource || this.#isFresh(id, (own) => own === resource);
  }

  /** Whether a pod holds the device under this resource, or may. */
  mayHold(resource: string, id: string): boolean {
    return this.mayHoldAs(id, (held) => held === resource);
  }

  /** Whether a pod holds the device under such a resource, or may. */
  mayHoldAs(id: string, isMatch: (resource: string) => boolean): boolean {
    const held = this.#held.get(id);
    return !this.#isKnown || (held !== undefined && isMatch(held)) || this.#isFresh(id, isMatch);
  }

  /** Whether a pod holds any device of this resource, or may. */
  mayHoldAny(resource: string): boolean {
    return !this.#isKnown || [...this.#held.keys(), ...this.#own.keys()].some((id) => this.holds(resource, id));
  }

  /** Whether this process allocated the device under such a resource since the evidence was read. */
  #isFresh(id: string, isMatch: (resource: string) => boolean): boolean {
    const own = this.#own.get(id);
    return own !== undefined && !own.recorded && !own.seenAlive && isMatch(own.resource);
  }

  /** Notes what the evidence shows of this process's allocations; those that have ended, or are too old, are forgotten. */
  #settle(checkpoint: readonly { readonly resource: string; readonly id: string }[], now: number): void {
    const recorded = new Set(checkpoint.map(allocationKey));
    for (const [id, own] of this.#own) {
      const decided = this.#allocations.get(id);
      const isOurs = decided?.resource === own.resource;
      if (!isOurs || now - own.at > longestWithoutEvidence) this.#own.delete(id);
      else
        this.#own.set(id, {
          ...own,
          recorded: own.recorded || recorded.has(allocationKey({ resource: own.resource, id })),
          seenAlive: own.seenAlive || decided.evidence === "pod-resources" || decided.evidence === "pod cgroup",
        });
    }
  }

  /** Since when the kubelet's socket is the one that it is, as far as this process has seen. */
  #kubeletSince(now: number): number {
    const identity = identityOf(this.#paths.kubeletSocket);
    if (this.#kubelet === null || this.#kubelet.identity !== identity) this.#kubelet = { identity, since: now };
    return this.#kubelet.since;
  }
}
