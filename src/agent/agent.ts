// The loop: what changed → scan → assign → apply. Level-triggered: driver rebind, hot-plug, a new config, a kubelet restart are all the same path.

import type { CdiMode } from "../allocation/cdi.ts";
import { isListening } from "../fs/socket-file.ts";
import { readPodCgroups } from "../host/pod-cgroups.ts";
import type { OptionalFacts } from "../host/scan.ts";
import { readUseSigns } from "../host/use-signs.ts";
import { offeredElsewhere } from "../kubelet/other-offers.ts";
import { PodAllocations } from "../kubelet/pod-allocations.ts";
import { type KubeletPaths, kubeletPaths, type RegistrationMode, socketNameLimit } from "../kubelet/kubelet-paths.ts";
import { warningsOf } from "../pools/change-log.ts";
import { infinibandOwners } from "../pools/health.ts";
import { optionalFactsOf } from "../pools/optional-facts.ts";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";
import type { Pool } from "../pools/pool.ts";
import type { Log } from "../process/log.ts";
import type { Offer } from "../process/systemd.ts";
import { countScan, type Journal, newJournal } from "../telemetry/journal.ts";
import { type NodeView, nodeViewOf } from "../telemetry/node-view.ts";
import { livenessOf, readinessOf, type ProbeResult } from "../telemetry/probes.ts";
import { scanStatus, type Status, statusOf } from "../telemetry/plugin-status.ts";
import { messageOf } from "../text.ts";
import { Assignment } from "./assignment.ts";
import { ChangeQueue, type Stale } from "./change-queue.ts";
import { NodeScans } from "./node-scans.ts";
import { NodeState } from "./node-state.ts";
import { EvidenceReads } from "./evidence-reads.ts";
import { RunningConfig } from "./running-config.ts";
import { ScheduledScans } from "./scheduled-scans.ts";
import { DevicePluginRole } from "../roles/device-plugin/device-plugin-role.ts";
import { type DraDriver, DraRole } from "../roles/dra/dra-role.ts";
import type { Role } from "../roles/role.ts";
import { servedPools, writeLines } from "../roles/served-pools.ts";
import { kubeletFolders, registrationMode, watchAll } from "./watches.ts";

/** What the command line sets for the life of the process. */
export interface AgentOptions {
  /** Goes before every path of the node; "" for the node itself. */
  readonly root: string;
  readonly configFile: string;
  readonly resourcePrefix: string;
  /** How devices are handed out by CDI; null: by their nodes. */
  readonly cdi: CdiMode | null;
  readonly kubeletRoot: string;
  /** The folder of the kubelet's device manager. */
  readonly devicePlugins: string;
  readonly linkHealth: boolean;
  /** Milliseconds between full rescans without an event. */
  readonly resync: number;
  /** The driver of the DRA role; null: devices are handed out by the device plugin. */
  readonly dra: DraDriver | null;
  /** The name of the node's DRA driver, also where it is in the other role. */
  readonly draDriverName: string;
}

/** How long after a failed scan the next one begins, in milliseconds. */
const retryDelay = 5000;

/** Is called as the agent proceeds. */
export interface Listener {
  /** The config is taken into use: the plugin will run. */
  readonly starting: () => void;
  /** All that can be done before the kubelet's folders are there is done. */
  readonly waiting: () => void;
  /** A scan of the node is done, and this is what the kubelet is offered. */
  readonly serving: (offer: Offer) => void;
  /** Something happened that a scan or a check will follow. */
  readonly activity: () => void;
}

/** The plugin. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #listener: Listener;
  readonly #paths: KubeletPaths;
  /** What happened since the start. */
  readonly journal: Journal = newJournal();
  readonly #changes: ChangeQueue;
  readonly #config: RunningConfig;
  readonly #scans: NodeScans;
  readonly #scheduled: ScheduledScans;
  readonly #node: NodeState;
  readonly #evidence: EvidenceReads;
  readonly #role: Role;
  readonly #assignment: Assignment;
  readonly #ended = new AbortController();
  #watches: { close(): void } | null = null;
  #mode: RegistrationMode | null = null;
  /** The config warnings of the last settled scan. */
  #warnings: ReadonlySet<string> = new Set();
  /** A reload that was requested and has not begun. */
  #reload: PromiseWithResolvers<void> | null = null;
  #isLooping = false;
  #isReady = false;

  constructor(options: AgentOptions, log: Log, listener: Listener) {
    const { root, configFile: file, resourcePrefix, cdi, linkHealth, dra, draDriverName } = options;
    this.#options = options;
    this.#log = log;
    this.#listener = listener;
    this.#paths = kubeletPaths(options.kubeletRoot, options.devicePlugins);
    this.#changes = new ChangeQueue(() => listener.activity());
    this.#config = new RunningConfig(
      { file, resourcePrefix, useCdi: cdi !== null, socketNameLimit: socketNameLimit(this.#paths), linkHealth },
      this.journal,
      log,
    );
    this.#scans = new NodeScans(root, () => this.#changes.mark("late scan", true), log);
    this.#scheduled = new ScheduledScans((stale) => this.#changes.mark(stale, true));
    this.#node = new NodeState(root, this.#scheduled, log);
    const signs = {
      podCgroups: () => readPodCgroups(root),
      inUse: (ids: Iterable<string>) => readUseSigns(root, ids),
    };
    const podAllocations = new PodAllocations(this.#paths, signs, dra?.driver ?? null);
    this.#evidence = new EvidenceReads(podAllocations);
    const common = {
      root,
      paths: this.#paths,
      podAllocations,
      journal: this.journal,
      changed: () => this.#changes.mark("links", true),
    };
    this.#role = dra
      ? new DraRole({ ...common, ...dra }, log)
      : new DevicePluginRole(
          {
            ...common,
            cdi,
            retry: () => this.#retryScan(),
            allocated: () => this.#evidence.allocated(),
            driver: draDriverName,
          },
          log,
        );
    this.#assignment = new Assignment(
      {
        root,
        podAllocations,
        offeredElsewhere: (ours) => offeredElsewhere(this.#paths, ours),
        again: (after) => this.#scheduled.set("evidence", "links", after),
      },
      log,
    );
  }

  get #isClosed(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Loads the config, then runs until closed. Throws ConfigError for a rejected file. */
  async run(): Promise<void> {
    const started = performance.now();
    this.#scans.prepare();
    this.#config.loadFirst();
    this.#listener.starting();
    this.#watch();
    this.#mode = registrationMode(this.#paths) ?? (await this.#waitForKubelet());
    if (this.#isClosed || this.#mode === null) return;
    const prefixes = [this.#options.resourcePrefix, ...this.#config.specs.map(({ prefix }) => prefix)];
    // The first call of a gRPC client takes as long as the first scan, which runs in a thread of its own meanwhile.
    this.#evidence.read().catch(() => {});
    await this.#role.begin(this.#mode, prefixes);
    while (!this.#isClosed && !(await this.#safeScan(new Set(["functions", "links"])))) await Bun.sleep(retryDelay);
    if (this.#isClosed) return;
    // Pools without a device are not served, and an earlier process may have left files of theirs.
    this.#role.tidyUnserved(this.#config.specs);
    this.#isReady = true;
    const { pools, devices } = this.#role.offer;
    this.#log.info("ready", { pools, devices, mode: this.#mode, ms: Math.round(performance.now() - started) });
    await this.#loop();
  }

  /** The plugin's status now. */
  status(): Status {
    return statusOf(
      { file: this.#options.configFile, mode: this.#mode, ready: this.#isReady },
      this.journal,
      this.#scans.stalled,
      this.#node.exclusions,
      this.#config.specs.map((spec) => this.#role.offered(spec)),
      this.#assignment.retentions,
      this.#role.dra,
    );
  }

  /** The node and all configured pools as they are served; throws before the first scan. */
  node(): NodeView {
    if (!this.#node.scan) throw new Error("the initial node scan is not complete");
    return nodeViewOf(this.#node.devices, servedPools(this.#config.specs, this.#role.pools));
  }

  /** What pods hold, by fresh evidence; concurrent callers share one answer. Rejects when there is no evidence. */
  async allocations(): Promise<readonly AllocatedDevice[]> {
    const claimed = this.#role.claimed();
    const ids = new Set(claimed.map(({ id }) => id));
    return [...(await this.#evidence.read()).filter(({ id }) => !ids.has(id)), ...claimed];
  }

  /** Releases memory that an idle plugin does not need. */
  rest(): void {
    this.#scans.rest();
  }

  /** Whether the loop makes progress, for the watchdog. */
  liveness(): ProbeResult {
    return livenessOf({ scans: scanStatus(this.journal, null) });
  }

  /** Whether every pool is registered, or waits for a kubelet that is away. */
  async readiness(): Promise<ProbeResult> {
    const status = this.status();
    const all = readinessOf(status, true);
    return all.ok ? all : readinessOf(status, await isListening(this.#paths.kubeletSocket));
  }

  /**
   * Reads the config file again and rescans the whole node; exclusions whose reason is gone end. Resolves when that is done, successfully or not.
   * Before the first scan only the config is read.
   */
  reload(): Promise<void> {
    if (this.#reload) return this.#reload.promise;
    this.#log.info("reload requested");
    this.#config.forget();
    this.#node.forgetExclusions();
    if (!this.#isLooping) {
      this.#config.load(this.#role.pools);
      return Promise.resolve();
    }
    this.#reload = Promise.withResolvers();
    this.#changes.mark("config", true);
    this.#changes.mark("functions", true);
    return this.#reload.promise;
  }

  /** Ends everything: sockets are gone when it resolves. */
  async close(): Promise<void> {
    this.#ended.abort();
    this.#changes.close();
    this.#scans.close();
    this.#scheduled.close();
    this.#evidence.close();
    this.#watches?.close();
    await this.#role.close(this.#config.specs);
  }

  async #loop(): Promise<void> {
    this.#isLooping = true;
    for (let stale = await this.#changes.next(); stale; stale = await this.#changes.next()) {
      const reload = stale.has("config") ? this.#reload : null;
      if (reload) this.#reload = null;
      await this.#safeScan(stale);
      reload?.resolve();
    }
  }

  #watch(): void {
    const { root, configFile, resync } = this.#options;
    this.#watches = watchAll({ root, configFile, paths: this.#paths, resync }, this.#changes, this.#log, () => {
      this.#listener.activity();
      this.#role.checkSockets();
    });
  }

  #waitForKubelet(): Promise<RegistrationMode | null> {
    this.#log.warn("waiting for the kubelet's folders", { root: this.#paths.root });
    this.#listener.waiting();
    return kubeletFolders(this.#paths, this.#ended.signal);
  }

  /** Scans and applies the result; a failure is logged and retried, and what is served goes on. */
  async #safeScan(stale: ReadonlySet<Stale>): Promise<boolean> {
    try {
      const configChanged = stale.has("config") && this.#config.load(this.#role.pools);
      if (configChanged || stale.has("functions") || stale.has("links") || stale.has("late scan"))
        await countScan(this.journal, () => this.#scan(stale, configChanged));
      else this.#listener.serving(this.#offer);
      return true;
    } catch (error) {
      if (this.#isClosed) return false;
      this.#log.error("node scan failed; retrying", { reason: messageOf(error) });
      this.#retryScan();
      return false;
    }
  }

  async #scan(stale: ReadonlySet<Stale>, configChanged: boolean): Promise<void> {
    const started = performance.now();
    const isRescan = stale.has("functions");
    const { scan, isFresh } = await this.#scans.scan(this.#optionalFacts, stale, isRescan || configChanged);
    if (this.#isClosed) return;
    if (!isFresh) this.#retryScan();
    this.#node.take(scan);
    const { devices } = this.#node;
    const pools = await this.#assignment.assign(this.#config.specs, devices, this.#role, isRescan);
    if (this.#isClosed) return;
    this.#node.scheduleScans(pools);
    const effects = await this.#role.apply(pools, isRescan, () => this.#isClosed);
    if (this.#isClosed) return;
    if (isRescan || configChanged) this.#warn(pools);
    this.#listener.serving(this.#offer);
    const ms = Math.round(performance.now() - started);
    this.#log.debug("scanned the node", { stale: [...stale], devices: devices.length, effects, ms });
  }

  /** What a scan is to read beyond what every scan reads. */
  get #optionalFacts(): OptionalFacts {
    return { ...optionalFactsOf(this.#config.specs), infiniband: infinibandOwners(this.#role.pools.values()) };
  }

  /** Schedules a rescan, unless one is scheduled already. */
  #retryScan(): void {
    this.#scheduled.add("retry", "functions", retryDelay);
  }

  /** Logs the config warnings of this node that the last settled scan did not have. */
  #warn(pools: readonly Pool[]): void {
    const { lines, known } = warningsOf(this.#warnings, pools, this.#node.devices);
    this.#warnings = known;
    writeLines(this.#log, lines);
  }

  get #offer(): Offer {
    return { ...this.#role.offer, configRejected: this.journal.config.last?.success === false };
  }
}
