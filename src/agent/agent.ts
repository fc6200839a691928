// The loop, and the only mutable state: what changed → look again → decide → act. Level-triggered: driver rebind,
// hot-plug, a new config, a kubelet restart are all the same path.

import { existsSync } from "node:fs";
import { dirname, basename } from "node:path";
import type { CdiMode } from "../allocation/cdi.ts";
import { contribute, nodesOf } from "../allocation/contributions.ts";
import { handleAllocate, handlePreferred } from "./allocate.ts";
import { Assignment } from "./assignment.ts";
import { Cdi } from "./cdi-specs.ts";
import { ChangeQueue, type Stale } from "./change-queue.ts";
import { readConfigFile } from "../config/file.ts";
import { formatProblem, type Problem } from "../config/problem.ts";
import { DeviceInfo } from "./device-info-retention.ts";
import { type Changed, FolderWatch } from "../fs/folder-watch.ts";
import type { Device } from "../host/device.ts";
import { watchNode } from "../host/events.ts";
import { type AllocationFacts, readAllocationFacts } from "../host/allocation-facts.ts";
import type { OptionalFacts } from "../host/scan.ts";
import { type NodeScan, NodeScanner } from "../host/scanner.ts";
import { readUptime } from "../host/uptime.ts";
import { readPodCgroups } from "../host/pod-cgroups.ts";
import { readUseSigns } from "../host/use-signs.ts";
import type { AllocateRequest, AllocateResponse, Device as KubeletDevice } from "../kubelet/api/deviceplugin.ts";
import { deviceList, truncateToBytes } from "../kubelet/device-list.ts";
import { status, StatusError } from "../kubelet/grpc/status.ts";
import { Holders } from "../kubelet/holders.ts";
import {
  kubeletPaths,
  socketFolder,
  socketNameLimit,
  type KubeletPaths,
  type RegistrationMode,
} from "../kubelet/paths.ts";
import { PluginServer } from "../kubelet/plugin-server.ts";
import { isListening, removeAbandoned } from "../fs/socket-file.ts";
import { limits } from "../limits.ts";
import type { Log } from "../process/log.ts";
import { messageOf } from "../text.ts";
import type { Offer } from "../process/systemd.ts";
import { optionalFactsOf } from "../pools/optional-facts.ts";
import { diff, type Effect } from "../pools/diff.ts";
import { applyExclusions, exclusionChanges, type Exclusion, noExclusions } from "../pools/exclusions.ts";
import type { AllocatedDevice } from "../pools/pod-allocations.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";
import { infinibandOwners, nextLinkScan } from "../pools/health.ts";
import { nextNameScan, recallAll, type RememberedPfs } from "../pools/recall.ts";
import { type LogLine, startLogLines, changeLogLines, warningsOf } from "../pools/change-log.ts";
import {
  countAllocate,
  countChanges,
  countScan,
  type Journal,
  newJournal,
  newPoolCounts,
  noteConfig,
  type PoolCounts,
} from "../telemetry/journal.ts";
import { type NodeView, nodeViewOf } from "../telemetry/node-view.ts";
import { scanStatus, type Status, statusOf } from "../telemetry/status.ts";
import { livenessOf, readinessOf, type Verdict } from "../telemetry/probes.ts";

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
  /** Milliseconds between looks that nothing asked for. */
  readonly resync: number;
}

/** The operator's file is refused; the problems say why. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    super(`${file} is refused`);
    this.problems = problems;
  }
}

/** How long the kubelet may take to say what pods hold when the plugin ends, in milliseconds. */
const lastQuestion = 200;

/** After how long an allocation's pod is looked for, in milliseconds: once it was seen alive, its end is seen too. */
const podSightings = [1000, 3000, 10_000] as const;

/** For so many milliseconds after a boot carriers may be late. */
const bootTime = 180_000;

/** After how long a pass that failed is tried again, in milliseconds. */
const retryPass = 5000;

/** What somebody outside hears of the agent's course. */
export interface Listener {
  /** The config is taken into use: the plugin will run. */
  readonly starting: () => void;
  /** All that can be done before the kubelet's folders are there is done. */
  readonly waiting: () => void;
  /** A look at the node is done, and this is what the kubelet is offered. */
  readonly serving: (offer: Offer) => void;
  /** Something happened that will be looked at. */
  readonly activity: () => void;
}

/** A pool that is served: what it was when the kubelet last heard of it, and by what it is served. */
interface Served {
  readonly server: PluginServer;
  readonly counts: PoolCounts;
  pool: Pool;
  /** The ids of the list that the kubelet was given. */
  listed: ReadonlySet<string>;
}

/** The plugin. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #listener: Listener;
  readonly #paths: KubeletPaths;
  readonly #holders: Holders;
  readonly #deviceInfo: DeviceInfo;
  readonly #cdi: Cdi | null;
  /** CDI specs of an earlier process, while CDI is off; null while it is on. */
  readonly #leftCdi: Cdi | null;
  readonly #assignment: Assignment;
  readonly #changes = new ChangeQueue(() => this.#listener.activity());
  readonly #scanner: NodeScanner;
  readonly #closers: (() => void)[] = [];
  /** What happened since the start. */
  readonly journal: Journal = newJournal();
  readonly #served = new Map<string, Served>();
  #troubles: ReadonlySet<string> = new Set();
  readonly #oversized = new Set<string>();
  /** What was doubtful about the config at the last settled scan. */
  #warnings: ReadonlySet<string> = new Set();
  #mode: RegistrationMode | null = null;
  #specs: readonly PoolSpec[] = [];
  #configText: string | null = null;
  /** The scan that the devices are made of. */
  #scan: NodeScan | null = null;
  #devices: readonly Device[] = [];
  readonly #pfs: RememberedPfs = new Map();
  #exclusionMemory = noExclusions;
  #exclusions: readonly Exclusion[] = [];
  /** Whether exclusions whose reason is gone end with the next scan. */
  #forgetting = false;
  #exclusionTimer: Timer | null = null;
  #wasStalled = false;
  #retry: Timer | null = null;
  readonly #timed = new Map<Stale, Timer>();
  /** The time of the start, when the node had booted shortly before. */
  readonly #startedAfterBoot: number | null;
  /** A reload that was requested and has not begun. */
  #reload: PromiseWithResolvers<void> | null = null;
  #looping = false;
  /** The next assignment that nothing else asks for. */
  #assigning: Timer | null = null;
  #allocations: Promise<readonly AllocatedDevice[]> | null = null;
  /** The next time at which pods of allocations are looked for. */
  #sighting: { readonly attempt: number; readonly timer: Timer } | null = null;
  #ready = false;
  #closed = false;

  constructor(options: AgentOptions, log: Log, listener: Listener) {
    this.#options = options;
    this.#log = log;
    this.#listener = listener;
    this.#paths = kubeletPaths(options.kubeletRoot);
    const uptime = readUptime(options.root);
    this.#startedAfterBoot = uptime !== null && uptime < bootTime ? performance.now() : null;
    this.#scanner = new NodeScanner(options.root, () => this.#changes.mark("late scan", true));
    this.#holders = new Holders(this.#paths, {
      podCgroups: () => readPodCgroups(options.root),
      inUse: (ids) => readUseSigns(options.root, ids),
    });
    this.#deviceInfo = new DeviceInfo(options.root, this.#holders, log);
    const allocationFactsOf = (claim: Claim, spec: PoolSpec) => this.#handles(claim, spec);
    const { root, cdi: mode } = options;
    const cdi = new Cdi({ root, mode: mode ?? "cdi-devices", holders: this.#holders, allocationFactsOf }, log);
    this.#cdi = mode === null ? null : cdi;
    this.#leftCdi = mode === null ? cdi : null;
    this.#assignment = new Assignment(
      {
        holders: this.#holders,
        again: (after) => {
          if (this.#assigning) clearTimeout(this.#assigning);
          this.#assigning = setTimeout(() => this.#changes.mark("links", true), after);
        },
        nodesOf: (claim, spec) =>
          nodesOf([contribute({ claim, handles: allocationFactsOf(claim, spec), spec })]).map(
            ({ hostPath }) => hostPath,
          ),
        connectedSince: (resource) => {
          const registration = this.#served.get(resource)?.server.registration;
          return registration?.state === "listening" ? registration.since : null;
        },
      },
      log,
    );
  }

  /** Loads the config, then runs until closed. Throws ConfigError for a refused file. */
  async run(): Promise<void> {
    const started = performance.now();
    this.#scanner.prepare();
    this.#loadConfig(true);
    this.#listener.starting();
    this.#watch();
    await this.#kubeletFolders();
    if (this.#closed) return;
    const prefixes = [this.#options.resourcePrefix, ...this.#specs.map(({ prefix }) => prefix)];
    const isOurs = (name: string) => name.endsWith(".sock") && prefixes.some((prefix) => name.startsWith(`${prefix}_`));
    await removeAbandoned(socketFolder(this.#paths, this.#mode ?? "legacy"), isOurs).catch((error: unknown) =>
      this.#log.warn("could not remove sockets that a killed plugin left", { reason: messageOf(error) }),
    );
    (this.#cdi ?? this.#leftCdi)?.load();
    while (!this.#closed && !(await this.#safePass(new Set(["functions", "links"])))) await Bun.sleep(retryPass);
    if (this.#closed) return;
    // Pools without a device are not served, and an earlier life may have left files of theirs.
    this.#tidyUnserved(this.#specs);
    this.#ready = true;
    const { pools, devices } = this.#offer;
    this.#log.info("ready", {
      pools,
      devices,
      mode: this.#mode,
      ms: Math.round(performance.now() - started),
    });
    await this.#loop();
  }

  /** What is seen of the plugin from outside, as it is now. */
  status(): Status {
    const { configFile: file } = this.#options;
    return statusOf(
      { file, mode: this.#mode, ready: this.#ready },
      this.journal,
      this.#scanner.stalled,
      this.#exclusions,
      this.#specs.map((spec) => {
        const served = this.#served.get(spec.resource);
        return { spec, served: served ? { ...served, registration: served.server.registration } : null };
      }),
      this.#assignment.retentions,
    );
  }

  /** The node and all configured pools as they are served; throws before the first scan. */
  node(): NodeView {
    if (!this.#scan) throw new Error("the initial node scan is not complete");
    const empty = { claims: new Map(), unhealthy: new Map() };
    const pools = this.#specs.map((spec) => this.#served.get(spec.resource)?.pool ?? { spec, ...empty });
    return nodeViewOf(this.#devices, pools);
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
    this.#configText = null;
    this.#forgetting = true;
    if (!this.#looping) {
      this.#loadConfig(false);
      return Promise.resolve();
    }
    this.#reload = Promise.withResolvers();
    this.#changes.mark("config", true);
    this.#changes.mark("functions", true);
    return this.#reload.promise;
  }

  /** Ends everything: sockets are gone when it resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#changes.close();
    this.#scanner.close();
    const timers = [this.#retry, this.#exclusionTimer, this.#assigning, this.#sighting?.timer, ...this.#timed.values()];
    for (const timer of timers) if (timer) clearTimeout(timer);
    for (const close of this.#closers) close();
    await this.#tidy();
    await Promise.all([...this.#served.values()].map(({ server }) => server.close()));
  }

  async #loop(): Promise<void> {
    this.#looping = true;
    for (let stale = await this.#changes.next(); stale; stale = await this.#changes.next()) {
      const reload = stale.has("config") ? this.#reload : null;
      if (reload) this.#reload = null;
      await this.#safePass(stale);
      reload?.resolve();
    }
  }

  #watch(): void {
    const { root, configFile, resync } = this.#options;
    const node = watchNode(root, {
      functions: () => this.#changes.mark("functions"),
      links: () => this.#changes.mark("links"),
      lost: (reason) => {
        this.#log.debug("kernel events were lost; rescanning", { reason });
        this.#changes.mark("functions");
      },
    });
    // Any name: a ConfigMap's file does not change itself, its folder's "..data" link does.
    const config = new FolderWatch(dirname(configFile), () => this.#changes.mark("config"));
    const checkSockets = () => {
      this.#listener.activity();
      for (const { server } of this.#served.values()) server.check();
    };
    // Hidden names are ours while we bind: what fails would be tried again by its own traces, without end.
    const changed = (names: Changed) => {
      if ([...names].some((name) => name?.startsWith(".") !== true)) checkSockets();
    };
    const registry = new FolderWatch(this.#paths.registry, changed);
    const devicePlugins = new FolderWatch(this.#paths.devicePlugins, changed);
    const resyncTimer = setInterval(() => {
      for (const watch of [config, registry, devicePlugins]) watch.rearm();
      checkSockets();
      this.#changes.mark("functions", true);
      this.#changes.mark("config", true);
    }, resync);
    this.#closers.push(
      () => node.close(),
      () => config.close(),
      () => registry.close(),
      () => devicePlugins.close(),
      () => clearInterval(resyncTimer),
    );
  }

  /** Waits until the kubelet's folders are there, and chooses the mode: as the upstream plugin, by plugins_registry. */
  async #kubeletFolders(): Promise<void> {
    const choose = (): RegistrationMode | null =>
      existsSync(this.#paths.registry) ? "watcher" : existsSync(this.#paths.devicePlugins) ? "legacy" : null;
    this.#mode = choose();
    if (this.#mode !== null) return;
    this.#log.warn("waiting for the kubelet's folders", { root: this.#paths.root });
    this.#listener.waiting();
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      this.#mode = choose();
      if (this.#mode !== null || this.#closed) resolve();
    };
    const watch = new FolderWatch(this.#paths.devicePlugins, look);
    const poll = setInterval(look, 1000);
    this.#closers.push(resolve);
    await promise;
    clearInterval(poll);
    watch.close();
  }

  /** Loads the config file; tells whether it is another one. At start a refused file is thrown; later the running config stays. */
  #loadConfig(first: boolean): boolean {
    const { configFile, resourcePrefix, cdi } = this.#options;
    const loaded = readConfigFile(configFile, {
      resourcePrefix,
      useCdi: cdi !== null,
      socketNameLimit: socketNameLimit(this.#paths),
    });
    if (loaded.text !== null && loaded.text === this.#configText) return false;
    // null of a file that could not be read: what is there next is loaded, also when it says what it said before.
    this.#configText = loaded.text;
    const lost = loaded.skipped.filter((resource) => this.#served.has(resource));
    const usable = loaded.specs !== null && lost.length === 0;
    if (!usable && first) throw new ConfigError(configFile, loaded.problems);
    for (const problem of loaded.problems) this.#log[usable ? "warn" : "error"](formatProblem(configFile, problem));
    noteConfig(this.journal, usable, loaded.problems);
    if (!usable || !loaded.specs) {
      this.#log.error("config rejected; the previous config stays active", {
        file: basename(configFile),
        problems: loaded.problems.length,
      });
      return false;
    }
    this.#specs = loaded.specs.map((spec) => ({ ...spec, linkHealth: spec.linkHealth && this.#options.linkHealth }));
    this.#log.info("config loaded", { file: configFile, pools: this.#specs.length });
    return true;
  }

  /** A pass that fails is told and tried again; what was running goes on. */
  async #safePass(stale: ReadonlySet<Stale>): Promise<boolean> {
    try {
      const configChanged = stale.has("config") && this.#loadConfig(false);
      if (configChanged || stale.has("functions") || stale.has("links") || stale.has("late scan"))
        await countScan(this.journal, () => this.#pass(stale, configChanged));
      else this.#listener.serving(this.#offer);
      return true;
    } catch (error) {
      if (this.#closed) return false;
      this.#log.error("node scan failed; retrying", { reason: messageOf(error) });
      this.#lookAgain(retryPass);
      return false;
    }
  }

  async #pass(stale: ReadonlySet<Stale>, configChanged: boolean): Promise<void> {
    const started = performance.now();
    const scan = await this.#scanNode(stale, configChanged);
    if (this.#closed) return;
    if (scan !== this.#scan) this.#takeScan(scan);
    const served = new Map([...this.#served].map(([resource, { pool }]) => [resource, pool]));
    const pools = await this.#assignment.assign(this.#specs, this.#devices, served, stale.has("functions"));
    if (this.#closed) return;
    this.#scanInTime(pools);
    const effects = inSafeOrder(
      diff(served, pools, (a, b) => Bun.deepEquals(a, b)),
      served,
    );
    this.#deviceInfo.revise();
    if (this.#cdi?.withdraw(pools) === false) this.#lookAgain(retryPass);
    // Every pool that ends has ended for the kubelet before another is given its devices: an end is waited for afterwards.
    const ends = effects.filter(({ kind }) => kind === "stop").map((effect) => this.#safeApply(effect));
    for (const effect of effects) if (effect.kind !== "stop") await this.#safeApply(effect);
    await Promise.all(ends);
    if (this.#closed) return;
    if (this.#cdi?.prune(pools) === false) this.#lookAgain(retryPass);
    this.#leftCdi?.prune([]);
    if (stale.has("functions")) this.#restoreCdiSpecs();
    if (stale.has("functions") || configChanged) this.#warn(pools);
    this.#listener.serving(this.#offer);
    this.#log.debug("scanned the node", {
      stale: [...stale],
      devices: this.#devices.length,
      effects: effects.length,
      ms: Math.round(performance.now() - started),
    });
  }

  /** Asks for the scans that no event will ask for: of InfiniBand ports, of carriers that are late, of names that have stayed. */
  #scanInTime(pools: readonly Pool[]): void {
    const now = performance.now();
    const times = { links: nextLinkScan(pools, now), functions: nextNameScan(this.#devices, now) };
    for (const stale of ["links", "functions"] as const) {
      clearTimeout(this.#timed.get(stale));
      this.#timed.delete(stale);
      const after = times[stale];
      if (after !== null)
        this.#timed.set(
          stale,
          setTimeout(() => this.#changes.mark(stale, true), Math.ceil(after)),
        );
    }
  }

  /** What a scan is to read beyond what all do. */
  get #asked(): OptionalFacts {
    return {
      ...optionalFactsOf(this.#specs),
      infiniband: infinibandOwners([...this.#served.values()].map(({ pool }) => pool)),
    };
  }

  /**
   * Scans what is stale. Where drivers do not answer in time, the last scan is what there is; throws when there is none.
   */
  async #scanNode(stale: ReadonlySet<Stale>, configChanged: boolean): Promise<NodeScan> {
    const isWhole = stale.has("functions") || configChanged;
    const isLateAlone = !isWhole && !stale.has("links");
    const fresh = isLateAlone ? null : await this.#scanner.scan(this.#asked, isWhole);
    const scan = fresh ?? this.#scanner.latest;
    const { stalled } = this.#scanner;
    if (stalled && !this.#wasStalled) {
      const { reading } = stalled;
      this.#log.error("node scan stalled: a driver does not answer; device lists stay as they are", { reading });
    }
    if (!stalled && this.#wasStalled) this.#log.info("node scans return again");
    this.#wasStalled = stalled !== null;
    if (!fresh && !isLateAlone) this.#lookAgain(retryPass);
    if (!scan) throw new Error(`a driver does not answer while ${stalled?.reading ?? "the node"} is read`);
    return scan;
  }

  /** Makes devices of a scan: with what earlier ones saw and this one can't, and with what the host keeps for itself. */
  #takeScan(scan: NodeScan): void {
    const isFirst = this.#scan === null;
    this.#scan = scan;
    const { troubles, hasDefaultRoute } = scan;
    for (const { key, message } of troubles) if (!this.#troubles.has(key)) this.#log.warn(message);
    // What is no trouble any more is told again when it comes back; a scan of links alone does not know of all.
    if (scan.isWhole) this.#troubles = new Set(troubles.map(({ key }) => key));
    const now = performance.now();
    const uptime = readUptime(this.#options.root);
    const { devices, memory, exclusions, recheckIn } = applyExclusions(
      recallAll(scan.devices, isFirst ? null : this.#devices, {
        now,
        startedAfterBoot: this.#startedAfterBoot,
        linksOnly: !scan.isWhole,
        pfs: this.#pfs,
      }),
      this.#exclusionMemory,
      { now, time: Date.now(), hasDefaultRoute, uptime, isForgetting: this.#forgetting },
    );
    this.#forgetting = false;
    this.#devices = devices;
    this.#exclusionMemory = memory;
    const { began, ended } = exclusionChanges(this.#exclusions, exclusions);
    this.#exclusions = exclusions;
    for (const { device, reason, until } of began) this.#log.info("device excluded", { device, reason, until });
    for (const { device, reason } of ended) this.#log.info("device no longer excluded", { device, reason });
    if (this.#exclusionTimer) clearTimeout(this.#exclusionTimer);
    const recheck = () => this.#changes.mark("links", true);
    this.#exclusionTimer = recheckIn === null ? null : setTimeout(recheck, recheckIn + 1).unref();
  }

  /** Asks for a look some time from now, unless one is asked for already. */
  #lookAgain(after: number): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#changes.mark("functions", true);
    }, after);
  }

  /** An effect that fails is told and tried again; the other pools have theirs all the same. */
  async #safeApply(effect: Effect): Promise<void> {
    try {
      await this.#apply(effect);
    } catch (error) {
      const resource = effect.kind === "stop" ? effect.resource : effect.pool.spec.resource;
      this.#log.error("cannot change a pool; retrying", { resource, reason: messageOf(error) });
      this.#lookAgain(retryPass);
    }
  }

  async #apply(effect: Effect): Promise<void> {
    if (effect.kind === "stop") return this.#stop(effect.resource);
    const { pool } = effect;
    const { resource } = pool.spec;
    if (this.#cdi && !this.#cdi.describe(pool)) {
      this.#lookAgain(retryPass);
      this.#takeAway(pool);
      return;
    }
    const served = this.#served.get(resource);
    const list = this.#list(pool, served?.listed ?? new Set());
    const ids = new Set(list.map(({ ID }) => ID));
    if (served) {
      this.#tell(changeLogLines(served.pool, pool));
      countChanges(served.counts, served.pool, pool);
      served.pool = pool;
      served.listed = ids;
      served.server.setDevices(list);
      served.server.checkOptions();
      return;
    }
    this.#deviceInfo.begin(resource);
    const counts = newPoolCounts();
    const server = new PluginServer({
      resource,
      socketName: socketName(pool.spec),
      paths: this.#paths,
      mode: this.#mode ?? "legacy",
      devices: list,
      allocate: (request) =>
        countAllocate(this.journal, counts, devicesIn(request), () => this.#allocate(resource, request)),
      isPreferring: () => (this.#served.get(resource)?.pool.spec.preferredAllocation ?? null) !== null,
      prefer: (request) => handlePreferred(this.#poolOf(resource), request),
      events: this.#log,
    });
    this.#served.set(resource, { server, counts, pool, listed: ids });
    this.#tell(startLogLines(pool));
    void server.start();
  }

  /** Of a pool that can't become what it should be: at least it no longer offers what others will. */
  #takeAway({ spec, claims }: Pool): void {
    const served = this.#served.get(spec.resource);
    if (!served || [...served.pool.claims.keys()].every((id) => claims.has(id))) return;
    served.pool = { ...served.pool, claims: new Map([...served.pool.claims].filter(([id]) => claims.has(id))) };
    const list = this.#list(served.pool, served.listed);
    served.listed = new Set(list.map(({ ID }) => ID));
    served.server.setDevices(list);
  }

  /** The pool's list; of one that is too long what pods hold and what was `listed` before comes first. */
  #list(pool: Pool, listed: ReadonlySet<string>): readonly KubeletDevice[] {
    const { resource } = pool.spec;
    const all = deviceList(pool);
    const list = truncateToBytes(all, limits.listBytes.max, (id) =>
      this.#holders.holds(resource, id) ? 0 : listed.has(id) ? 1 : 2,
    );
    if (list.length === all.length) this.#oversized.delete(resource);
    else if (!this.#oversized.has(resource)) {
      this.#oversized.add(resource);
      this.#log.error("the pool has more devices than a list can hold; split it", {
        resource,
        devices: all.length,
        offered: list.length,
      });
    }
    return list;
  }

  async #stop(resource: string): Promise<void> {
    const served = this.#served.get(resource);
    if (!served) return;
    this.#served.delete(resource);
    await served.server.close();
    this.#deviceInfo.retire(served.pool);
    this.#log.info("stopped serving the pool: it left the config", { resource });
  }

  /**
   * Leaves no files that nobody needs, by the evidence of now. The files of what pods hold stay, since containers are restarted, and
   * CNIs called, while the plugin is away. So do the files of pools that another instance serves by now.
   */
  async #tidy(): Promise<void> {
    // Without the kubelet's folder there is no checkpoint either, which would be taken for one of nothing.
    if (!existsSync(this.#paths.devicePlugins)) return;
    if (this.#holders.recordedIn > 0) await Bun.sleep(this.#holders.recordedIn);
    await this.#holders
      .read(lastQuestion)
      .catch((error: unknown) => this.#log.warn("cannot find out what pods hold", { reason: messageOf(error) }));
    this.#leftCdi?.prune([]);
    for (const { pool, server } of this.#served.values()) if (server.inPlace) this.#forgetFiles(pool.spec);
    this.#tidyUnserved([...this.#specs, ...this.#deviceInfo.retired]);
  }

  /** Leaves no files of pools that have no server of ours, nor of anybody else. */
  #tidyUnserved(specs: readonly PoolSpec[]): void {
    const folder = socketFolder(this.#paths, this.#mode ?? "legacy");
    for (const spec of specs) {
      if (!this.#served.has(spec.resource) && !existsSync(`${folder}/${socketName(spec)}`)) this.#forgetFiles(spec);
    }
  }

  /** Removes the files of a pool that is no longer served, but for what pods hold. */
  #forgetFiles(spec: PoolSpec): void {
    this.#deviceInfo.prune(spec.resource);
    this.#cdi?.leave(spec);
  }

  /** Answers Allocate, and remembers who is about to hold what. */
  #allocate(resource: string, request: AllocateRequest): AllocateResponse {
    const answer = handleAllocate(this.#poolOf(resource), request, {
      allocationFactsOf: (claim, spec) => this.#handles(claim, spec),
      deviceInfo: this.#deviceInfo,
      cdi: this.#cdi,
    });
    for (const { devicesIds } of request.containerRequests) {
      this.#holders.allocated(resource, devicesIds);
      this.#log.info("allocated", { resource, devices: devicesIds });
    }
    this.#lookForPods(0);
    return answer;
  }

  /** Reads the evidence some moments after Allocate: the pod gets its cgroup once it is admitted. */
  #lookForPods(attempt: number): void {
    const delay = podSightings[attempt];
    if (this.#closed || delay === undefined || (attempt === 0 && this.#sighting?.attempt === 0)) return;
    if (this.#sighting) clearTimeout(this.#sighting.timer);
    const timer = setTimeout(() => {
      this.#sighting = null;
      const next = () => this.#holders.awaitsPods && !this.#sighting && this.#lookForPods(attempt + 1);
      this.allocations().then(next, next);
    }, delay);
    this.#sighting = { attempt, timer };
  }

  /** Puts back specs that somebody removed or replaced, unless another instance serves their pools by now. */
  #restoreCdiSpecs(): void {
    if (!this.#cdi) return;
    const ours = [...this.#served.values()].filter(({ server }) => server.inPlace);
    this.#cdi.restore(ours.map(({ pool }) => pool.spec));
  }

  #poolOf(resource: string): Pool {
    const pool = this.#served.get(resource)?.pool;
    if (!pool) throw new StatusError(status.UNAVAILABLE, `pool ${resource} is no longer served`);
    return pool;
  }

  #handles({ device, wanted }: Claim, spec: PoolSpec): AllocationFacts {
    return readAllocationFacts(this.#options.root, device, {
      rdma: wanted.isRdma === true,
      vhostNet: wanted.needVhostNet === true,
      iommufd: spec.iommufd,
    });
  }

  /** Logs what is doubtful about the config on this node and was not at the last settled scan. */
  #warn(pools: readonly Pool[]): void {
    const { lines, known } = warningsOf(this.#warnings, pools, this.#devices);
    this.#warnings = known;
    this.#tell(lines);
  }

  #tell(lines: readonly LogLine[]): void {
    for (const { level, message, fields } of lines) this.#log[level](message, fields);
  }

  get #offer(): Offer {
    const served = [...this.#served.values()].map(({ pool }) => pool);
    const sum = (count: (pool: Pool) => number) => served.reduce((total, pool) => total + count(pool), 0);
    return {
      pools: served.length,
      devices: sum(({ claims }) => claims.size),
      unhealthy: sum(({ unhealthy }) => unhealthy.size),
      configRefused: this.journal.config.last?.success === false,
    };
  }
}

const devicesIn = ({ containerRequests }: AllocateRequest): number =>
  containerRequests.reduce((sum, { devicesIds }) => sum + devicesIds.length, 0);

const socketName = ({ prefix, name }: PoolSpec): string => `${prefix}_${name}.sock`;

/** Pools that lose devices come first: no two lists name a device at the same time. */
function inSafeOrder(effects: readonly Effect[], running: ReadonlyMap<string, Pool>): Effect[] {
  const loses = (effect: Effect) => {
    if (effect.kind !== "update") return effect.kind === "stop";
    const before = running.get(effect.pool.spec.resource)?.claims ?? new Map<string, Claim>();
    return [...before.keys()].some((id) => !effect.pool.claims.has(id));
  };
  return [...effects.filter(loses), ...effects.filter((effect) => !loses(effect))];
}
