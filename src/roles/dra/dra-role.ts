// The DRA role: the pools are published as ResourceSlices, and their devices are prepared for claims. device-plugin-offers.ts decides whether that
// is allowed while a device plugin still has devices of this node.

import { existsSync } from "node:fs";
import type { AllocatedClaim } from "../../allocation/claim.ts";
import type { AttributeSet } from "../../dra/attributes.ts";
import { resourceProblem } from "../../dra/api-names.ts";
import { publishedHealth } from "../../dra/device-health.ts";
import { Publisher } from "../../dra/publisher/publisher.ts";
import { removeDeviceInfo } from "../../files/device-info-files.ts";
import { deviceInfoFolder } from "../../host/node-paths.ts";
import type { Access } from "../../kube/access.ts";
import { DraServer } from "../../kubelet/dra-server.ts";
import type { KubeletPaths, RegistrationMode } from "../../kubelet/kubelet-paths.ts";
import { offeredElsewhere, servedByDevicePlugin } from "../../kubelet/other-offers.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import { changeLogLines, startLogLines } from "../../pools/change-log.ts";
import type { AllocatedDevice } from "../../pools/decide-allocations.ts";
import { isSocketName } from "../../pools/names.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";
import type { Log } from "../../process/log.ts";
import type { Offer } from "../../process/systemd.ts";
import { countChanges, countPrepare, type Journal, newPoolCounts, type PoolCounts } from "../../telemetry/journal.ts";
import type { DraStatus, Offered } from "../../telemetry/plugin-status.ts";
import { messageOf } from "../../text.ts";
import { allocationsOf, holdersOf } from "../claim-holders.ts";
import type { Holder, Role } from "../role.ts";
import { offerOf, removeLeftSockets, writeLines } from "../served-pools.ts";
import { PreparedClaims } from "./claim-calls.ts";
import { claimReader } from "./claim-reads.ts";
import { DevicePluginOffers, type DevicePluginState } from "./device-plugin-offers.ts";

/** The driver's identity in the cluster. */
export interface DraDriver {
  /** Its name: a DNS name. */
  readonly driver: string;
  /** The Node's name. */
  readonly node: string;
  /** The UID of the plugin's pod; "" where it runs in none. */
  readonly instance: string;
  readonly attributes: AttributeSet;
  readonly access: Access;
}

/** What the DRA role needs. */
export interface DraRoleOptions extends DraDriver {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly paths: KubeletPaths;
  /** What pods have from a device plugin. */
  readonly podAllocations: PodAllocations;
  readonly journal: Journal;
  /** Requests another assignment: claims were prepared or unprepared. */
  readonly changed: () => void;
}

/** After how long it is tried again to read what an earlier process prepared, in milliseconds. */
const readRetry = 5000;

interface Served {
  readonly counts: PoolCounts;
  pool: Pool;
}

/** The pools of a node as a DRA driver serves them. */
export class DraRole implements Role {
  readonly #options: DraRoleOptions;
  readonly #log: Log;
  readonly #claims: PreparedClaims;
  readonly #server: DraServer;
  readonly #publisher: Publisher;
  readonly #offers: DevicePluginOffers;
  readonly #served = new Map<string, Served>();
  #isStarted = false;
  #isClosed = false;

  /** Throws when no socket's name fits into the kubelet's folder. */
  constructor(options: DraRoleOptions, log: Log) {
    const { root, paths, driver, node, instance, access, attributes, podAllocations, journal, changed } = options;
    this.#options = options;
    this.#log = log;
    this.#claims = new PreparedClaims(
      {
        root,
        driver,
        node,
        pools: () => [...this.pools.values()],
        heldElsewhere: (id, claim) => this.#holderBefore(id, claim),
        readClaim: claimReader(access),
        mayPrepare: () => this.#offers.refuse(),
        changed,
      },
      log,
    );
    this.#server = new DraServer({
      driver,
      instance,
      paths,
      log,
      prepare: (claim, signal) => countPrepare(journal, () => this.#claims.prepare(claim, signal)),
      unprepare: (claim) => this.#claims.unprepare(claim),
      registered: () => this.#publisher.allowCreates(),
    });
    // The scheduler would give pods to a node whose kubelet can't reach the driver, and they would wait there.
    this.#publisher = new Publisher({ access, driver, node, attributes, holdsCreates: true }, log);
    this.#offers = new DevicePluginOffers(
      {
        offered: () => this.#offeredByDevicePlugin(),
        podAllocations,
        isPrepared: (id) => this.#claims.wasPrepared(id),
        changed: (state, before) => this.#take(state, before),
      },
      log,
    );
  }

  get pools(): ReadonlyMap<string, Pool> {
    return new Map([...this.#served].map(([resource, { pool }]) => [resource, pool]));
  }

  get connectedSince(): ReadonlyMap<string, number> {
    const { state, since } = this.#server.registration;
    return new Map(state === "connected" ? [...this.#served.keys()].map((resource) => [resource, since]) : []);
  }

  get prepared(): ReadonlyMap<string, Holder> {
    return holdersOf(this.#claims.records());
  }

  get offer(): Omit<Offer, "configRejected"> {
    return offerOf([...this.pools.values()].filter(({ claims }) => claims.size > 0));
  }

  get dra(): DraStatus {
    const { driver, node } = this.#options;
    const { mode, reason, isCurrent, published, problem, writes } = this.#publisher.state();
    const offers = this.#offers.state;
    return {
      driver,
      node,
      publication: { mode, reason, isCurrent, problem, writes: { ...writes } },
      published,
      claims: this.#claims.records().length,
      devicePlugin: offers.kind === "offering" ? offers.resources : [],
      heldByDevicePlugin: [...this.#held].map(([id, { pod }]) => ({ id, pod })),
    };
  }

  offered(spec: PoolSpec): Offered {
    const served = this.#served.get(spec.resource);
    if (!served || served.pool.claims.size === 0) return { spec, served: null };
    const { pool, counts } = served;
    const { registration } = this.#server;
    return { spec, served: { pool, counts, registration, listed: new Set(pool.claims.keys()) } };
  }

  claimed(): readonly AllocatedDevice[] {
    return allocationsOf(this.#claims.records());
  }

  async begin(_: RegistrationMode, prefixes: readonly string[]): Promise<void> {
    const { registry, devicePlugins } = this.#options.paths;
    await removeLeftSockets([registry, devicePlugins], (name) => isSocketName(name, prefixes), this.#log);
    while (!this.#isClosed && !this.#claims.start()) await Bun.sleep(readRetry);
  }

  async apply(pools: readonly Pool[], isRescan: boolean): Promise<number> {
    const now = new Map(pools.map((pool) => [pool.spec.resource, pool]));
    const ended = [...this.#served.keys()].filter((resource) => !now.has(resource));
    for (const resource of ended) {
      this.#served.delete(resource);
      this.#log.info("stopped serving the pool: it left the config", { resource });
    }
    const changed = pools.filter((pool) => this.#update(pool));
    if (isRescan) this.#claims.restore();
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#server.start();
      await this.#offers.check();
    }
    const effects = ended.length + changed.length;
    if (effects > 0 && !this.#isClosed) this.#publish();
    return effects;
  }

  checkSockets(): void {
    if (!this.#isStarted) return;
    this.#server.check();
    void this.#offers.check();
  }

  /** Nothing: device-info files belong to claims, and go with them. */
  tidyUnserved(): void {}

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#offers.close();
    this.#claims.close();
    await Promise.all([this.#server.close(), this.#publisher.close()]);
  }

  /** Devices that pods have from a device plugin, or from another driver of this name. */
  get #held(): ReadonlyMap<string, Holder> {
    const { state } = this.#offers;
    return state.kind === "held" ? state.devices : new Map();
  }

  /** The pod because of which a claim cannot get a device; null if there is none. A pod that has the device by this very claim, whose record was lost, does not count. */
  #holderBefore(id: string, { namespace, pods }: AllocatedClaim): string | null {
    const holder = this.#held.get(id);
    const isOwn =
      holder?.resource === this.#options.driver && pods.some(({ name }) => holder.pod === `${namespace}/${name}`);
    return holder === undefined || isOwn ? null : holder.pod;
  }

  /** Takes a pool; returns whether it changed. */
  #update(pool: Pool): boolean {
    const { resource } = pool.spec;
    const served = this.#served.get(resource);
    if (!served) {
      this.#served.set(resource, { pool, counts: newPoolCounts() });
      const problem = resourceProblem(resource);
      if (problem !== null) this.#log.error("cannot publish the pool", { resource, reason: problem });
      writeLines(this.#log, startLogLines(pool));
      return true;
    }
    if (Bun.deepEquals(served.pool, pool)) return false;
    writeLines(this.#log, changeLogLines(served.pool, pool));
    countChanges(served.counts, served.pool, pool);
    served.pool = pool;
    return true;
  }

  /** Publishes the pools as they are, unless a device plugin still offers their devices. */
  #publish(): void {
    const { driver, node, attributes } = this.#options;
    const pools = [...this.pools.values()];
    const heldElsewhere = new Set(this.#held.keys());
    const context = { driver, node: { name: node, uid: "" }, attributes, hasTaints: true, heldElsewhere };
    this.#server.setHealth(publishedHealth(pools, context));
    if (this.#offers.state.kind === "held") this.#publisher.publish(pools, heldElsewhere);
  }

  #take(state: DevicePluginState, before: DevicePluginState): void {
    if (state.kind === "offering") void this.#publisher.withdraw();
    if (state.kind === "held" && before.kind === "held")
      this.#removeInfo([...before.devices].filter(([id]) => !state.devices.has(id)));
    // Before it goes on: the first write must have the taints of what pods got meanwhile.
    this.#publish();
    if (state.kind === "held") this.#publisher.resume();
  }

  /** Removes the device-info files that a device plugin left of devices whose pods have ended. */
  #removeInfo(released: readonly (readonly [id: string, holder: Holder])[]): void {
    const prepared = this.prepared;
    const devices = released.filter(([id]) => !prepared.has(id)).map(([id, { resource }]) => ({ resource, id }));
    try {
      removeDeviceInfo(deviceInfoFolder(this.#options.root), devices);
    } catch (error) {
      this.#log.warn("cannot remove stale device-info files", { resource: null, reason: messageOf(error) });
    }
  }

  /** The resources under which a device plugin that runs has devices of the pools, or is about to. */
  async #offeredByDevicePlugin(): Promise<string[]> {
    const { paths } = this.#options;
    // Without the kubelet's folder there is no checkpoint either, which would be taken for one of nothing.
    if (!existsSync(paths.devicePlugins))
      throw new Error(`${paths.devicePlugins} is missing; in a container, mount it from the node`);
    const ids = new Set([...this.pools.values()].flatMap(({ claims }) => [...claims.keys()]));
    const served = await servedByDevicePlugin(paths, [...this.#served.keys()]);
    const others = [...(await offeredElsewhere(paths, new Set()))].filter(([id]) => ids.has(id));
    return [...new Set([...served, ...others.map(([, resource]) => resource)])];
  }
}
