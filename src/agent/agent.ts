// The loop: what changed → scan → assign → apply. Level-triggered: driver rebind, hot-plug, a new config, a kubelet restart are all the same path.

import type { CdiMode } from "../allocation/cdi.ts";
import { isListening } from "../fs/socket-file.ts";
import { readPodCgroups } from "../host/pod-cgroups.ts";
import type { OptionalFacts } from "../host/scan.ts";
import { type NodeScan, NodeScanner } from "../host/scanner.ts";
import { readUseSigns } from "../host/use-signs.ts";
import { Holders } from "../kubelet/holders.ts";
import { type KubeletPaths, kubeletPaths, type RegistrationMode, socketNameLimit } from "../kubelet/paths.ts";
import { warningsOf } from "../pools/change-log.ts";
import { infinibandOwners } from "../pools/health.ts";
import { optionalFactsOf } from "../pools/optional-facts.ts";
import type { AllocatedDevice } from "../pools/pod-allocations.ts";
import type { Pool } from "../pools/pool.ts";
import type { Log } from "../process/log.ts";
import type { Offer } from "../process/systemd.ts";
import { countScan, type Journal, newJournal } from "../telemetry/journal.ts";
import { type NodeView, nodeViewOf } from "../telemetry/node-view.ts";
import { livenessOf, readinessOf, type Verdict } from "../telemetry/probes.ts";
import { scanStatus, type Status, statusOf } from "../telemetry/status.ts";
import { messageOf } from "../text.ts";
import { Assignment } from "./assignment.ts";
import { ChangeQueue, type Stale } from "./change-queue.ts";
import { NodeState } from "./node-state.ts";
import { RunningConfig } from "./running-config.ts";
import { ServedPools } from "./served-pools.ts";
import { kubeletFolders, registrationMode, watchAll } from "./watches.ts";

/** What the command line decides for the whole life of the process. */
export interface AgentOptions {
  /** What stands before every path of the node; "" for the node itself. */
  readonly root: string;
  readonly configFile: string;
  readonly resourcePrefix: string;
  /** How devices are handed out by CDI; null: by their nodes. */
  readonly cdi: CdiMode | null;
  readonly kubeletRoot: string;
  readonly linkHealth: boolean;
  /** Milliseconds between rescans that nothing asked for. */
  readonly resync: number;
}

/** After how long an allocation's pod is looked for, in milliseconds: once it was seen alive, its end is seen too. */
const podSightings = [1000, 3000, 10_000] as const;

/** After how long a pass that failed is tried again, in milliseconds. */
const retryPass = 5000;

/** What somebody outside hears of the agent's course. */
export interface Listener {
  /** The config is taken into use: the plugin will run. */
  readonly starting: () => void;
  /** All that can be done before the kubelet's folders are there is done. */
  readonly waiting: () => void;
  /** A scan of the node is done, and this is what the kubelet is offered. */
  readonly serving: (offer: Offer) => void;
  /** Something happened that will be looked at. */
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
  readonly #scanner: NodeScanner;
  readonly #node: NodeState;
  readonly #holders: Holders;
  readonly #pools: ServedPools;
  readonly #assignment: Assignment;
  readonly #ended = new AbortController();
  #watches: { close(): void } | null = null;
  #mode: RegistrationMode | null = null;
  /** What was doubtful about the config at the last settled scan. */
  #warnings: ReadonlySet<string> = new Set();
  #wasStalled = false;
  #retry: Timer | null = null;
  /** The next assignment that nothing else asks for. */
  #assigning: Timer | null = null;
  /** A reload that was requested and has not begun. */
  #reload: PromiseWithResolvers<void> | null = null;
  #allocations: Promise<readonly AllocatedDevice[]> | null = null;
  /** The next time at which pods of allocations are looked for. */
  #sighting: { readonly attempt: number; readonly timer: Timer } | null = null;
  #isLooping = false;
  #isReady = false;

  constructor(options: AgentOptions, log: Log, listener: Listener) {
    const { root, configFile: file, resourcePrefix, cdi, kubeletRoot, linkHealth } = options;
    this.#options = options;
    this.#log = log;
    this.#listener = listener;
    this.#paths = kubeletPaths(kubeletRoot);
    this.#changes = new ChangeQueue(() => listener.activity());
    this.#config = new RunningConfig(
      {
        file,
        resourcePrefix,
        useCdi: cdi !== null,
        socketNameLimit: socketNameLimit(this.#paths),
        linkHealth,
      },
      this.journal,
      log,
    );
    this.#scanner = new NodeScanner(root, () => this.#changes.mark("late scan", true));
    this.#node = new NodeState(root, (stale) => this.#changes.mark(stale, true), log);
    this.#holders = new Holders(this.#paths, {
      podCgroups: () => readPodCgroups(root),
      inUse: (ids) => readUseSigns(root, ids),
    });
    this.#pools = new ServedPools(
      {
        root,
        paths: this.#paths,
        cdi,
        holders: this.#holders,
        journal: this.journal,
        retry: () => this.#rescanIn(retryPass),
        allocated: () => this.#lookForPods(0),
      },
      log,
    );
    this.#assignment = new Assignment(
      {
        root,
        holders: this.#holders,
        again: (after) => {
          if (this.#assigning) clearTimeout(this.#assigning);
          this.#assigning = setTimeout(() => this.#changes.mark("links", true), after);
        },
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
    this.#scanner.prepare();
    this.#config.loadFirst();
    this.#listener.starting();
    this.#watch();
    this.#mode = registrationMode(this.#paths) ?? (await this.#waitForKubelet());
    if (this.#isClosed || this.#mode === null) return;
    const prefixes = [this.#options.resourcePrefix, ...this.#config.specs.map(({ prefix }) => prefix)];
    await this.#pools.begin(this.#mode, prefixes);
    while (!this.#isClosed && !(await this.#safePass(new Set(["functions", "links"])))) await Bun.sleep(retryPass);
    if (this.#isClosed) return;
    // Pools without a device are not served, and an earlier life may have left files of theirs.
    this.#pools.tidyUnserved(this.#config.specs);
    this.#isReady = true;
    const { pools, devices } = this.#pools.offer;
    this.#log.info("ready", { pools, devices, mode: this.#mode, ms: Math.round(performance.now() - started) });
    await this.#loop();
  }

  /** What is seen of the plugin from outside, as it is now. */
  status(): Status {
    return statusOf(
      { file: this.#options.configFile, mode: this.#mode, ready: this.#isReady },
      this.journal,
      this.#scanner.stalled,
      this.#node.exclusions,
      this.#config.specs.map((spec) => this.#pools.offered(spec)),
      this.#assignment.retentions,
    );
  }

  /** The node and all configured pools as they are served; throws before the first scan. */
  node(): NodeView {
    if (!this.#node.scan) throw new Error("the initial node scan is not complete");
    const served = this.#pools.pools;
    const empty = { claims: new Map(), unhealthy: new Map() };
    const pools = this.#config.specs.map((spec) => served.get(spec.resource) ?? { spec, ...empty });
    return nodeViewOf(this.#node.devices, pools);
  }

  /** What pods hold, by fresh evidence; concurrent callers share one answer. Rejects when there is no evidence. */
  allocations(): Promise<readonly AllocatedDevice[]> {
    this.#allocations ??= this.#holders
      .read()
      .then(() => [...this.#holders.allocations.values()])
      .finally(() => (this.#allocations = null));
    return this.#allocations;
  }

  /** It is quiet: memory that is not needed now is given back. */
  rest(): void {
    this.#scanner.rest();
  }

  /** Whether the loop makes progress; a watchdog goes by it. */
  liveness(): Verdict {
    return livenessOf({ scans: scanStatus(this.journal, null) });
  }

  /** Whether every pool is registered, or waits for a kubelet that is away. */
  async readiness(): Promise<Verdict> {
    const status = this.status();
    const all = readinessOf(status, true);
    return all.ok ? all : readinessOf(status, await isListening(this.#paths.kubeletSocket));
  }

  /**
   * Reads the config file again and rescans the whole node; exclusions whose reason is gone end. Resolves when that is done, whatever came of it.
   * Before the first scan only the config is read.
   */
  reload(): Promise<void> {
    if (this.#reload) return this.#reload.promise;
    this.#log.info("reload requested");
    this.#config.forget();
    this.#node.forgetExclusions();
    if (!this.#isLooping) {
      this.#config.load(this.#pools);
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
    this.#scanner.close();
    this.#node.close();
    this.#watches?.close();
    for (const timer of [this.#retry, this.#assigning, this.#sighting?.timer]) if (timer) clearTimeout(timer);
    await this.#pools.close(this.#config.specs);
  }

  async #loop(): Promise<void> {
    this.#isLooping = true;
    for (let stale = await this.#changes.next(); stale; stale = await this.#changes.next()) {
      const reload = stale.has("config") ? this.#reload : null;
      if (reload) this.#reload = null;
      await this.#safePass(stale);
      reload?.resolve();
    }
  }

  #watch(): void {
    const { root, configFile, resync } = this.#options;
    const changes = this.#changes;
    this.#watches = watchAll(
      { root, configFile, paths: this.#paths, resync },
      {
        functions: () => changes.mark("functions"),
        links: () => changes.mark("links"),
        config: () => changes.mark("config"),
        sockets: () => {
          this.#listener.activity();
          this.#pools.checkSockets();
        },
        lost: (reason) => {
          this.#log.debug("kernel events were lost; rescanning", { reason });
          changes.mark("functions");
        },
        resync: () => {
          changes.mark("functions", true);
          changes.mark("config", true);
        },
      },
    );
  }

  #waitForKubelet(): Promise<RegistrationMode | null> {
    this.#log.warn("waiting for the kubelet's folders", { root: this.#paths.root });
    this.#listener.waiting();
    return kubeletFolders(this.#paths, this.#ended.signal);
  }

  /** A pass that fails is logged and tried again; what was running goes on. */
  async #safePass(stale: ReadonlySet<Stale>): Promise<boolean> {
    try {
      const configChanged = stale.has("config") && this.#config.load(this.#pools);
      if (configChanged || stale.has("functions") || stale.has("links") || stale.has("late scan"))
        await countScan(this.journal, () => this.#pass(stale, configChanged));
      else this.#listener.serving(this.#offer);
      return true;
    } catch (error) {
      if (this.#isClosed) return false;
      this.#log.error("node scan failed; retrying", { reason: messageOf(error) });
      this.#rescanIn(retryPass);
      return false;
    }
  }

  async #pass(stale: ReadonlySet<Stale>, configChanged: boolean): Promise<void> {
    const started = performance.now();
    const isRescan = stale.has("functions");
    const scan = await this.#scanNode(stale, configChanged);
    if (this.#isClosed) return;
    this.#node.take(scan);
    const { devices } = this.#node;
    const pools = await this.#assignment.assign(this.#config.specs, devices, this.#pools, isRescan);
    if (this.#isClosed) return;
    this.#node.scheduleScans(pools);
    const effects = await this.#pools.apply(pools, isRescan, () => this.#isClosed);
    if (this.#isClosed) return;
    if (isRescan || configChanged) this.#warn(pools);
    this.#listener.serving(this.#offer);
    const ms = Math.round(performance.now() - started);
    this.#log.debug("scanned the node", { stale: [...stale], devices: devices.length, effects, ms });
  }

  /** Scans what is stale. Where drivers do not answer in time, the last scan is what there is; throws when there is none. */
  async #scanNode(stale: ReadonlySet<Stale>, configChanged: boolean): Promise<NodeScan> {
    const isWhole = stale.has("functions") || configChanged;
    const isLateAlone = !isWhole && !stale.has("links");
    const fresh = isLateAlone ? null : await this.#scanner.scan(this.#optionalFacts, isWhole);
    const scan = fresh ?? this.#scanner.latest;
    const { stalled } = this.#scanner;
    if (stalled && !this.#wasStalled) {
      const { reading } = stalled;
      this.#log.error("node scan stalled: a driver does not answer; device lists stay as they are", { reading });
    }
    if (!stalled && this.#wasStalled) this.#log.info("node scans return again");
    this.#wasStalled = stalled !== null;
    if (!fresh && !isLateAlone) this.#rescanIn(retryPass);
    if (!scan) throw new Error(`a driver does not answer while ${stalled?.reading ?? "the node"} is read`);
    return scan;
  }

  /** What a scan is to read beyond what all do. */
  get #optionalFacts(): OptionalFacts {
    return { ...optionalFactsOf(this.#config.specs), infiniband: infinibandOwners(this.#pools.pools.values()) };
  }

  /** Asks for a rescan some time from now, unless one is asked for already. */
  #rescanIn(after: number): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#changes.mark("functions", true);
    }, after);
  }

  /** Reads the evidence some moments after Allocate: the pod gets its cgroup once it is admitted. */
  #lookForPods(attempt: number): void {
    const delay = podSightings[attempt];
    if (this.#isClosed || delay === undefined || (attempt === 0 && this.#sighting?.attempt === 0)) return;
    if (this.#sighting) clearTimeout(this.#sighting.timer);
    const timer = setTimeout(() => {
      this.#sighting = null;
      const next = () => this.#holders.awaitsPods && !this.#sighting && this.#lookForPods(attempt + 1);
      this.allocations().then(next, next);
    }, delay);
    this.#sighting = { attempt, timer };
  }

  /** Logs what is doubtful about the config on this node and was not at the last settled scan. */
  #warn(pools: readonly Pool[]): void {
    const { lines, known } = warningsOf(this.#warnings, pools, this.#node.devices);
    this.#warnings = known;
    for (const { level, message, fields } of lines) this.#log[level](message, fields);
  }

  get #offer(): Offer {
    return { ...this.#pools.offer, configRefused: this.journal.config.last?.success === false };
  }
}
