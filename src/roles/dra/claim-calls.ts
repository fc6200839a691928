// What is done for NodePrepareResources and NodeUnprepareResources? A claim is read, checked against all that is prepared, and described to
// the container runtime and to multus. What was prepared is known by files alone.
//
// Reading waits; all that decides and writes after it does not, so that no two calls come in between one another.

import {
  type AllocatedClaim,
  type ClaimedDevice,
  claimedDevices,
  type ClaimRecord,
  type ClaimReference,
  type ClaimSpecContent,
  isPreparedAs,
  prepareClaim,
  type PreparedClaim,
  type PreparedClaimDevice,
  preparedDevices,
  withRunningPods,
} from "../../allocation/claim.ts";
import { claimConflict, refuseDevices, refuseResults, reservedConflict } from "../../allocation/claim-conflicts.ts";
import { allocatedClaim } from "../../dra/resource-claim.ts";
import { ClaimFiles } from "../../files/claim-files.ts";
import { removeDeviceInfo, writeDeviceInfo } from "../../files/device-info-files.ts";
import { FolderWatch } from "../../fs/folder-watch.ts";
import type { AllocationFacts } from "../../host/allocation-facts.ts";
import { cdiFolder, deviceInfoFolder } from "../../host/node-paths.ts";
import { readPodCgroups } from "../../host/pod-cgroups.ts";
import { isClaimUid } from "../../pools/dra-names.ts";
import type { Pool } from "../../pools/pool.ts";
import type { LogAt, LogMessage } from "../../process/log-messages.ts";
import { messageOf, stableReason } from "../../text.ts";
import { readClaimFacts } from "../claim-facts.ts";
import { claimLabel, ClaimRelease, type ClaimReleaseOptions } from "./claim-release.ts";

/** What claims are prepared with. */
export interface PreparedClaimsOptions extends ClaimReleaseOptions {
  /** The pools as they are now. */
  readonly pools: () => readonly Pool[];
  /** The pod that has a device from the device plugin or another driver, for which the claim may not have it; null for none. */
  readonly heldElsewhere: (id: string, claim: AllocatedClaim) => string | null;
  /** Rejects, with why, while no claim may be prepared that is not prepared already. */
  readonly mayPrepare: () => Promise<void>;
  /** Is called when something was prepared or unprepared, and when the devices of what was unprepared are free later. */
  readonly changed: () => void;
}

/** After how long it is tried again to restore specs, in milliseconds. */
const restoreRetry = 5000;

/** Of so many claims it is known why they could not be prepared. */
const mostFailures = 1000;

/** A call that prepares a claim; it stops when the claim is unprepared meanwhile. */
interface Preparation {
  readonly uid: string;
  /** Why it must stop; null while it need not. */
  ended: string | null;
}

/** The claims that are prepared on this node. */
export class PreparedClaims {
  readonly #options: PreparedClaimsOptions;
  readonly #log: LogAt<"info" | "warn" | "error" | "debug">;
  readonly #files: ClaimFiles;
  readonly #release: ClaimRelease;
  readonly #running = new Set<Preparation>();
  /** Why a claim failed last: of each reason only the first failure is a warning. */
  readonly #failures = new Map<string, string>();
  #watch: FolderWatch | null = null;
  #retry: Timer | null = null;

  constructor(options: PreparedClaimsOptions, log: LogAt<"info" | "warn" | "error" | "debug">) {
    this.#options = options;
    this.#log = log;
    const { root, driver } = options;
    this.#files = new ClaimFiles(cdiFolder(root), driver, () => readPodCgroups(root));
    this.#release = new ClaimRelease(this.#files, options);
  }

  /**
   * Reads what an earlier process prepared, and from now on restores specs that are removed. False when that can't be read, which is logged: it is to
   * be tried again.
   */
  start(): boolean {
    const { folder } = this.#files;
    let files: string[];
    try {
      files = this.#files.load();
    } catch (error) {
      const reason = messageOf(error);
      const level = this.#failures.get(folder) === reason ? "debug" : "error";
      this.#log[level]("cannot read what is prepared for claims; retrying", { reason });
      this.#failures.set(folder, reason);
      return false;
    }
    this.#failures.delete(folder);
    if (files.length > 0) this.#log.warn("removed claim specs that cannot be read", { folder, files });
    this.#watch = new FolderWatch(folder, (names) => {
      if ([...names].some((name) => name === null || this.#files.isClaimFile(name))) this.restore();
    });
    return true;
  }

  /**
   * What is prepared, and what was unprepared while a pod of it still runs: the devices that no other claim, and no pod of the device
   * plugin, may get.
   */
  records(): ClaimRecord[] {
    const reserved = this.#files.reserved();
    if (reserved.length > 0) this.#release.watchPods();
    return [...this.#files.records(), ...reserved];
  }

  /** Whether a device is prepared, or was a short time ago: the kubelet may still report it. */
  wasPrepared(id: string): boolean {
    const records = [...this.#files.records(), ...this.#files.ended()];
    return records.some(({ devices }) => devices.some((device) => device.id === id));
  }

  /** Prepares a claim, and answers one that is prepared as before. Rejects with why it can't, as a sentence. */
  async prepare(reference: ClaimReference, signal: AbortSignal): Promise<PreparedClaimDevice[]> {
    const preparation: Preparation = { uid: reference.uid, ended: null };
    this.#running.add(preparation);
    const checkGoing = () => {
      signal.throwIfAborted();
      if (preparation.ended !== null) throw new Error(preparation.ended);
    };
    try {
      const devices = await this.#prepare(reference, signal, checkGoing);
      this.#failures.delete(reference.uid);
      return devices;
    } catch (error) {
      this.#failed("cannot prepare a claim; the kubelet will retry", reference, error);
      throw error;
    } finally {
      this.#running.delete(preparation);
    }
  }

  /** Makes a claim unprepared; nothing happens to one that is not prepared. Throws when files can't be removed. */
  unprepare(reference: ClaimReference): void {
    const { uid } = reference;
    try {
      if (!isClaimUid(uid)) throw new Error(`${JSON.stringify(uid)} is not the UID of a claim`);
      for (const preparation of this.#running)
        if (preparation.uid === uid) preparation.ended = "the claim was unprepared meanwhile";
      const record = this.#files.find(uid)?.record ?? null;
      this.#remove(uid, record);
      this.#failures.delete(uid);
      if (!record) return;
      this.#release.watchPods();
      this.#log.info("unprepared a claim", fieldsOf(reference, record.devices));
      this.#options.changed();
    } catch (error) {
      this.#failed("cannot unprepare a claim; the kubelet will retry", reference, error);
      throw error;
    }
  }

  /** Writes specs again that were removed or damaged; failures are logged and retried. */
  restore(): void {
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    const { folder } = this.#files;
    try {
      const files = this.#files.restore();
      this.#failures.delete(folder);
      if (files.length > 0) this.#log.warn("restored claim specs", { folder, files });
    } catch (error) {
      const reason = messageOf(error);
      this.#log[this.#failures.get(folder) === reason ? "debug" : "warn"]("cannot restore claim specs; retrying", {
        folder,
        reason,
      });
      this.#failures.set(folder, reason);
      this.#retry = setTimeout(() => this.restore(), restoreRetry);
    }
  }

  /** Stops watching, and calls that are running; what is prepared stays. */
  close(): void {
    this.#watch?.close();
    this.#release.close();
    if (this.#retry) clearTimeout(this.#retry);
    for (const preparation of this.#running) preparation.ended = "the plugin is exiting";
  }

  async #prepare(
    reference: ClaimReference,
    signal: AbortSignal,
    checkGoing: () => void,
  ): Promise<PreparedClaimDevice[]> {
    const { driver, pools, heldElsewhere, mayPrepare } = this.#options;
    for (;;) {
      const claim = await this.#read(reference, signal);
      const find = () => this.#files.find(claim.uid);
      const isPrepared = (known: ClaimSpecContent | null) => known !== null && isPreparedAs(known, claim, driver);
      // The last that waits: what allows it must not be outdated when the spec is written.
      if (!isPrepared(find())) await mayPrepare();
      checkGoing();
      const known = find();
      if (known && isPrepared(known)) {
        // Not made anew: what a pod has of its devices can be hidden from the host. It may be shared with a new pod.
        this.#recordPods(claim, known.record);
        this.#log.debug("prepared a claim", fieldsOf(reference, known.record.devices));
        return preparedDevices(claim, driver);
      }
      refuse(refuseResults(claim, this.#options));
      const claimed = claimedDevices(claim, driver, pools());
      refuse(refuseDevices(claimed, (id) => heldElsewhere(id, claim)));
      const reserved = reservedConflict(claim.uid, claimed, this.#files.reserved());
      const conflict = reserved ? null : claimConflict(claim.uid, claimed, this.#files.records());
      if (!reserved && !conflict) return this.#write(claim, claimed, known?.record ?? null);
      if (reserved) await this.#release.podsEnd(reserved, checkGoing);
      if (conflict) await this.#release.resolve(conflict, signal, (record) => this.#releaseDevices(record));
      checkGoing();
    }
  }

  /** Reads the claim that the kubelet means, with its allocation. */
  async #read(reference: ClaimReference, signal: AbortSignal): Promise<AllocatedClaim> {
    const label = claimLabel(reference);
    if (!isClaimUid(reference.uid)) throw new Error(`${JSON.stringify(reference.uid)} is not the UID of a claim`);
    const found = await this.#options.readClaim(reference, signal);
    if (!found) throw new Error(`claim ${label} does not exist`);
    if (found.metadata.uid !== reference.uid) throw new Error(`claim ${label} was replaced by another one of its name`);
    const claim = allocatedClaim(found);
    if (!claim) throw new Error(`claim ${label} is not allocated`);
    return claim;
  }

  /** Records the pods that share a prepared claim by now, beside those that run. */
  #recordPods(claim: AllocatedClaim, record: ClaimRecord): void {
    if (claim.pods.every(({ uid }) => record.podUids.includes(uid))) return;
    this.#files.setPods(claim.uid, withRunningPods(claim, record, readPodCgroups(this.#options.root)).pods);
  }

  #write(claim: AllocatedClaim, claimed: readonly ClaimedDevice[], before: ClaimRecord | null): PreparedClaimDevice[] {
    const { root, driver, changed } = this.#options;
    const earlier = before ?? this.#files.reserved().find(({ uid }) => uid === claim.uid);
    const recorded = earlier ? withRunningPods(claim, earlier, readPodCgroups(root)) : claim;
    const prepared = prepareClaim(recorded, claimed, (device) => readFacts(root, device), driver);
    // The claim was allocated other devices before, and never unprepared.
    if (before) this.#remove(claim.uid, before);
    try {
      this.#writeFiles(prepared);
    } catch (error) {
      this.#tidy(claim.uid, devicesOf(claimed));
      throw error;
    }
    // The folder may be new.
    this.#watch?.rearm();
    this.#log.info("prepared a claim", fieldsOf(claim, devicesOf(claimed)));
    changed();
    return [...prepared.devices];
  }

  /** The spec comes last: when it is there, all is. */
  #writeFiles(prepared: PreparedClaim): void {
    try {
      writeDeviceInfo(deviceInfoFolder(this.#options.root), prepared.files);
    } catch (cause) {
      // Without the temporary name of the file: the same reason is logged once.
      const reason = stableReason(cause);
      const message = `the device-info file can't be written, so multus could not attach the device: ${reason}`;
      throw new Error(message, { cause });
    }
    this.#files.write(prepared);
  }

  /** Removes the files of a claim; the spec goes last, since it says what else there is. */
  #remove(uid: string, record: ClaimRecord | null): void {
    this.#removeInfo(uid, record?.devices ?? []);
    this.#files.remove(uid);
    this.#release.forget(uid);
  }

  /** Removes the device-info files of a claim's devices that no other claim has. */
  #removeInfo(uid: string, devices: ClaimRecord["devices"]): void {
    const others = this.#files.records().filter((other) => other.uid !== uid);
    const used = new Set(others.flatMap((other) => other.devices.map(({ id }) => id)));
    removeDeviceInfo(
      deviceInfoFolder(this.#options.root),
      devices.filter(({ id }) => !used.has(id)),
    );
  }

  /** Cleans up after a failure; what can't be removed is overwritten by the next attempt. */
  #tidy(uid: string, devices: ClaimRecord["devices"]): void {
    try {
      this.#removeInfo(uid, devices);
    } catch {
      // The failure itself is reported.
    }
  }

  #releaseDevices(holder: ClaimRecord): void {
    this.#remove(holder.uid, holder);
    this.#log.warn("released the devices of a claim that is gone", fieldsOf(holder, holder.devices));
    this.#options.changed();
  }

  #failed(message: LogMessage, reference: ClaimReference, error: unknown): void {
    const { uid } = reference;
    const reason = messageOf(error);
    const isKnown = this.#failures.get(uid) === reason;
    if (this.#failures.size >= mostFailures) this.#failures.clear();
    this.#failures.set(uid, reason);
    this.#log[isKnown ? "debug" : "warn"](message, { claim: claimLabel(reference), uid, reason });
  }
}

/** What the log says of a claim. */
const fieldsOf = (claim: ClaimReference, devices: ClaimRecord["devices"]) => ({
  claim: claimLabel(claim),
  uid: claim.uid,
  devices: devices.map(({ id }) => id),
});

const devicesOf = (claimed: readonly ClaimedDevice[]): ClaimRecord["devices"] =>
  claimed.filter(({ result }) => !result.adminAccess).map(({ id, spec }) => ({ resource: spec.resource, id }));

function refuse(reason: string | null): void {
  if (reason !== null) throw new Error(reason);
}

function readFacts(root: string, { id, claim, spec }: ClaimedDevice): AllocationFacts {
  try {
    return readClaimFacts(root, claim, spec);
  } catch (cause) {
    throw new Error(`device ${id} of ${spec.resource} can't be read: ${messageOf(cause)}`, { cause });
  }
}
