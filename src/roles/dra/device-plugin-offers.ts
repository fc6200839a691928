// Does a device plugin, or another driver of the same name, still have devices of this node? While one offers them, as during a change of the role, they must not be published, nor be
// prepared for claims; what its pods hold is free when they end. The state, and when it is read again.

import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import { recordDelay } from "../../pools/decide-allocations.ts";
import { isDeviceId } from "../../pools/names.ts";
import type { LogAt } from "../../process/log-messages.ts";
import { messageOf } from "../../text.ts";
import type { Holder } from "../role.ts";

/**
 * "unknown": not read yet, or there is no evidence; "offering": a device plugin offers devices under these resources; "held": none does, and
 * these are the devices, by id, that pods have from one, or from another driver of our driver's name.
 */
export type DevicePluginState =
  | { readonly kind: "unknown"; readonly reason: string | null }
  | { readonly kind: "offering"; readonly resources: readonly string[] }
  | { readonly kind: "held"; readonly devices: ReadonlyMap<string, Holder> };

/** How often the state is read again, in milliseconds: while a plugin offers devices, while pods hold some, and without evidence. */
export interface OfferTimes {
  readonly offering: number;
  readonly held: number;
  readonly unknown: number;
}

const usualTimes: OfferTimes = { offering: 1000, held: 5000, unknown: 5000 };

/** What is read. */
export interface DevicePluginOffersOptions {
  /** The resources under which a running device plugin offers devices of this node's pools. */
  readonly offered: () => Promise<readonly string[]>;
  readonly podAllocations: Pick<PodAllocations, "read" | "allocations" | "recentRecords" | "claimed">;
  /** Whether this driver prepared the device, or did a short time ago. */
  readonly isPrepared: (id: string) => boolean;
  /** Is called when the state has changed. */
  readonly changed: (state: DevicePluginState, before: DevicePluginState) => void;
  readonly times?: OfferTimes;
}

/** What device plugins have of this node's devices. */
export class DevicePluginOffers {
  readonly #options: DevicePluginOffersOptions;
  readonly #log: LogAt<"info" | "warn">;
  readonly #times: OfferTimes;
  #state: DevicePluginState = { kind: "unknown", reason: null };
  /** What was seen with a pod that runs, as "ID UID": it is free when that pod ends, also while the kubelet still records it. */
  readonly #seen = new Set<string>();
  #reading: Promise<void> | null = null;
  #isOutdated = false;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(options: DevicePluginOffersOptions, log: LogAt<"info" | "warn">) {
    this.#options = options;
    this.#log = log;
    this.#times = options.times ?? usualTimes;
  }

  get state(): DevicePluginState {
    return this.#state;
  }

  /** Reads the state, and again if something changes meanwhile. Never rejects. */
  check(): Promise<void> {
    this.#isOutdated = true;
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  /** Throws, with why, when a device must not be prepared for a claim now: what a plugin offers may be allocated at this moment. */
  async refuse(): Promise<void> {
    if (this.#state.kind !== "held") await this.check();
    // Last, since reading the evidence takes long enough for a plugin to start and allocate.
    const resources = await this.#options.offered();
    if (resources.length > 0) throw new Error(offeringReason(resources));
    if (this.#state.kind === "held") return;
    throw new Error(
      this.#state.kind === "offering" ? offeringReason(this.#state.resources) : unknownReason(this.#state.reason),
    );
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
  }

  async #readAll(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    while (this.#isOutdated && !this.#isClosed) {
      this.#isOutdated = false;
      const state = await this.#read();
      if (!this.#isClosed) this.#take(state);
    }
    this.#reading = null;
    if (this.#isClosed) return;
    const isWaiting = this.#state.kind !== "held" || this.#state.devices.size > 0;
    this.#timer = isWaiting ? setTimeout(() => void this.check(), this.#times[this.#state.kind]) : null;
  }

  async #read(): Promise<DevicePluginState> {
    const { offered, podAllocations, isPrepared } = this.#options;
    try {
      const resources = await offered();
      if (resources.length > 0) return { kind: "offering", resources: resources.toSorted() };
      // What a plugin that has just ended allocated last is not in the checkpoint yet; it may have run between two checks.
      await Bun.sleep(recordDelay);
      await podAllocations.read();
      const isDevice = ({ id }: { readonly id: string }) => isDeviceId(id);
      const allocated = [...podAllocations.allocations.values()].filter(isDevice);
      for (const { id, uid } of allocated) this.#seen.add(`${id} ${uid}`);
      const starting = podAllocations.recentRecords.filter(
        (each) => isDevice(each) && !this.#seen.has(`${each.id} ${each.pod}`),
      );
      // Another program prepared it under our driver's name: dra-driver-sriov, or this one with files that are lost.
      const foreign = [...podAllocations.claimed.values()].filter((each) => isDevice(each) && !isPrepared(each.id));
      const devices = [...starting, ...foreign, ...allocated].map(
        ({ id, resource, pod }) => [id, { resource, pod }] as const,
      );
      return { kind: "held", devices: new Map(devices) };
    } catch (error) {
      // What was known holds: no device plugin runs that could have allocated more.
      return this.#state.kind === "held" ? this.#state : { kind: "unknown", reason: messageOf(error) };
    }
  }

  #take(state: DevicePluginState): void {
    const before = this.#state;
    if (Bun.deepEquals(state, before)) return;
    this.#state = state;
    this.#write(before, state);
    this.#options.changed(state, before);
  }

  #write(before: DevicePluginState, state: DevicePluginState): void {
    if (state.kind === "offering") {
      const { resources } = state;
      this.#log.warn("a device plugin offers this node's devices; publishing none until it ends", { resources });
    } else if (state.kind === "unknown")
      this.#log.warn("cannot read allocations; publishing no device until it can", { reason: state.reason });
    else {
      const held = before.kind === "held" ? before.devices : new Map<string, Holder>();
      const begun = [...state.devices].filter(([id]) => !held.has(id));
      const ended = [...held].filter(([id]) => !state.devices.has(id));
      for (const [device, holder] of begun)
        this.#log.info("a pod has a device from the device plugin", { device, ...holder });
      for (const [device, holder] of ended) this.#log.info("device released", { device, ...holder });
    }
  }
}

const offeringReason = (resources: readonly string[]): string =>
  `a device plugin still offers this node's devices as ${resources.join(", ")}; they are prepared when it has ended`;

const unknownReason = (reason: string | null): string =>
  reason === null
    ? "it is not known yet which devices pods have from a device plugin"
    : `it is not known which devices pods have from a device plugin: ${reason}`;
