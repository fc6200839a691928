// Which claims are prepared? Each has a CDI spec on the node, which is at the same time the record of what was prepared: it survives a
// restart of ours and goes with a reboot, as pods do. During an update two processes read and write these files.

import { lstatSync, rmSync } from "node:fs";
import {
  type ClaimPod,
  type ClaimRecord,
  type ClaimSpecContent,
  type PreparedClaim,
  readClaimRecord,
  readClaimSpec,
  runningPods,
  withPods,
} from "../allocation/claim.ts";
import { contentOf, ensureFolder, removeFile, removeTemporaryFiles, writeAtomic } from "../fs/atomic.ts";
import { namesIn } from "../fs/folder-names.ts";
import { revisionOf } from "../fs/identity.ts";
import { claimFileName, claimUidIn, endedClaimFileName, endedClaimUidIn } from "../pools/dra-names.ts";
import { stableReason } from "../text.ts";

/** For how long it can be seen that a claim was unprepared, in milliseconds: longer than two processes overlap during an update. */
const endedFor = 10 * 60_000;

/** A spec as it was read or written last. */
interface KnownSpec {
  readonly text: string;
  readonly content: ClaimSpecContent;
  readonly revision: string | null;
}

/** What was unprepared, as its mark says or as it was marked last. */
interface EndedClaim {
  /** Null for a mark without a record, as earlier versions write it. */
  readonly record: ClaimRecord | null;
  /** Null for a mark that could not be written. */
  readonly revision: string | null;
  /** Whether no pod of it runs any more. */
  isFree: boolean;
}

/** The CDI specs of a driver's claims in one folder. */
export class ClaimFiles {
  readonly folder: string;
  readonly #driver: string;
  readonly #podCgroups: () => ReadonlySet<string> | null;
  readonly #known = new Map<string, KnownSpec>();
  /** What was unprepared, for as long as that can be seen. */
  readonly #ended = new Map<string, EndedClaim>();

  /** `podCgroups` gives the UIDs of pods that run; null where that is not visible. */
  constructor(folder: string, driver: string, podCgroups: () => ReadonlySet<string> | null = () => null) {
    this.folder = folder;
    this.#driver = driver;
    this.#podCgroups = podCgroups;
  }

  /** Whether a file name is that of a claim's spec. */
  isClaimFile(name: string): boolean {
    return claimUidIn(this.#driver, name) !== null;
  }

  /**
   * Reads the specs that an earlier process left; returns the names of those that are damaged, which are removed. Throws when the folder, or a
   * spec, can't be read. What can't be removed stays: the folder may be mounted read-only.
   */
  load(): string[] {
    const names = namesIn(this.folder);
    const failure = this.#refresh();
    if (failure !== null) throw failure;
    const damaged = names.filter((name) => {
      const uid = claimUidIn(this.#driver, name);
      return uid !== null && !this.#known.has(uid) && tryTo(() => removeFile(`${this.folder}/${name}`)) === true;
    });
    const isOurs = (name: string) => this.isClaimFile(name) || endedClaimUidIn(this.#driver, name) !== null;
    tryTo(() => removeTemporaryFiles(this.folder, isOurs));
    this.#removeEnded();
    return damaged;
  }

  /** What is prepared, by all processes, in the order of the UIDs; a spec that was removed or damaged counts as it was. */
  records(): ClaimRecord[] {
    this.#refresh();
    return [...this.#known.values()].map(({ content }) => content.record).toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
  }

  /** What was unprepared a short time ago, or while a pod of it still runs. */
  ended(): ClaimRecord[] {
    this.#refresh();
    return [...this.#ended.values()].flatMap(({ record }) => record ?? []);
  }

  /** What was unprepared while a pod of it still runs. */
  reserved(): ClaimRecord[] {
    this.#refresh();
    const candidates = [...this.#ended.values()].filter(({ isFree }) => !isFree);
    const cgroups = candidates.length > 0 ? this.#podCgroups() : null;
    if (cgroups === null) return [];
    // A pod that has ended never runs again.
    for (const each of candidates) each.isFree = !each.record || runningPods(each.record, cgroups).length === 0;
    return candidates.flatMap(({ record, isFree }) => (record && !isFree ? [record] : []));
  }

  /** What the claim's spec has; null when the claim is not prepared. */
  find(uid: string): ClaimSpecContent | null {
    this.#refresh();
    return this.#known.get(uid)?.content ?? null;
  }

  /** Writes a claim's spec; throws when it can't, and leaves what was there. */
  write({ spec }: PreparedClaim): void {
    const text = JSON.stringify(spec);
    const content = readClaimSpec(text, this.#driver);
    if (content === null) throw new Error("the spec has no record that can be read back");
    this.#write(content.record.uid, { text, content, revision: null });
  }

  /** Writes other pods into the record of a claim that is prepared; throws when it can't, and leaves what was there. */
  setPods(uid: string, pods: readonly ClaimPod[]): void {
    const known = this.#known.get(uid);
    if (!known) return;
    const text = withPods(known.text, known.content.record, pods, this.#driver);
    const content = readClaimSpec(text, this.#driver);
    if (content) this.#write(uid, { text, content, revision: null });
  }

  /** Removes a claim's spec, so that no process takes it for one that was lost; nothing happens when it is not there. Throws when it can't. */
  remove(uid: string): void {
    const path = this.#path(uid);
    const isThere = () => revisionOf(path) !== null;
    if (isThere() || this.#known.has(uid)) this.#markEnded(uid, this.#known.get(uid)?.content.record ?? null);
    removeFile(path);
    if (isThere()) throw new Error(`${path} can't be removed; is it a folder, or immutable?`);
    this.#known.delete(uid);
    this.#removeEnded();
  }

  /** Writes specs again that were removed or damaged, so that containers can restart. Returns the names of the files. */
  restore(): string[] {
    this.#refresh();
    const lost = [...this.#known].filter(([uid, { revision }]) => revisionOf(this.#path(uid)) !== revision);
    return lost.map(([uid, known]) => {
      this.#write(uid, known);
      return claimFileName(this.#driver, uid);
    });
  }

  #path(uid: string): string {
    return `${this.folder}/${claimFileName(this.#driver, uid)}`;
  }

  #endedPath(uid: string): string {
    return `${this.folder}/${endedClaimFileName(this.#driver, uid)}`;
  }

  /**
   * Takes up what another process wrote, and forgets what it unprepared. What can't be read is as it was; gives the first error of a spec, null
   * when all could be read.
   */
  #refresh(): Error | null {
    let failure: Error | null = null;
    const found = new Set<string>();
    const ended = new Set<string>();
    for (const name of this.#names()) {
      const uid = claimUidIn(this.#driver, name);
      if (uid !== null) found.add(uid);
      const endedUid = endedClaimUidIn(this.#driver, name);
      if (endedUid !== null) ended.add(endedUid);
    }
    for (const uid of found) {
      const revision = revisionOf(this.#path(uid));
      if (revision === null || revision === this.#known.get(uid)?.revision) continue;
      try {
        const spec = this.#read(uid, revision);
        if (spec) this.#known.set(uid, spec);
      } catch (error) {
        failure ??= error as Error;
      }
    }
    for (const uid of ended) {
      if (found.has(uid)) continue;
      this.#known.delete(uid);
      const revision = revisionOf(this.#endedPath(uid));
      if (revision !== this.#ended.get(uid)?.revision) this.#ended.set(uid, endedClaim(this.#readEnded(uid), revision));
    }
    // Without its mark, which could not be written, one whose pod runs stays in memory.
    for (const [uid, { isFree }] of this.#ended)
      if (found.has(uid) || (!ended.has(uid) && isFree)) this.#ended.delete(uid);
    return failure;
  }

  #names(): string[] {
    try {
      return namesIn(this.folder);
    } catch {
      return [];
    }
  }

  /** Null for a text that is no spec of ours, and for one of another claim: two files must not have the same CDI devices. */
  #read(uid: string, revision: string): KnownSpec | null {
    const text = contentOf(this.#path(uid));
    const content = text === null ? null : readClaimSpec(text, this.#driver);
    return text !== null && content?.record.uid === uid ? { text, content, revision } : null;
  }

  #write(uid: string, { text, content }: KnownSpec): void {
    const path = this.#path(uid);
    try {
      ensureFolder(this.folder);
      // It may have values of additionalInfo, which can be secrets. Runtimes are root.
      writeAtomic(path, text, 0o600);
    } catch (cause) {
      // Without the temporary name, which differs at every attempt: the same reason is logged once.
      throw new Error(`cannot write ${path}: ${stableReason(cause)}`, { cause });
    }
    this.#known.set(uid, { text, content, revision: revisionOf(path) });
    rmSync(this.#endedPath(uid), { force: true });
  }

  /** For other processes that know the spec, and for those that come later. A full file system must not keep a claim from being unprepared. */
  #markEnded(uid: string, record: ClaimRecord | null): void {
    // Without it the claim's devices are refused to others until its end is seen at the API server.
    tryTo(() => writeAtomic(this.#endedPath(uid), record === null ? "" : JSON.stringify(record), 0o600));
    this.#ended.set(uid, endedClaim(record, revisionOf(this.#endedPath(uid))));
  }

  #readEnded(uid: string): ClaimRecord | null {
    const record = readClaimRecord(tryTo(() => contentOf(this.#endedPath(uid))) ?? "");
    return record?.uid === uid ? record : null;
  }

  /** Removes marks that no process needs any more. One that stays does no harm. */
  #removeEnded(): void {
    const reserved = new Set(this.reserved().map(({ uid }) => uid));
    for (const name of this.#names()) {
      const uid = endedClaimUidIn(this.#driver, name);
      if (uid === null || reserved.has(uid)) continue;
      const path = `${this.folder}/${name}`;
      tryTo(() => {
        const ended = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs;
        if (ended === undefined || Date.now() - ended <= endedFor) return;
        removeFile(path);
        this.#ended.delete(uid);
      });
    }
  }
}

const endedClaim = (record: ClaimRecord | null, revision: string | null): EndedClaim => ({
  record,
  revision,
  isFree: (record?.podUids ?? []).length === 0,
});

/** What cleans up may fail: nothing depends on it. */
function tryTo<Result>(action: () => Result): Result | null {
  try {
    return action();
  } catch {
    return null;
  }
}
