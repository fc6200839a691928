// Keeps this node's ResourceSlices as its pools require, by one list and one watch: what differs is written, and restored when another
// client changes it. Nothing but close() ends it: every failure is retried.

import type { Access } from "../../kube/access.ts";
import { mirrorObjects, watchTimes } from "../../kube/watch.ts";
import type { Pool } from "../../pools/pool.ts";
import type { LogAt } from "../../process/log-messages.ts";
import type { AttributeSet } from "../attributes.ts";
import { remainingSlices } from "../found-slices.ts";
import {
  type InstanceStamp,
  isNewerStamp,
  newStamp,
  stampAnnotation,
  stampOf,
  textOfStamp,
} from "../instance-stamp.ts";
import { type NewerInstances, noNewerInstances, seeInstances, standbyEnd } from "../newer-instances.ts";
import { countPublished, type PublisherMode, type PublisherState } from "../publisher-state.ts";
import { firstDelay, type PublisherTimes, publisherTimes } from "../publisher-times.ts";
import { type ResourceSlice, resourceSlices } from "../resource-slice.ts";
import { type DesiredSlice, desiredSlices, type SliceContext } from "../slices.ts";
import { needsTaints } from "../taint-support.ts";
import { removalsOf, type WritePlan } from "../write-plan.ts";
import { Attempts } from "./attempts.ts";
import { DeviceTaints } from "./device-taints.ts";
import { readNode, sliceSelector } from "./slice-requests.ts";
import { SliceWriter } from "./slice-writer.ts";

/** Whose slices, and how the API server is reached. */
export interface PublisherOptions {
  readonly access: Access;
  readonly driver: string;
  /** The Node's name. */
  readonly node: string;
  readonly attributes: AttributeSet;
  /** Whether no slice is created before allowCreates(); false where it is missing. */
  readonly holdsCreates?: boolean;
}

/** Keeps the slices of this node and driver as the pools need them. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #log: LogAt<"debug" | "info" | "warn" | "error">;
  readonly #times: PublisherTimes;
  readonly #ended = new AbortController();
  readonly #attempts: Attempts;
  readonly #taints: DeviceTaints;
  readonly #writer: SliceWriter;
  readonly #following: Promise<void>;
  #pools: readonly Pool[] | null = null;
  #heldElsewhere: ReadonlySet<string> = new Set();
  #mode: "publishing" | "withdrawn" = "publishing";
  #withdrawal: PromiseWithResolvers<boolean> | null = null;
  #node: SliceContext["node"] | null = null;
  /** Whether the Node may have been made anew since it was read. */
  #isNodeStale = false;
  #stamp: InstanceStamp | null = null;
  #newer: NewerInstances;
  #wasOnStandby = false;
  /** No slice is created before, by performance.now(). */
  #createsFrom = 0;
  #mayCreate: boolean;
  #desired: { readonly inputs: readonly unknown[]; readonly slices: readonly DesiredSlice[] } | null = null;
  #plan: WritePlan | null = null;
  #isRunning = false;
  #passes: Promise<void> = Promise.resolve();
  #again = false;
  #wakeAt: number | null = null;
  #timer: Timer | null = null;

  /** Begins to watch at once; nothing is written before publish() is called. */
  constructor(
    options: PublisherOptions,
    log: LogAt<"debug" | "info" | "warn" | "error">,
    times: PublisherTimes = publisherTimes,
  ) {
    const { access, driver, node, holdsCreates = false } = options;
    const { signal } = this.#ended;
    this.#options = options;
    this.#log = log;
    this.#times = times;
    this.#mayCreate = !holdsCreates;
    this.#newer = noNewerInstances(times.standby);
    this.#attempts = new Attempts(times, log);
    this.#taints = new DeviceTaints(this.#attempts, log);
    this.#writer = new SliceWriter({
      access,
      owner: { driver, node },
      times: times.pacing,
      attempts: this.#attempts,
      taints: this.#taints,
      log,
      signal,
    });
    this.#following = mirrorObjects(
      access,
      resourceSlices,
      { fieldSelector: sliceSelector({ driver, node }) },
      {
        changed: (slices, version) => this.#see(slices, version),
        begun: () => this.#reach(),
        failed: (error, wait) => this.#attempts.fail("watch", "watch", error, wait),
      },
      signal,
      times.watch ?? watchTimes,
    );
  }

  /**
   * Takes the pools that are to be published. `heldElsewhere` are ids of devices that pods have from the device plugin since
   * before this node changed to the DRA role.
   */
  publish(pools: readonly Pool[], heldElsewhere: ReadonlySet<string> = new Set()): void {
    this.#pools = pools;
    this.#heldElsewhere = heldElsewhere;
    this.#run();
  }

  /** Creates what was held from the start: pods that get devices of it can be prepared now. */
  allowCreates(): void {
    if (this.#mayCreate) return;
    this.#mayCreate = true;
    this.#run();
  }

  /** Goes on after withdraw(). */
  resume(): void {
    if (this.#mode === "publishing") return;
    this.#mode = "publishing";
    this.#endWithdrawal(false);
    this.#log.info("publication resumed");
    this.#run();
  }

  /**
   * Deletes all slices of this node and driver, except those of a newer instance, and writes nothing more until resume(). Gives
   * true when the API server accepted all deletions, false when a newer instance publishes, or another call ended it first.
   */
  withdraw(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    this.#mode = "withdrawn";
    const withdrawal = (this.#withdrawal ??= Promise.withResolvers<boolean>());
    this.#run();
    return withdrawal.promise;
  }

  /** What is published now, and what does not work. */
  state(): PublisherState {
    const mode = this.#currentMode;
    const { found, counts } = this.#writer;
    return {
      mode,
      reason: mode === "standby" ? this.#newestInstance : null,
      isCurrent: this.#plan?.due.length === 0 && this.#plan.waiting === 0,
      waiting: this.#plan?.waiting ?? 0,
      published: found && countPublished(remainingSlices(found)),
      hasTaints: this.#taints.isKept,
      problem: this.#attempts.problem,
      writes: { ...counts },
    };
  }

  /** Ends, and resolves when nothing is sent any more; slices stay as they are, for the instance that follows. */
  async close(): Promise<void> {
    this.#ended.abort();
    if (this.#timer) clearTimeout(this.#timer);
    this.#endWithdrawal(false);
    await Promise.all([this.#following, this.#passes]);
  }

  get #isClosed(): boolean {
    return this.#ended.signal.aborted;
  }

  get #currentMode(): PublisherMode {
    if (this.#isClosed) return "closed";
    if (this.#mode !== "publishing") return this.#mode;
    if (this.#standbyEnd !== null) return "standby";
    return this.#plan === null ? "starting" : "publishing";
  }

  get #standbyEnd(): number | null {
    return standbyEnd(this.#newer, performance.now());
  }

  get #newestInstance(): string | null {
    return this.#newer.newest && textOfStamp(this.#newer.newest);
  }

  #endWithdrawal(isDone: boolean): void {
    this.#withdrawal?.resolve(isDone);
    this.#withdrawal = null;
  }

  /** Takes what the watch shows. */
  #see(slices: ReadonlyMap<string, ResourceSlice>, version: string): void {
    const { driver } = this.#options;
    const found = this.#writer.see(slices, version);
    if (this.#stamp === null) this.#begin(found);
    else {
      const own = { driver, stamp: this.#stamp, lastWrite: this.#writer.lastWrite };
      this.#newer = seeInstances(this.#newer, found, own, performance.now(), this.#times.standby);
    }
    this.#taints.see(found);
    this.#run();
  }

  /** Begins from what the first list has. */
  #begin(found: readonly ResourceSlice[]): void {
    const { driver, node } = this.#options;
    this.#stamp = newStamp(found, driver, Date.now(), crypto.randomUUID().slice(0, 8));
    if (found.length > 0) return;
    const ms = firstDelay(node, this.#times.firstPublication);
    this.#createsFrom = performance.now() + ms;
    this.#log.debug("delaying the first ResourceSlices", {
      ms,
    });
  }

  #reach(): void {
    this.#attempts.succeed("watch");
    this.#taints.reach();
    this.#writer.reach();
    this.#run();
  }

  /** Runs passes until nothing is left to do now; another one follows when a wait is over. */
  #run(): void {
    this.#again = true;
    if (!this.#isRunning) this.#passes = this.#runPasses();
  }

  async #runPasses(): Promise<void> {
    this.#isRunning = true;
    while (this.#again && !this.#isClosed) {
      this.#again = false;
      this.#wakeAt = null;
      try {
        await (this.#mode === "withdrawn" ? this.#withdrawSome() : this.#publishSome());
        this.#attempts.succeed("pass");
      } catch (error) {
        const wait = this.#times.longestAttempt;
        this.#attempts.fail("pass", null, error, wait);
        this.#wake(performance.now() + wait);
      }
    }
    this.#isRunning = false;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#wakeAt === null || this.#isClosed) return;
    this.#timer = setTimeout(() => this.#run(), Math.max(0, this.#wakeAt - performance.now()));
  }

  /** Has another pass run at this time, or before. */
  #wake(at: number | null): void {
    if (at !== null) this.#wakeAt = Math.min(this.#wakeAt ?? at, at);
  }

  async #publishSome(): Promise<void> {
    if (this.#mode !== "publishing" || this.#pools === null || this.#writer.found === null || this.#checkStandby())
      return;
    const { access, driver, attributes } = this.#options;
    const node = this.#node ?? (await this.#readNode());
    if (node === null) return;
    if (needsTaints(this.#pools, this.#heldElsewhere))
      this.#wake(await this.#taints.learn(access, { driver, node }, this.#ended.signal));
    else this.#attempts.succeed("taints");
    const [pools, stamp, { found }] = [this.#pools, this.#stamp, this.#writer];
    // Much can have happened meanwhile.
    if (this.#mode !== "publishing" || this.#isClosed || stamp === null || found === null || this.#checkStandby())
      return;
    const context = {
      driver,
      attributes,
      node,
      heldElsewhere: this.#heldElsewhere,
      hasTaints: this.#taints.isKept ?? false,
    };
    const createsFrom = this.#mayCreate ? this.#createsFrom : Infinity;
    const more = { annotations: stampAnnotation(driver, stamp), createsFrom };
    this.#plan = this.#writer.plan(found, this.#desiredOf(pools, context), context, more);
    this.#wake(this.#plan.next);
    if (this.#plan.due.length > 0) {
      this.#again = true;
      await this.#writer.send(this.#plan.due);
      // The garbage collector deletes slices whose Node was made anew: they need its new UID.
      this.#isNodeStale ||= this.#writer.takeRecreated();
    } else if (this.#isNodeStale) await this.#readNode();
  }

  /** The slices of pools, computed only when something that they depend on has changed. */
  #desiredOf(pools: readonly Pool[], context: SliceContext): readonly DesiredSlice[] {
    const { node, heldElsewhere, hasTaints } = context;
    const inputs = [pools, node, heldElsewhere, hasTaints];
    if (!inputs.every((input, index) => input === this.#desired?.inputs[index]))
      this.#desired = { inputs, slices: desiredSlices(pools, context) };
    return this.#desired?.slices ?? [];
  }

  /** Whether a newer instance publishes. */
  #checkStandby(): boolean {
    const end = this.#standbyEnd;
    const isOnStandby = end !== null;
    const instance = this.#newestInstance;
    if (isOnStandby && !this.#wasOnStandby)
      this.#log.info("standby: a newer instance publishes ResourceSlices", { instance });
    if (!isOnStandby && this.#wasOnStandby)
      this.#log.info("standby ended: the newer instance writes nothing", { instance });
    this.#wasOnStandby = isOnStandby;
    this.#wake(end);
    return isOnStandby;
  }

  /** Reads the Node; gives what was read before when that fails. */
  async #readNode(): Promise<SliceContext["node"] | null> {
    const { access, node } = this.#options;
    const { value, retryAt } = await this.#attempts.try("node", () => readNode(access, node, this.#ended.signal));
    this.#wake(retryAt);
    if (value === null) return this.#node;
    this.#again ||= this.#node !== null && this.#node.uid !== value.uid;
    this.#isNodeStale = false;
    return (this.#node = value);
  }

  async #withdrawSome(): Promise<void> {
    const [{ found }, stamp] = [this.#writer, this.#stamp];
    if (found === null || stamp === null) return;
    if (this.#standbyEnd !== null) return this.#endWithdrawal(false);
    const own = remainingSlices(found).filter((slice) => {
      const other = stampOf(slice, this.#options.driver);
      return other === null || !isNewerStamp(other, stamp);
    });
    // What comes later is deleted too: a write of before whose answer was lost, or an older instance's.
    if (own.length === 0 && this.#withdrawal === null) return;
    if (own.length === 0) {
      this.#writer.restart();
      this.#plan = null;
      this.#log.info("ResourceSlices withdrawn");
      return this.#endWithdrawal(true);
    }
    const now = performance.now();
    const due = own.filter((slice) => this.#writer.retryAt(slice) <= now);
    this.#wake(Math.min(...own.map((slice) => this.#writer.retryAt(slice))));
    if (due.length === 0) return;
    this.#again = true;
    await this.#writer.send(removalsOf(due, stampAnnotation(this.#options.driver, stamp)));
  }
}
