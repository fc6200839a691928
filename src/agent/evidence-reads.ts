// When is the evidence of what pods hold read beside the scans? For status and metrics, and after Allocate until each pod was seen.

import type { PodAllocations } from "../kubelet/pod-allocations.ts";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";

/** How long after an allocation its pod is searched for, in milliseconds: of a pod that was seen alive the end is seen too. */
const sightings = [1000, 3000, 10_000] as const;

/** Reads of the evidence. */
export class EvidenceReads {
  readonly #podAllocations: PodAllocations;
  #reading: Promise<readonly AllocatedDevice[]> | null = null;
  /** The next read after an allocation. */
  #next: { readonly attempt: number; readonly timer: Timer } | null = null;
  #isClosed = false;

  constructor(podAllocations: PodAllocations) {
    this.#podAllocations = podAllocations;
  }

  /** What pods hold, by fresh evidence; concurrent callers share one answer. Rejects when there is no evidence. */
  read(): Promise<readonly AllocatedDevice[]> {
    this.#reading ??= this.#podAllocations
      .read()
      .then(() => [...this.#podAllocations.allocations.values()])
      .finally(() => (this.#reading = null));
    return this.#reading;
  }

  /** Devices were allocated just now: the evidence is read some moments later, since the pod gets its cgroup once it is admitted. */
  allocated(): void {
    if (this.#next?.attempt !== 0) this.#readLater(0);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#next) clearTimeout(this.#next.timer);
  }

  #readLater(attempt: number): void {
    const delay = sightings[attempt];
    if (this.#isClosed || delay === undefined) return;
    if (this.#next) clearTimeout(this.#next.timer);
    const timer = setTimeout(() => {
      this.#next = null;
      const next = () => this.#podAllocations.awaitsPods && !this.#next && this.#readLater(attempt + 1);
      this.read().then(next, next);
    }, delay);
    this.#next = { attempt, timer };
  }
}
