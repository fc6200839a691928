// Which claims are left on a node that changed from the DRA role? Their pods run on. The kubelet must be able to unprepare these claims, or the pods
// could never end; until then their devices must not be offered.

import { FolderWatch } from "../../fs/folder-watch.ts";
import { cdiFolder } from "../../host/node-paths.ts";
import { DraServer } from "../../kubelet/dra-server.ts";
import type { KubeletPaths } from "../../kubelet/kubelet-paths.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import type { AllocatedDevice } from "../../pools/decide-allocations.ts";
import { claimUidIn, endedClaimUidIn } from "../../pools/dra-names.ts";
import type { LogAt } from "../../process/log-messages.ts";
import { messageOf } from "../../text.ts";
import { allocationsOf, holdersOf } from "../claim-holders.ts";
import { PreparedClaims } from "../dra/claim-calls.ts";
import type { Holder } from "../role.ts";

/** What is needed to unprepare claims. */
export interface LeftClaimsOptions {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly paths: KubeletPaths;
  readonly driver: string;
  readonly podAllocations: Pick<PodAllocations, "allocations">;
  /** Claims were unprepared, or prepared by another process. */
  readonly changed: () => void;
  /** How long the kubelet is to see no driver before one serves the claims that are left, in milliseconds. */
  readonly serveAfter?: number;
  /** After how long it is tried again to read the claims, in milliseconds; 5 s where it is missing. */
  readonly readAgain?: number;
}

/**
 * A kubelet that has no connection to a driver for 30 s deletes its ResourceSlices (kubernetes pkg/kubelet/cm/dra/plugin/dra_plugin_manager.go
 * defaultWipingDelay): then nothing new is allocated of them. A connection before would keep them.
 */
const usualServeAfter = 45_000;

const readRetry = 5000;

/** Why no claim is prepared. */
const refusal = "this node hands out devices by the device plugin: it left the DRA role";

/** The claims of the DRA role that are not unprepared yet. */
export class LeftClaims {
  readonly #options: LeftClaimsOptions;
  readonly #log: LogAt<"info" | "warn" | "error" | "debug">;
  readonly #claims: PreparedClaims;
  #watch: FolderWatch | null = null;
  #server: DraServer | null = null;
  #timer: Timer | null = null;
  #retry: Timer | null = null;
  /** Whether claims were left when that was checked last. */
  #wasNeeded = false;
  #isClosed = false;

  constructor(options: LeftClaimsOptions, log: LogAt<"info" | "warn" | "error" | "debug">) {
    const { root, driver, changed } = options;
    this.#options = options;
    this.#log = log;
    this.#claims = new PreparedClaims(
      {
        root,
        driver,
        node: "",
        pools: () => [],
        heldElsewhere: () => null,
        readClaim: () => Promise.reject(new Error(refusal)),
        mayPrepare: () => Promise.reject(new Error(refusal)),
        changed: () => {
          this.#serve();
          changed();
        },
      },
      log,
    );
  }

  /** Devices that claims have, under the driver's name: a resource that no pool has. */
  get prepared(): ReadonlyMap<string, Holder> {
    return holdersOf(this.#claims.records(), this.#options.driver);
  }

  /** What claims have, by the resources under which they were prepared. */
  get allocations(): AllocatedDevice[] {
    return allocationsOf(this.#claims.records());
  }

  /** The ids of devices that claims have, by their files or as the kubelet reports it. */
  get ids(): ReadonlySet<string> {
    return new Set([...this.prepared.keys(), ...this.#reported.map(({ id }) => id)]);
  }

  /** Reads which claims are prepared, and follows that; never throws. */
  start(): void {
    const { root, driver, changed } = this.#options;
    this.#read();
    this.#watch = new FolderWatch(cdiFolder(root), (names) => {
      const isClaim = (name: string | null) =>
        name === null || claimUidIn(driver, name) !== null || endedClaimUidIn(driver, name) !== null;
      if (![...names].some(isClaim)) return;
      this.#serve();
      changed();
    });
    this.#serve();
  }

  /** Checks whether the driver's socket is in place, and whether it is needed. */
  check(): void {
    this.#watch?.rearm();
    this.#server?.check();
    this.#serve();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of [this.#timer, this.#retry]) if (timer) clearTimeout(timer);
    this.#watch?.close();
    this.#claims.close();
    await this.#end();
  }

  /** Reads the claims, until that works. */
  #read(): void {
    if (this.#claims.start()) return;
    this.#retry = setTimeout(() => {
      this.#read();
      this.#serve();
      this.#options.changed();
    }, this.#options.readAgain ?? readRetry);
  }

  /**
   * Whether claims are left: by their files or, where the folder of CDI specs is not mounted into the plugin's container, by what the
   * kubelet reports of pods.
   */
  get #isNeeded(): boolean {
    const { driver } = this.#options;
    return this.prepared.size > 0 || this.#reported.some(({ resource }) => resource === driver);
  }

  /** Devices that pods have by claims as the kubelet reports it, under the name of their driver. */
  get #reported(): AllocatedDevice[] {
    return [...this.#options.podAllocations.allocations.values()].filter(({ isClaimed }) => isClaimed === true);
  }

  /** Serves the driver for as long as claims are left. */
  #serve(): void {
    const isNeeded = this.#isNeeded;
    if (this.#isClosed || isNeeded === this.#wasNeeded) return;
    this.#wasNeeded = isNeeded;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (isNeeded && this.#server === null)
      this.#timer = setTimeout(() => this.#begin(), this.#options.serveAfter ?? usualServeAfter);
    // Not at once: the kubelet is to receive the answer to the last call.
    if (!isNeeded && this.#server !== null) this.#timer = setTimeout(() => void this.#end(), 1000);
  }

  #begin(): void {
    this.#timer = null;
    const { driver, paths } = this.#options;
    try {
      this.#server = new DraServer({
        driver,
        instance: "device-plugin",
        paths,
        log: this.#log,
        prepare: () => Promise.reject(new Error(refusal)),
        unprepare: (claim) => this.#claims.unprepare(claim),
      });
    } catch (error) {
      this.#log.error("cannot serve the DRA driver; pods with claims cannot end", { driver, reason: messageOf(error) });
      return;
    }
    const claims = this.#claims.records().map(({ namespace, name }) => `${namespace}/${name}`);
    this.#log.info("serving the DRA driver until its remaining claims are unprepared", { driver, claims });
    this.#server.start();
  }

  async #end(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    // What is left of its socket is removed as that of a plugin that was killed.
    await server?.close().catch(() => {});
  }
}
