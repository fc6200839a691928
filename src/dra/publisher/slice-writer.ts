// Sends writes to the API server and keeps their results: the slices that are there, the pace of each, and counts.

import type { Access } from "../../kube/access.ts";
import { KubeError } from "../../kube/errors.ts";
import type { LogAt } from "../../process/log-messages.ts";
import { messageOf } from "../../text.ts";
import {
  answeredSlice,
  currentSlices,
  deletedSlice,
  type FoundSlices,
  lastDevicesOf,
  type SliceOwner,
  watchedSlices,
} from "../found-slices.ts";
import { countPublished, type WriteCounts } from "../publisher-state.ts";
import type { ResourceSlice, SliceDevice } from "../resource-slice.ts";
import { sliceContent, type DesiredSlice, type SliceContext } from "../slices.ts";
import {
  failedPace,
  isProblem,
  isStale,
  newPace,
  type PacingTimes,
  reachablePace,
  type SlicePace,
  writtenPace,
} from "../write-pacing.ts";
import { type DueWrite, planWrites, type WritePlan } from "../write-plan.ts";
import type { Attempts } from "./attempts.ts";
import type { DeviceTaints } from "./device-taints.ts";
import { readSlice, writeSlice } from "./slice-requests.ts";

/** How many requests are sent at once. */
const writesAtOnce = 8;

/** What a writer works with. */
export interface WriterContext {
  readonly access: Access;
  readonly owner: SliceOwner;
  readonly times: PacingTimes;
  readonly attempts: Attempts;
  readonly taints: DeviceTaints;
  readonly log: LogAt<"debug" | "info" | "warn">;
  readonly signal: AbortSignal;
}

/** Writes the slices of one node and driver. */
export class SliceWriter {
  readonly counts: WriteCounts = { create: 0, update: 0, delete: 0, repair: 0, failed: 0 };
  readonly #context: WriterContext;
  #found: FoundSlices | null = null;
  #paces: ReadonlyMap<string, SlicePace> = new Map();
  #lastDevices: ReadonlyMap<string, readonly SliceDevice[]> = new Map();
  #lastWrite: number | null = null;
  #recreated = false;

  constructor(context: WriterContext) {
    this.#context = context;
  }

  /** What the API server has, as far as is known; null before the first list. */
  get found(): FoundSlices | null {
    return this.#found;
  }

  /** When a write succeeded, by performance.now(). */
  get lastWrite(): number | null {
    return this.#lastWrite;
  }

  /** Whether a slice that had been deleted was created again since the last call. */
  takeRecreated(): boolean {
    const recreated = this.#recreated;
    this.#recreated = false;
    return recreated;
  }

  /** Takes what the watch shows; gives the slices that there are now. */
  see(slices: ReadonlyMap<string, ResourceSlice>, version: string): readonly ResourceSlice[] {
    this.#found = watchedSlices(this.#found, slices, version, this.#context.owner);
    return currentSlices(this.#found);
  }

  /** The API server can be reached: what failed only for that is tried again at once. */
  reach(): void {
    this.#paces = new Map([...this.#paces].map(([key, pace]) => [key, reachablePace(pace)]));
  }

  /** Forgets the paces: what follows is a first publication. */
  restart(): void {
    this.#paces = new Map();
    this.#context.attempts.keep((about) => about === "watch");
  }

  /** When the last failed write of a slice is to be tried again, by performance.now(); 0 when it did not fail. */
  retryAt({ metadata }: ResourceSlice): number {
    return this.#paces.get(metadata.name)?.retryAt ?? 0;
  }

  /** Plans the writes that make the slices those that are desired. */
  plan(
    found: FoundSlices,
    desired: readonly DesiredSlice[],
    context: SliceContext,
    more: { readonly annotations: Readonly<Record<string, string>>; readonly createsFrom: number },
  ): WritePlan {
    const slices = currentSlices(found);
    this.#lastDevices = lastDevicesOf(this.#lastDevices, slices, new Set(desired.map(({ name }) => name)));
    const plan = planWrites({
      ...more,
      desired,
      found: slices,
      deleted: found.deleted,
      context,
      lastDevices: this.#lastDevices,
      paces: this.#paces,
      now: performance.now(),
      times: this.#context.times,
    });
    this.#paces = plan.paces;
    const failing = new Set([...plan.paces].flatMap(([key, { failures }]) => (failures > 0 ? [`slice ${key}`] : [])));
    this.#context.attempts.keep((about) => !about.startsWith("slice ") || failing.has(about));
    return plan;
  }

  /** Sends the first of these writes, removals before all others, and waits for their answers. */
  async send(due: readonly DueWrite[]): Promise<void> {
    const removals = due.filter(({ removes }) => removes);
    const first = (removals.length > 0 ? removals : due).slice(0, writesAtOnce);
    await Promise.all(first.map((write) => this.#write(write)));
  }

  async #write(write: DueWrite): Promise<void> {
    const { access, log, signal } = this.#context;
    const { slice, reason } = write;
    if (reason === "repair" && this.#paceOf(write.key).failures === 0)
      log.warn("ResourceSlice changed or deleted by another client; restoring it", { slice: slice.metadata.name });
    try {
      this.#succeed(write, await writeSlice(access, write, signal));
    } catch (error) {
      if (error instanceof KubeError && isStale(error.kind)) await this.#reread(slice);
      if (!signal.aborted)
        this.#fail(write, error instanceof KubeError ? error : new KubeError("malformed", messageOf(error)));
    }
  }

  #succeed({ action, slice, key, want, reason }: DueWrite, answer: ResourceSlice | null): void {
    const { taints, times, log } = this.#context;
    const now = performance.now();
    if (this.#found) this.#found = answer ? answeredSlice(this.#found, answer) : deletedSlice(this.#found, slice);
    if (answer) taints.answered(slice, answer);
    this.#lastWrite = now;
    this.counts[action]++;
    if (reason === "repair") this.counts.repair++;
    if (action === "create" && reason === "repair") this.#recreated = true;
    const received = answer && sliceContent(answer);
    this.#setPace(key, writtenPace(this.#paceOf(key), { want, reason, received }, now, times));
    const { devices, tainted } = countPublished(answer ? [answer] : []);
    log.info("ResourceSlice written", { action, slice: slice.metadata.name, devices, tainted });
  }

  /** Reads a slice that is not as it was known: its event may be far away, or never come when the watch's peer is gone. */
  async #reread(known: ResourceSlice): Promise<void> {
    const { access, owner, signal } = this.#context;
    const slice = await readSlice(access, owner, known.metadata.name, signal).catch(() => undefined);
    if (slice === undefined || this.#found === null) return;
    if (slice === null) this.#found = deletedSlice(this.#found, known);
    else if (slice.spec.driver === owner.driver && slice.spec.nodeName === owner.node)
      this.#found = answeredSlice(this.#found, slice);
  }

  #fail({ action, slice, key }: DueWrite, error: KubeError): void {
    const { attempts, times, log } = this.#context;
    this.counts.failed++;
    const now = performance.now();
    const pace = failedPace(this.#paceOf(key), error, now, Math.random(), times);
    this.#setPace(key, pace);
    if (isProblem(error.kind, pace.failures)) attempts.fail(`slice ${key}`, action, error, (pace.retryAt ?? now) - now);
    else
      log.debug("ResourceSlice changed before it was written", { slice: slice.metadata.name, reason: error.message });
  }

  #paceOf(key: string): SlicePace {
    return this.#paces.get(key) ?? newPace(this.#context.times);
  }

  #setPace(key: string, pace: SlicePace): void {
    this.#paces = new Map([...this.#paces, [key, pace]]);
  }
}
