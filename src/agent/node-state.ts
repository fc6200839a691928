// The node as the agent has it: what the last scan found, what earlier ones saw and this one can't, and which devices are excluded since the host needs them.

import type { Device } from "../host/device.ts";
import type { NodeScan } from "../host/scanner.ts";
import { readUptime } from "../host/uptime.ts";
import { applyExclusions, exclusionChanges, type Exclusion, noExclusions } from "../pools/exclusions.ts";
import { nextLinkScan } from "../pools/health.ts";
import type { Pool } from "../pools/pool.ts";
import { nextNameScan, recallAll, type RememberedPfs } from "../pools/recall.ts";
import type { Log } from "../process/log.ts";
import type { ScheduledScans } from "./scheduled-scans.ts";

/** How long after a boot carriers may be late, in milliseconds. */
const bootTime = 180_000;

/** The node over the life of the process. */
export class NodeState {
  readonly #root: string;
  readonly #scheduled: ScheduledScans;
  readonly #log: Log;
  #scan: NodeScan | null = null;
  #devices: readonly Device[] = [];
  readonly #pfs: RememberedPfs = new Map();
  #exclusionMemory = noExclusions;
  #exclusions: readonly Exclusion[] = [];
  /** Since when exclusions whose reason is gone are to end, in milliseconds of performance.now(); null when they are not. */
  #forgetSince: number | null = null;
  #problems: ReadonlySet<string> = new Set();
  /** The time of the start, when the node had booted shortly before. */
  readonly #startedAfterBoot: number | null;

  /** `root` goes before every path of the node; scans without an event are put into `scheduled`. */
  constructor(root: string, scheduled: ScheduledScans, log: Log) {
    this.#root = root;
    this.#scheduled = scheduled;
    this.#log = log;
    const uptime = readUptime(root);
    this.#startedAfterBoot = uptime !== null && uptime < bootTime ? performance.now() : null;
  }

  /** The scan that the devices are made of; null before the first. */
  get scan(): NodeScan | null {
    return this.#scan;
  }

  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** Devices that are in no pool, since the host needs them. */
  get exclusions(): readonly Exclusion[] {
    return this.#exclusions;
  }

  /** Exclusions whose reason is gone end with the next whole scan: links alone, or a scan that began before, may still have what is gone. */
  forgetExclusions(): void {
    this.#forgetSince = performance.now();
  }

  /** Takes the devices of a scan; one that was taken already changes nothing. */
  take(scan: NodeScan): void {
    if (scan === this.#scan) return;
    const isFirst = this.#scan === null;
    this.#scan = scan;
    const { problems, hasDefaultRoute } = scan;
    for (const { key, message } of problems) if (!this.#problems.has(key)) this.#log.warn(message);
    // A problem that was gone is logged again when it returns; a scan of links alone does not find all.
    if (scan.isWhole) this.#problems = new Set(problems.map(({ key }) => key));
    const now = performance.now();
    const isForgetting = this.#forgetSince !== null && scan.isWhole && scan.began >= this.#forgetSince;
    if (isForgetting) this.#forgetSince = null;
    const context = { now, startedAfterBoot: this.#startedAfterBoot, linksOnly: !scan.isWhole, pfs: this.#pfs };
    const { devices, memory, exclusions, recheckIn } = applyExclusions(
      recallAll(scan.devices, isFirst ? null : this.#devices, context),
      this.#exclusionMemory,
      { now, time: Date.now(), hasDefaultRoute, uptime: readUptime(this.#root), isForgetting },
    );
    this.#devices = devices;
    this.#exclusionMemory = memory;
    const { began, ended } = exclusionChanges(this.#exclusions, exclusions);
    this.#exclusions = exclusions;
    for (const { device, reason, until } of began) this.#log.info("device excluded", { device, reason, until });
    for (const { device, reason } of ended) this.#log.info("device no longer excluded", { device, reason });
    this.#scheduled.set("exclusions", "links", recheckIn === null ? null : recheckIn + 1);
  }

  /** Schedules the scans that no event will cause: of InfiniBand ports, of carriers that are late, of names that have stayed. */
  scheduleScans(pools: readonly Pool[]): void {
    const now = performance.now();
    this.#scheduled.set("ports", "links", nextLinkScan(pools, now));
    this.#scheduled.set("names", "functions", nextNameScan(this.#devices, now));
  }
}
