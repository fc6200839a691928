// The device-plugin role: each pool that is served has its server, its list, and the files that its devices need on the node. Effects come in, and
// what the kubelet calls is answered from what is served now.

import { existsSync } from "node:fs";
import type { CdiMode } from "../../allocation/cdi.ts";
import type { AllocateRequest, AllocateResponse, Device as KubeletDevice } from "../../kubelet/api/deviceplugin.ts";
import { status, StatusError } from "../../kubelet/grpc/status-error.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import {
  type KubeletPaths,
  type RegistrationMode,
  socketFolder,
  socketNameLimit,
} from "../../kubelet/kubelet-paths.ts";
import { PluginServer } from "../../kubelet/plugin-server.ts";
import { changeLogLines, startLogLines } from "../../pools/change-log.ts";
import { diff, type Effect, inSafeOrder, movesBetween, withoutGained, withoutLost } from "../../pools/diff.ts";
import { isDraSocketName } from "../../pools/dra-names.ts";
import { isSocketName, socketName } from "../../pools/names.ts";
import type { AllocatedDevice } from "../../pools/decide-allocations.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";
import type { Log } from "../../process/log.ts";
import type { Offer } from "../../process/systemd.ts";
import { countAllocate, countChanges, type Journal, newPoolCounts, type PoolCounts } from "../../telemetry/journal.ts";
import type { Offered } from "../../telemetry/plugin-status.ts";
import { messageOf } from "../../text.ts";
import type { Holder, Role } from "../role.ts";
import { offerOf, removeLeftSockets, writeLines } from "../served-pools.ts";
import { handleAllocate, handlePreferred } from "./allocation-calls.ts";
import { CdiSpecs } from "./cdi-specs.ts";
import { DeviceInfo } from "./device-info-retention.ts";
import { lossesSeen } from "./handover.ts";
import { LeftClaims } from "./left-claims.ts";
import { PoolLists } from "./pool-lists.ts";

/** How long the kubelet may take to list what pods hold when the plugin ends, in milliseconds. */
const lastQuestion = 200;

/** What the device-plugin role needs. */
export interface DevicePluginRoleOptions {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly paths: KubeletPaths;
  /** How devices are handed out by CDI; null: by their nodes. */
  readonly cdi: CdiMode | null;
  readonly podAllocations: PodAllocations;
  readonly journal: Journal;
  /** Something failed that is to be tried again. */
  readonly retry: () => void;
  /** Devices were allocated just now. */
  readonly allocated: () => void;
  /** The name of the DRA driver that this node may have had before. */
  readonly driver: string;
  /** Requests another assignment: claims have ended that had devices. */
  readonly changed: () => void;
}

/** A pool that is served: as the kubelet has it, and its server. */
interface Served {
  readonly server: PluginServer;
  readonly counts: PoolCounts;
  pool: Pool;
  /** The ids of the list that the kubelet was given. */
  listed: ReadonlySet<string>;
}

/** The pools of a node as a device plugin serves them. */
export class DevicePluginRole implements Role {
  readonly #options: DevicePluginRoleOptions;
  readonly #log: Log;
  readonly #deviceInfo: DeviceInfo;
  readonly #cdi: CdiSpecs | null;
  /** CDI specs of an earlier process, while CDI is off; null while it is on. */
  readonly #leftCdi: CdiSpecs | null;
  readonly #served = new Map<string, Served>();
  readonly #lists: PoolLists;
  readonly #leftClaims: LeftClaims;
  readonly dra = null;
  #mode: RegistrationMode = "legacy";

  constructor(options: DevicePluginRoleOptions, log: Log) {
    const { root, podAllocations, cdi: mode } = options;
    this.#options = options;
    this.#log = log;
    this.#lists = new PoolLists(podAllocations, log);
    this.#deviceInfo = new DeviceInfo(root, podAllocations, () => this.#leftClaims.ids, log);
    const cdi = new CdiSpecs({ root, mode: mode ?? "cdi-devices", podAllocations }, log);
    this.#cdi = mode === null ? null : cdi;
    this.#leftCdi = mode === null ? cdi : null;
    this.#leftClaims = new LeftClaims(options, log);
  }

  get prepared(): ReadonlyMap<string, Holder> {
    return this.#leftClaims.prepared;
  }

  claimed(): readonly AllocatedDevice[] {
    return this.#leftClaims.allocations;
  }

  /** The pools as they are served, by resource. */
  get pools(): ReadonlyMap<string, Pool> {
    return new Map([...this.#served].map(([resource, { pool }]) => [resource, pool]));
  }

  /** The numbers of what the kubelet is offered. */
  get offer(): Omit<Offer, "configRejected"> {
    return offerOf([...this.pools.values()]);
  }

  /** A configured pool for status: what is known of its server, null where it has none. */
  offered(spec: PoolSpec): Offered {
    const served = this.#served.get(spec.resource);
    return { spec, served: served ? { ...served, registration: served.server.registration } : null };
  }

  /** Since when the kubelet has had each resource's list, in milliseconds since 1970; resources whose list it does not have are missing. */
  get connectedSince(): ReadonlyMap<string, number> {
    const registrations = [...this.#served].map(([resource, { server }]) => ({ resource, ...server.registration }));
    const connected = registrations.filter(({ state }) => state === "connected");
    return new Map(connected.map(({ resource, since }) => [resource, since]));
  }

  /** Takes over what an earlier process left, in either role: dead sockets are removed, CDI specs are read. */
  async begin(mode: RegistrationMode, prefixes: readonly string[]): Promise<void> {
    this.#mode = mode;
    const { driver, paths } = this.#options;
    const limit = socketNameLimit(paths);
    const isOurs = (name: string) => isSocketName(name, prefixes) || isDraSocketName(name, driver, limit);
    await removeLeftSockets([socketFolder(paths, mode)], isOurs, this.#log);
    (this.#cdi ?? this.#leftCdi)?.load();
    this.#leftClaims.start();
  }

  /** Checks whether every socket is in place, after something changed in the kubelet's folders. */
  checkSockets(): void {
    this.#leftClaims.check();
    for (const { server } of this.#served.values()) server.check();
  }

  /**
   * Makes the pools what they should be; returns the number of those that changed. A device that goes to another pool leaves its list first: the
   * gaining list waits, for a second at most, until the kubelet has seen the loss. With `isRescan` CDI specs that were removed are restored.
   */
  async apply(pools: readonly Pool[], isRescan: boolean, isClosed: () => boolean): Promise<number> {
    const before = this.pools;
    const isEqual = (a: Pool, b: Pool) => Bun.deepEquals(a, b);
    const effects = inSafeOrder(diff(before, pools, isEqual), before);
    const moves = movesBetween(before, pools);
    const gaining = new Set(moves.map(({ to }) => to));
    const gains = (effect: Effect) => effect.kind !== "stop" && gaining.has(effect.pool.spec.resource);
    this.#deviceInfo.revise();
    this.#leftClaims.check();
    if (this.#cdi?.withdraw(pools) === false) this.#options.retry();
    const losing = new Set(moves.map(({ from }) => from));
    for (const pool of pools) if (losing.has(pool.spec.resource)) this.#takeAway(pool);
    const ends = effects.filter(({ kind }) => kind === "stop").map((effect) => this.#safeApply(effect, before));
    for (const effect of effects) if (effect.kind !== "stop" && !gains(effect)) await this.#safeApply(effect, before);
    // A pool that was not connected, or has ended, offers nothing.
    const connected = this.connectedSince;
    const offered = moves.filter(({ from }) => connected.has(from));
    await lossesSeen(this.#options.paths.checkpoint, offered, isClosed);
    if (isClosed()) return effects.length;
    for (const effect of effects) if (gains(effect)) await this.#safeApply(effect, before);
    await Promise.all(ends);
    if (isClosed()) return effects.length;
    if (this.#cdi?.prune(pools) === false) this.#options.retry();
    this.#leftCdi?.prune([]);
    if (isRescan) {
      // Unless another instance serves their pools by now.
      const inPlace = [...this.#served.values()].filter(({ server }) => server.inPlace);
      this.#cdi?.restore(inPlace.map(({ pool }) => pool.spec));
    }
    return effects.length;
  }

  /** Removes the files of pools that have no server, neither here nor in another instance. */
  tidyUnserved(specs: readonly PoolSpec[]): void {
    const folder = socketFolder(this.#options.paths, this.#mode);
    for (const spec of specs) {
      if (!this.#served.has(spec.resource) && !existsSync(`${folder}/${socketName(spec)}`)) this.#forgetFiles(spec);
    }
  }

  /** Ends all servers, after the files of `specs` and of what is served that are no longer needed were removed. */
  async close(specs: readonly PoolSpec[]): Promise<void> {
    await this.#tidy(specs);
    await Promise.all([this.#leftClaims.close(), ...[...this.#served.values()].map(({ server }) => server.close())]);
  }

  /** An effect that fails is logged and tried again; the other pools have theirs all the same. */
  async #safeApply(effect: Effect, before: ReadonlyMap<string, Pool>): Promise<void> {
    try {
      await this.#apply(effect, before);
    } catch (error) {
      const resource = effect.kind === "stop" ? effect.resource : effect.pool.spec.resource;
      this.#log.error("cannot update the pool; retrying", { resource, reason: messageOf(error) });
      this.#options.retry();
    }
  }

  async #apply(effect: Effect, before: ReadonlyMap<string, Pool>): Promise<void> {
    if (effect.kind === "stop") return this.#stop(effect.resource);
    const { pool } = effect;
    const { resource } = pool.spec;
    const served = this.#served.get(resource);
    const isDescribed = this.#cdi?.describe(pool) ?? true;
    if (!isDescribed) this.#options.retry();
    if (served) {
      const known = before.get(resource) ?? served.pool;
      this.#update(served, known, isDescribed ? pool : withoutGained(served.pool, pool));
    } else if (isDescribed) this.#start(pool);
  }

  #update(served: Served, known: Pool, pool: Pool): void {
    writeLines(this.#log, changeLogLines(known, pool));
    countChanges(served.counts, known, pool);
    this.#setPool(served, pool);
    served.server.checkOptions();
  }

  /** Gives the kubelet the devices of a pool that is served. */
  #setPool(served: Served, pool: Pool): void {
    const list = this.#lists.of(pool, served.listed);
    served.pool = pool;
    served.listed = idsIn(list);
    served.server.setDevices(list);
  }

  #start(pool: Pool): void {
    const { resource } = pool.spec;
    const list = this.#lists.of(pool, new Set());
    const { journal, paths } = this.#options;
    this.#deviceInfo.begin(resource);
    const counts = newPoolCounts();
    const server = new PluginServer({
      resource,
      socketName: socketName(pool.spec),
      paths,
      mode: this.#mode,
      devices: list,
      allocate: (request) =>
        countAllocate(journal, counts, devicesIn(request), () => this.#allocate(resource, request)),
      isPreferring: () => (this.#served.get(resource)?.pool.spec.preferredAllocation ?? null) !== null,
      prefer: (request) => handlePreferred(this.#poolOf(resource), request),
      log: this.#log,
    });
    this.#served.set(resource, { server, counts, pool, listed: idsIn(list) });
    writeLines(this.#log, startLogLines(pool));
    server.start();
  }

  async #stop(resource: string): Promise<void> {
    const served = this.#served.get(resource);
    if (!served) return;
    this.#served.delete(resource);
    try {
      await served.server.close();
    } finally {
      this.#deviceInfo.retire(served.pool);
    }
    this.#log.info("stopped serving the pool: it left the config", { resource });
  }

  /** Takes from a pool that is served the devices that it is to lose, and leaves the rest as it is. */
  #takeAway(pool: Pool): void {
    const served = this.#served.get(pool.spec.resource);
    if (!served || [...served.pool.claims.keys()].every((id) => pool.claims.has(id))) return;
    this.#setPool(served, withoutLost(served.pool, pool));
  }

  /** Answers Allocate, and notes the devices as allocated. */
  #allocate(resource: string, request: AllocateRequest): AllocateResponse {
    this.#refusePrepared(request);
    const answer = handleAllocate(this.#poolOf(resource), request, {
      root: this.#options.root,
      deviceInfo: this.#deviceInfo,
      cdi: this.#cdi,
    });
    for (const { devicesIds } of request.containerRequests) {
      this.#options.podAllocations.allocated(resource, devicesIds);
      this.#log.info("allocated", { resource, devices: devicesIds });
    }
    this.#options.allocated();
    return answer;
  }

  /** A claim may have been prepared after the kubelet received its list. */
  #refusePrepared({ containerRequests }: AllocateRequest): void {
    const { prepared } = this;
    if (prepared.size === 0) return;
    for (const id of containerRequests.flatMap(({ devicesIds }) => devicesIds)) {
      const holder = prepared.get(id);
      if (holder) throw new StatusError(status.UNAVAILABLE, `device ${id} is prepared for ${holder.pod}`);
    }
  }

  #poolOf(resource: string): Pool {
    const pool = this.#served.get(resource)?.pool;
    if (!pool) throw new StatusError(status.UNAVAILABLE, `pool ${resource} is no longer served`);
    return pool;
  }

  /**
   * Removes files that are no longer needed, by the evidence of now. The files of what pods hold stay, since containers are restarted, and
   * CNIs called, while the plugin is away. So do the files of pools that another instance serves by now.
   */
  async #tidy(specs: readonly PoolSpec[]): Promise<void> {
    const { paths, podAllocations } = this.#options;
    // Without the kubelet's folder there is no checkpoint either, which would be taken for one of nothing.
    if (!existsSync(paths.devicePlugins)) return;
    if (podAllocations.recordedIn > 0) await Bun.sleep(podAllocations.recordedIn);
    await podAllocations.read(lastQuestion).catch((error: unknown) => {
      this.#log.warn("cannot read allocations", { reason: messageOf(error) });
      // Unknown from now on, so that every file stays.
      podAllocations.assume(podAllocations.held);
    });
    this.#leftCdi?.prune([]);
    for (const { pool, server } of this.#served.values()) if (server.inPlace) this.#forgetFiles(pool.spec);
    this.tidyUnserved([...specs, ...this.#deviceInfo.retired]);
  }

  /** Removes the files of a pool that is no longer served, but for what pods hold. */
  #forgetFiles(spec: PoolSpec): void {
    this.#deviceInfo.prune(spec.resource);
    this.#cdi?.leave(spec);
  }
}

const idsIn = (list: readonly KubeletDevice[]): ReadonlySet<string> => new Set(list.map(({ ID }) => ID));

const devicesIn = ({ containerRequests }: AllocateRequest): number =>
  containerRequests.reduce((sum, { devicesIds }) => sum + devicesIds.length, 0);
