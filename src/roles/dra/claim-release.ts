// When may a device go from one claim to another? When its holder is known to be gone, and no pod of it runs: the kubelet unprepares the
// claims of a pod that was deleted by force while its containers may still be terminating (kubernetes pkg/kubelet/cm/dra/manager.go
// reconcileLoop, pkg/kubelet/kubelet_pods.go GetActivePods).

import { type ClaimRecord, type ClaimReference, runningPods } from "../../allocation/claim.ts";
import { type ClaimConflict, isStillAllocated } from "../../allocation/claim-conflicts.ts";
import { allocatedClaim } from "../../dra/resource-claim.ts";
import type { ClaimFiles } from "../../files/claim-files.ts";
import { readPodCgroups } from "../../host/pod-cgroups.ts";
import { messageOf } from "../../text.ts";
import { type ClaimReader, isUnrelatedClaim } from "./claim-reads.ts";

/** What decides on claims that hold devices. */
export interface ClaimReleaseOptions {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly driver: string;
  /** The node's name in the cluster. */
  readonly node: string;
  readonly readClaim: ClaimReader;
  /** Is called when the devices of an unprepared claim are free because its pods have ended. */
  readonly changed: () => void;
  /** How long a claim must be known to be gone before its devices are released, in milliseconds; 30 s where it is missing. */
  readonly releaseAfter?: number;
  /** How long a call waits for the pods of an unprepared claim to end, in milliseconds; 10 s where it is missing. */
  readonly podsEndWithin?: number;
}

/** What the kubelet has not unprepared for so long after its claim is gone, in milliseconds, it has forgotten. */
const usualReleaseAfter = 30_000;

/** The kubelet removes a pod's cgroup some time after it unprepared the pod's claims: when its volumes are unmounted. */
const usualPodsEndWithin = 10_000;

/** How often the cgroups of pods are read while devices depend on them, in milliseconds: by a call that waits, and without one. */
const readEvery = { waiting: 200, idle: 2000 } as const;

/** Decides on claims that hold devices. */
export class ClaimRelease {
  readonly #files: ClaimFiles;
  readonly #options: ClaimReleaseOptions;
  /** Since when claims that are prepared are known to be gone, in milliseconds of the monotonic clock. */
  readonly #goneSince = new Map<string, number>();
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(files: ClaimFiles, options: ClaimReleaseOptions) {
    this.#files = files;
    this.#options = options;
  }

  /** Releases the devices of a claim that is gone; throws, with why, when it is not, or not for long enough. */
  async resolve(conflict: ClaimConflict, signal: AbortSignal, release: (record: ClaimRecord) => void): Promise<void> {
    const { root, readClaim, releaseAfter = usualReleaseAfter } = this.#options;
    const { id, holder } = conflict;
    const what = `device ${id} is prepared for claim ${claimLabel(holder)}`;
    const found = await readClaim(holder, signal).catch((cause: unknown) => {
      if (isUnrelatedClaim(cause)) return null;
      throw new Error(`${what}, of which it is not known whether it still has it: ${messageOf(cause)}`, { cause });
    });
    if (isStillAllocated(conflict, found && allocatedClaim(found), this.#options)) {
      this.#goneSince.delete(holder.uid);
      throw new Error(`${what}, which still has it; it is free when the pods of that claim have ended`);
    }
    // Another call may have released it meanwhile.
    const record = this.#files.find(holder.uid)?.record;
    if (!record?.devices.some((device) => device.id === id)) return;
    const since = this.#goneSince.get(holder.uid) ?? performance.now();
    this.#goneSince.set(holder.uid, since);
    if (performance.now() - since < releaseAfter)
      throw new Error(
        `${what}, which is gone, but its pod may not have ended; it is released after ${releaseAfter / 1000} s`,
      );
    const [pod] = runningPods(record, readPodCgroups(root));
    if (pod) throw new Error(`${what}, which is gone, but its pod ${podLabel(record, pod)} still runs`);
    release(record);
  }

  /** Waits until no pod of an unprepared claim runs; throws, with the pod, when that takes too long. */
  async podsEnd({ id, holder }: ClaimConflict, checkGoing: () => void): Promise<void> {
    const until = performance.now() + (this.#options.podsEndWithin ?? usualPodsEndWithin);
    const isReserved = () => this.#files.reserved().some(({ uid }) => uid === holder.uid);
    while (isReserved()) {
      if (performance.now() >= until) {
        const [pod] = runningPods(holder, readPodCgroups(this.#options.root));
        const label = pod ? podLabel(holder, pod) : "of it";
        throw new Error(
          `device ${id} is in use: pod ${label} still runs, though claim ${claimLabel(holder)} was unprepared; it is free when that pod has ended`,
        );
      }
      await Bun.sleep(readEvery.waiting);
      checkGoing();
    }
  }

  /** Reports when the pods of unprepared claims that run now have ended. */
  watchPods(): void {
    if (this.#timer || this.#isClosed) return;
    const reserved = () => new Set(this.#files.reserved().map(({ uid }) => uid));
    const before = reserved();
    if (before.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (!before.isSubsetOf(reserved())) this.#options.changed();
      this.watchPods();
    }, readEvery.idle);
  }

  /** Forgets a claim that is not prepared. */
  forget(uid: string): void {
    this.#goneSince.delete(uid);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
  }
}

/** A claim in logs and errors. */
export const claimLabel = ({ namespace, name }: ClaimReference): string => `${namespace}/${name}`;

const podLabel = ({ namespace }: ClaimRecord, { name }: { readonly name: string }): string => `${namespace}/${name}`;
