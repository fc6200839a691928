// What is done for containers that get their devices by CDI? The specs on the node are kept in step with the pools: in
// an order in which no two of them name one device, and with what pods hold.

import { cdiFolder, staticCdiFolder } from "../../host/node-paths.ts";
import type { CdiContext, PreparedDevice } from "../../allocation/allocate.ts";
import type { CdiMode } from "../../allocation/cdi.ts";
import { type DeviceNode, nodesOf } from "../../allocation/contributions.ts";
import { CdiFiles, removeCdiSpecs } from "../../files/cdi-files.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import type { Log } from "../../process/log.ts";
import type { LogMessage } from "../../process/log-messages.ts";
import { messageOf, stableReason } from "../../text.ts";
import { readClaimNodes } from "../claim-facts.ts";
import { cdiFileName, cdiFileNames } from "../../pools/names.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";

/** What CDI needs of the agent. */
export interface CdiOptions {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly mode: CdiMode;
  readonly podAllocations: PodAllocations;
}

/** A failure that was reported: of one reason only the first and gravest is. */
interface Failure {
  readonly level: "warn" | "error";
  readonly reason: string;
}

/** The CDI specs of all pools. */
export class CdiSpecs {
  readonly #options: CdiOptions;
  readonly #log: Log;
  readonly #specs: CdiFiles;
  /** What failed when it was tried last, and why: retries are not reported as long as nothing is new. */
  readonly #failures = new Map<string, Failure>();

  constructor(options: CdiOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    this.#specs = new CdiFiles(cdiFolder(options.root));
  }

  /** Takes up what an earlier process left: the first pass decides what stays of it. */
  load(): void {
    const remove = (folder: string, stale: () => string[]) =>
      this.#quietly(folder, "cannot remove stale CDI specs", { folder }, () => {
        const files = stale();
        if (files.length > 0) this.#log.info("removed stale CDI specs", { folder, files });
      });
    const fixed = staticCdiFolder(this.#options.root);
    remove(fixed, () => removeCdiSpecs(fixed));
    remove(this.#specs.folder, () => this.#specs.load());
  }

  /** Before the pools change: removes devices from specs where another pool's spec will name them. False when that failed. */
  withdraw(pools: readonly Pool[]): boolean {
    const known = new Set(pools.flatMap(({ spec, claims }) => [spec.resource, ...claims.keys()]));
    for (const what of this.#failures.keys())
      if (what !== this.#specs.folder && !known.has(what)) this.#failures.delete(what);
    return this.#change(() => this.#specs.withdraw(pools));
  }

  /** Writes the pool's spec before the kubelet is sent its devices; returns whether the pool may be offered. */
  describe({ spec, claims }: Pool): boolean {
    const nodes = new Map<string, readonly DeviceNode[]>();
    for (const [id, claim] of claims) {
      this.#quietly(id, "cannot read a device's nodes", { device: id }, () =>
        nodes.set(id, readClaimNodes(this.#options.root, claim, spec)),
      );
    }
    try {
      if (this.#specs.describe(spec, nodes))
        this.#log.info("wrote the pool's CDI spec", { resource: spec.resource, file: cdiFileName(spec) });
      this.#failures.delete(spec.resource);
      return true;
    } catch (error) {
      const message = "cannot write the pool's CDI spec; no device is added to the pool; retrying";
      this.#failed(spec.resource, "error", message, { resource: spec.resource, folder: this.#specs.folder }, error);
      return false;
    }
  }

  /** After the pools changed: removes devices that no pool has any more, unless they are allocated. False when that failed. */
  prune(pools: readonly Pool[]): boolean {
    const isHeld = (file: string, id: string) =>
      this.#options.podAllocations.mayHoldAs(id, (resource) => cdiFileNames(resource).includes(file));
    return this.#change(() => this.#specs.prune(pools, isHeld));
  }

  /** Writes specs of these pools again that were removed or replaced. */
  restore(specs: readonly PoolSpec[]): void {
    this.#change(() => this.#specs.restore(specs));
  }

  /**
   * Brings the spec up to date for these devices, since a node's number may differ from that at the last scan; returns what the answer to
   * Allocate is made of. Throws when the spec can't be written.
   */
  prepareForAllocate(spec: PoolSpec, prepared: ReadonlyMap<string, PreparedDevice>): CdiContext {
    const nodes = new Map([...prepared].map(([id, { contributions }]) => [id, nodesOf([contributions])]));
    if (!this.#specs.says(spec, nodes) && this.#specs.describe(spec, nodes)) this.#logUpdate(cdiFileName(spec));
    return { mode: this.#options.mode, devices: this.#specs.devicesOf(spec) };
  }

  /** Leaves no spec of a pool of which no pod holds a device. */
  leave(spec: PoolSpec): void {
    if (this.#options.podAllocations.mayHoldAny(spec.resource)) return;
    const fields = { resource: spec.resource };
    this.#quietly(cdiFileName(spec), "cannot remove the pool's CDI spec", fields, () => this.#specs.remove(spec));
  }

  /** Changes specs and logs their files; false when that failed. */
  #change(change: () => readonly string[]): boolean {
    const { folder } = this.#specs;
    return this.#quietly(folder, "cannot update CDI specs", { folder }, () => {
      for (const file of change()) this.#logUpdate(file);
    });
  }

  #logUpdate(file: string): void {
    this.#log.info("updated a CDI spec", { file });
  }

  /** Tries something with `what`; returns false for a failure, which is logged. */
  #quietly(what: string, message: LogMessage, fields: Record<string, unknown>, action: () => unknown): boolean {
    try {
      action();
      this.#failures.delete(what);
      return true;
    } catch (error) {
      this.#failed(what, "warn", message, fields, error);
      return false;
    }
  }

  /** Reports a failure of `what`, at debug level while the same reason is reported already: retries come every few seconds. */
  #failed(
    what: string,
    level: Failure["level"],
    message: LogMessage,
    fields: Record<string, unknown>,
    error: unknown,
  ): void {
    const reason = stableReason(error);
    const isKnown = [...this.#failures.values()].some(
      (failure) => failure.reason === reason && (failure.level === level || failure.level === "error"),
    );
    this.#failures.set(what, { level: this.#failures.get(what)?.level === "error" ? "error" : level, reason });
    this.#log[isKnown ? "debug" : level](message, { ...fields, reason: messageOf(error) });
  }
}
