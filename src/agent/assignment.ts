// Who gets which device now? The pure assignment together with the evidence of what pods hold, which is read only when something
// moved; and with answers that the kubelet cached before a reboot.

import { type CachedAnswer, type StaleAnswer, staleAnswers } from "../allocation/cached-answer.ts";
import type { Device } from "../host/device.ts";
import type { PodAllocations } from "../kubelet/pod-allocations.ts";
import type { Log } from "../process/log.ts";
import { messageOf } from "../text.ts";
import { assignPools, placements } from "../pools/assign.ts";
import { recordDelay } from "../pools/decide-allocations.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { type Retention, retentionsOf } from "../pools/retention.ts";
import type { Holder } from "../roles/role.ts";
import { readClaimNodes } from "../roles/claim-facts.ts";

/** How often the evidence is read again while a device waits for a pod's end, in milliseconds. */
const recheckEvery = 10_000;

/** How often it is checked whether the other plugin has ended that offers a device which a pool is to get, in milliseconds. */
const otherPluginEvery = 1000;

/** What has a device that another plugin offers, in place of a pod. */
const otherPlugin = "another plugin";

/** For how long a cached answer counts once the kubelet has the pool's list, in milliseconds: it admits its pods at once. */
const cachedAnswerLife = 5 * 60_000;

/** What the assignment needs of the agent. */
export interface AssignmentOptions {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly podAllocations: PodAllocations;
  /** Devices that the kubelet may hand out for another plugin, by id: the resource; `ours` are the resources of this one. */
  readonly offeredElsewhere: (ours: ReadonlySet<string>) => Promise<ReadonlyMap<string, string>>;
  /** Requests another assignment after so many milliseconds; the functions need not be read again for it. */
  readonly again: (after: number) => void;
}

/** What the kubelet is offered while pools are assigned. */
export interface ServedState {
  /** The pools, by resource. */
  readonly pools: ReadonlyMap<string, Pool>;
  /** Since when the kubelet has had a resource's list, in milliseconds since 1970; a resource whose list it does not have is missing. */
  readonly connectedSince: ReadonlyMap<string, number>;
  /** Devices that are prepared for claims of DRA, by id. */
  readonly prepared: ReadonlyMap<string, Holder>;
}

/** The assignment of devices to pools over the life of the process. */
export class Assignment {
  readonly #options: AssignmentOptions;
  readonly #log: Log;
  /** Resources that were configured since the start. */
  readonly #everConfigured = new Set<string>();
  /** Where devices were, and where they would be without pods, when the evidence was read last. */
  #read: string | null = null;
  /** When the evidence is to be read again, in milliseconds of the monotonic clock. */
  #dueAt = Infinity;
  /** Why there was no evidence, when it was read last. */
  #failure: string | null = null;
  /** Cached answers of the start that may still be used; null before the first evidence. */
  #cached: readonly CachedAnswer[] | null = null;
  #retentions: readonly Retention[] = [];
  /** Devices that another plugin offers and a pool is to get, by id: the other's resource. */
  #elsewhere: ReadonlyMap<string, string> = new Map();

  constructor(options: AssignmentOptions, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  /** Devices that pods keep from where the config would have them. */
  get retentions(): readonly Retention[] {
    return this.#retentions;
  }

  /**
   * Assigns pools. The evidence of what pods hold is read when a device would come to another place than it has in `served`, and
   * while one waits for its pod's end, from time to time and whenever the functions were read again (`isRescan`): a device stays where
   * its pod got it from. Without evidence every served device stays where it is. A device comes to no pool while another plugin offers it under
   * another resource: the kubelet would hand it out twice. Nor does one that is prepared for a claim come to another pool than its own.
   */
  async assign(
    specs: readonly PoolSpec[],
    devices: readonly Device[],
    { pools: served, connectedSince, prepared }: ServedState,
    isRescan: boolean,
  ): Promise<Pool[]> {
    const { podAllocations } = this.#options;
    const free = assignPools(specs, devices, new Map(), served);
    const placed = placements(free);
    const places = new Map(
      [...served].flatMap(([resource, { claims }]) => [...claims.keys()].map((id) => [id, resource])),
    );
    const present = new Set(devices.map(({ id }) => id));
    const isMoved =
      [...places].some(([id, resource]) => present.has(id) && placed.get(id) !== resource) ||
      [...placed].some(([id, resource]) => places.get(id) !== resource);
    for (const { resource } of specs) this.#everConfigured.add(resource);
    // Something depends on the pod's end: the pool that gets the device, or files of a pool that left the config.
    const isAwaited = ([id, resource]: readonly [string, string]) =>
      present.has(id) && placed.get(id) !== resource && (placed.has(id) || this.#everConfigured.has(resource));
    const key = JSON.stringify([[...placed], [...places]]);
    const isNew = this.#read === null || (isMoved && key !== this.#read);
    const isCached = ({ resource, ids }: CachedAnswer) => ids.some((id) => placed.get(id) === resource);
    const isWaiting =
      isMoved ||
      this.#elsewhere.size > 0 ||
      [...podAllocations.held].some(isAwaited) ||
      this.#cached?.some(isCached) === true;
    const isDue = isRescan || performance.now() >= this.#dueAt;
    if (isNew || (isDue && (isWaiting || !podAllocations.isKnown))) {
      const before = [...this.#elsewhere.values()];
      await this.#readElsewhere(placed, places, new Set(served.keys()));
      const after = new Set(this.#elsewhere.values());
      // What a plugin that has just ended allocated last is not in the checkpoint yet.
      if (before.some((resource) => !after.has(resource))) await Bun.sleep(recordDelay);
      // Last, so that it has what was allocated while sockets were probed.
      await this.#readEvidence(key, places);
    }
    const isPresent = ([id]: readonly [string, string]) => present.has(id);
    const claimed = [...prepared].map(([id, { resource }]) => [id, resource] as const);
    const held = new Map([...this.#elsewhere, ...podAllocations.held, ...claimed].filter(isPresent));
    const kept = held.size === 0 ? free : assignPools(specs, devices, held, served);
    const stale = this.#staleAnswers(kept, held, connectedSince);
    const pools = stale.size === 0 ? kept : assignPools(specs, devices, held, served, stale);
    const holders = new Map<string, Holder>([...podAllocations.allocations, ...prepared]);
    for (const [id, resource] of this.#elsewhere) if (!holders.has(id)) holders.set(id, { resource, pod: otherPlugin });
    this.#note(retentionsOf(devices, holders, pools, placed));
    if (this.#elsewhere.size > 0) this.#again(otherPluginEvery);
    else if (stale.size > 0 || [...held].some(isAwaited)) this.#again(podAllocations.recordedIn || recheckEvery);
    return pools;
  }

  /** Requests another assignment, one that reads the evidence; timers may be a little early. */
  #again(after: number): void {
    if (this.#dueAt !== Infinity) return;
    this.#dueAt = performance.now() + after - 10;
    this.#options.again(after);
  }

  async #readEvidence(key: string, places: ReadonlyMap<string, string>): Promise<void> {
    const { podAllocations } = this.#options;
    this.#read = key;
    this.#dueAt = Infinity;
    try {
      await podAllocations.read();
      this.#failure = null;
      const answers = podAllocations.cachedAnswers;
      const isSame = (a: CachedAnswer) => (b: CachedAnswer) => a.resource === b.resource && a.pod === b.pod;
      this.#cached = (this.#cached ?? answers).filter((answer) => answers.some(isSame(answer)));
    } catch (error) {
      const reason = messageOf(error);
      this.#log[reason === this.#failure ? "debug" : "warn"](
        "cannot read allocations; devices stay in their pools; retrying",
        { reason },
      );
      this.#failure = reason;
      podAllocations.assume(new Map([...places, ...podAllocations.held]));
      this.#again(recheckEvery);
    }
  }

  async #readElsewhere(
    placed: ReadonlyMap<string, string>,
    places: ReadonlyMap<string, string>,
    ours: ReadonlySet<string>,
  ): Promise<void> {
    const coming = new Set([...placed].filter(([id, resource]) => places.get(id) !== resource).map(([id]) => id));
    const offered = coming.size === 0 ? [] : [...(await this.#options.offeredElsewhere(ours))];
    const elsewhere = new Map(offered.filter(([id, resource]) => coming.has(id) && placed.get(id) !== resource));
    for (const resource of new Set(elsewhere.values())) {
      if ([...this.#elsewhere.values()].includes(resource)) continue;
      const devices = [...elsewhere].filter(([, each]) => each === resource).map(([id]) => id);
      this.#log.warn("another plugin offers devices; withheld until it ends", { resource, devices });
    }
    this.#elsewhere = elsewhere;
  }

  /** Devices that the kubelet would hand out by an answer from before a reboot, and that are used by other nodes now. */
  #staleAnswers(
    assigned: readonly Pool[],
    held: ReadonlyMap<string, string>,
    connectedSince: ReadonlyMap<string, number>,
  ): Map<string, StaleAnswer> {
    const isOver = ({ resource }: CachedAnswer) =>
      Date.now() - (connectedSince.get(resource) ?? Date.now()) >= cachedAnswerLife;
    this.#cached = this.#cached?.filter((answer) => !isOver(answer)) ?? null;
    if (this.#cached === null || this.#cached.length === 0) return new Map();
    const pools = new Map(assigned.map((pool) => [pool.spec.resource, pool]));
    return staleAnswers(this.#cached, (resource, id) => {
      const pool = pools.get(resource);
      const claim = pool?.claims.get(id);
      if (!pool || !claim || held.has(id)) return null;
      try {
        return readClaimNodes(this.#options.root, claim, pool.spec).map(({ hostPath }) => hostPath);
      } catch (error) {
        this.#log.debug("cannot read a device's nodes", { device: id, reason: messageOf(error) });
        return null;
      }
    });
  }

  #note(retentions: readonly Retention[]): void {
    const same = (a: Retention) => (b: Retention) =>
      a.device === b.device && a.resource === b.resource && a.pod === b.pod && a.kind === b.kind;
    for (const each of retentions) {
      if (this.#retentions.some(same(each)) || each.pod === otherPlugin) continue;
      const { kind, ...fields } = each;
      if (kind === "retained") this.#log.info("device retained in its pool until its pod ends", fields);
      else this.#log.warn("device withheld from all pools until its pod ends", fields);
    }
    for (const { device, resource, pod } of this.#retentions)
      if (!retentions.some((each) => each.device === device))
        this.#log.info("device released", { device, resource, pod });
    this.#retentions = retentions;
  }
}
