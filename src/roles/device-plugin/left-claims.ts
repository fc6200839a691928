// What does a node that changed from the DRA role still have of it? Pods with claims run on. The kubelet must be able to unprepare their claims, or
// they could never end, and their devices must not be offered before.

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
}

/**
 * A kubelet that has no connection to a driver for 30 s deletes its ResourceSlices (kubernetes pkg/kubelet/cm/dra/plugin/dra_plugin_manager.go
 * defaultWipingDelay): then nothing new is allocated of them. A connection before would keep them.
 */
const usualServeAfter = 45_000;

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
  #isReadable = false;

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
    return holdersOf(this.#isReadable ? this.#claims.records() : [], this.#options.driver);
  }

  /** What claims have, by the resources under which they were prepared. */
  get allocations(): AllocatedDevice[] {
    return allocationsOf(this.#isReadable ? this.#claims.records() : []);
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

  /** Checks whether the driver's socket is in place, and reads the claims if that failed before. */
  check(): void {
    if (!this.#isReadable) this.#read();
    this.#watch?.rearm();
    this.#server?.check();
    this.#serve();
  }

  async close(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#watch?.close();
    this.#claims.close();
    await this.#server?.close();
  }

  #read(): void {
    try {
      this.#claims.start();
      this.#isReadable = true;
    } catch (error) {
      this.#log.error("cannot read what is prepared for claims; retrying", { reason: messageOf(error) });
    }
  }

  /**
   * Whether claims are left: by their files or, where the folder of CDI specs is not mounted into the plugin's container, by what the
   * kubelet reports of pods.
   */
  get #isNeeded(): boolean {
    const { driver, podAllocations } = this.#options;
    if (this.prepared.size > 0) return true;
    return [...podAllocations.allocations.values()].some((each) => each.isClaimed && each.resource === driver);
  }

  /** Serves the driver for as long as claims are left. */
  #serve(): void {
    const isNeeded = this.#isNeeded;
    if (isNeeded && this.#server === null && this.#timer === null)
      this.#timer = setTimeout(() => this.#begin(), this.#options.serveAfter ?? usualServeAfter);
    if (isNeeded) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const server = this.#server;
    this.#server = null;
    // Not at once: the kubelet is to receive the answer to the last call.
    if (server) setTimeout(() => void server.close(), 1000);
  }

  #begin(): void {
    this.#timer = null;
    const { driver, paths } = this.#options;
    const claims = this.#claims.records().map(({ namespace, name }) => `${namespace}/${name}`);
    this.#log.info("serving the DRA driver until the claims are unprepared that it left", { driver, claims });
    this.#server = new DraServer({
      driver,
      instance: "device-plugin",
      paths,
      log: this.#log,
      prepare: () => Promise.reject(new Error(refusal)),
      unprepare: (claim) => this.#claims.unprepare(claim),
    });
    this.#server.start();
  }
}
