// Which pod holds which device, as far as is known: what the kubelet told last, and what was allocated since.

import type { Held } from "../pools/assign.ts";
import { heldBy, readCheckpoint, readHoldings } from "./allocations.ts";
import type { KubeletPaths } from "./paths.ts";

/** How long after Allocate the kubelet may not yet tell of it, in milliseconds. */
const kubeletDelay = 10_000;

/** What pods hold. */
export class Holders {
  readonly #paths: KubeletPaths;
  readonly #allocated = new Map<string, { readonly resource: string; readonly at: number }>();
  #held: Held = new Map();
  #isKnown = false;

  constructor(paths: KubeletPaths) {
    this.#paths = paths;
  }

  /** The resource under which each device is held. */
  get held(): Held {
    return this.#held;
  }

  /** Whether the kubelet told what pods hold, when it was asked last. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Notes that devices were allocated just now. */
  allocated(resource: string, ids: readonly string[]): void {
    for (const id of ids) this.#allocated.set(id, { resource, at: performance.now() });
  }

  /** Asks the kubelet. Rejects when it does not tell; then `assume` says what to go by. */
  async read(): Promise<void> {
    this.#learn(heldBy(await readHoldings(this.#paths)));
  }

  /** Goes by a guess until the kubelet tells: nothing that pods may hold is removed meanwhile. */
  assume(held: Held): void {
    this.#held = held;
    this.#isKnown = false;
  }

  /** Reads the checkpoint, which needs no kubelet and no time. Throws when it can't be read. */
  readNow(): void {
    this.#learn(heldBy(readCheckpoint(this.#paths.checkpoint)));
  }

  /** Whether a pod is known to hold the device under this resource. */
  holds(resource: string, id: string): boolean {
    return this.#held.get(id) === resource || this.#allocated.get(id)?.resource === resource;
  }

  /** Whether a pod holds the device under this resource, or may. */
  mayHold(resource: string, id: string): boolean {
    return this.mayHoldAs(id, (held) => held === resource);
  }

  /** Whether a pod holds the device under such a resource, or may. */
  mayHoldAs(id: string, isOne: (resource: string) => boolean): boolean {
    const known = [this.#held.get(id), this.#allocated.get(id)?.resource];
    return !this.#isKnown || known.some((resource) => resource !== undefined && isOne(resource));
  }

  /** Whether a pod holds any device of this resource, or may. */
  mayHoldAny(resource: string): boolean {
    return !this.#isKnown || [...this.#held.keys(), ...this.#allocated.keys()].some((id) => this.holds(resource, id));
  }

  #learn(told: ReadonlyMap<string, string>): void {
    const since = performance.now() - kubeletDelay;
    // What the kubelet has told of once is its to take back: the pod may end at once.
    for (const [id, { at }] of this.#allocated) if (at <= since || told.has(id)) this.#allocated.delete(id);
    const recent = [...this.#allocated];
    this.#held = new Map([...recent.map(([id, { resource }]) => [id, resource] as const), ...told]);
    this.#isKnown = true;
  }
}
