// What does a kubelet do with a DRA driver? A double of its plugin manager and DRA manager, as of Kubernetes 1.37, as far as a driver can
// see them (pkg/kubelet/pluginmanager, pkg/kubelet/cm/dra).

import { type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { type FSWatcher, lstatSync, mkdirSync, readdirSync, watch } from "node:fs";
import type {
  Claim,
  NodePrepareResourceResponse,
  NodePrepareResourcesResponse,
  NodeUnprepareResourcesResponse,
} from "../../src/kubelet/api/dra.ts";
import { type DeviceHealth, HealthStatus, type NodeWatchResourcesResponse } from "../../src/kubelet/api/drahealth.ts";
import type { PluginInfo, RegistrationStatusResponse } from "../../src/kubelet/api/pluginregistration.ts";
import { channelOptions, DraClient, EarlierHealthClient, HealthClient, WatcherClient } from "./grpc.ts";
import { answerOf, within } from "./kubelet-endpoint.ts";
import { isSocket } from "./kubelet-sockets.ts";
import { until } from "./until.ts";

/** The kubelet's time limits, in milliseconds, but for its retries of registrations and health streams, which are quicker here. */
const limits = { getInfo: 1000, notify: 5000, call: 45_000, retry: 100, reconcile: 10 } as const;

/** One registered plugin of a driver: its connection, and its health stream. */
interface DraPlugin {
  readonly driver: string;
  readonly endpoint: string;
  readonly client: DraClient;
  readonly health: HealthClient | null;
  stream: ClientReadableStream<NodeWatchResourcesResponse> | null;
  retry: Timer | null;
  closed: boolean;
}

/** What the kubelet has of a device's health. */
interface KnownHealth extends DeviceHealth {
  /** When it was reported last, in milliseconds of performance.now(). */
  readonly at: number;
}

/** The health of devices as a pod's status shows it. */
export type ShownHealth = "Healthy" | "Unhealthy" | "Unknown";

export class DraKubelet {
  readonly root: string;
  /** What happened, in its order. */
  readonly events: string[] = [];
  /** Why registrations are refused; null when they are not. */
  refusal: string | null = null;
  /** Which health services it supports, the best one first; kubelets before 1.37 support v1alpha1 alone. */
  healthServices: readonly string[] = ["v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"];
  /** Types of plugins that another double of the same kubelet registers. */
  ignored: ReadonlySet<string> = new Set();
  /** Lists of health that were received. */
  lists = 0;
  /** By driver, in the order in which they registered. */
  readonly #plugins = new Map<string, DraPlugin[]>();
  readonly #bySocket = new Map<string, DraPlugin>();
  /** When the socket was put where it is, as it was registered. */
  readonly #placed = new Map<string, string>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #retries = new Set<Timer>();
  readonly #health = new Map<string, KnownHealth>();
  readonly #touched = new Set<string>();
  #watcher: FSWatcher | null = null;

  /** `root` is the kubelet's root directory. */
  constructor(root: string) {
    this.root = root;
  }

  get registry(): string {
    return `${this.root}/plugins_registry`;
  }

  /** Makes plugins_registry, walks it and watches it. */
  start(): void {
    if (this.#watcher) throw new Error("the kubelet is running");
    mkdirSync(this.registry, { recursive: true });
    this.#watcher = watch(this.registry, (event, name) => {
      if (event !== "rename" || typeof name !== "string") return;
      // The reconciler runs once a second: what happens to a socket in between counts once.
      if (this.#touched.size === 0) setTimeout(() => this.#settle(), limits.reconcile);
      this.#touched.add(name);
    });
    for (const name of readdirSync(this.registry)) this.#changed(name);
  }

  /** Its process ends: connections end, and its state of plugins and health is lost. */
  stop(): void {
    this.#watcher?.close();
    this.#watcher = null;
    for (const timer of this.#retries) clearTimeout(timer);
    for (const path of [...this.#bySocket.keys()]) this.#deregister(path);
    this.#health.clear();
    this.#turns.clear();
  }

  /** The endpoints of a driver's plugins, in the order in which they registered. */
  endpoints(driver: string): readonly string[] {
    return (this.#plugins.get(driver) ?? []).map(({ endpoint }) => endpoint);
  }

  /** How often something happened. */
  count(event: string): number {
    return this.events.filter((each) => each.startsWith(event)).length;
  }

  /** Waits until the driver has this many plugins. */
  waitForPlugins(driver: string, count = 1): Promise<void> {
    return until(`${driver} has ${count} plugins`, () => this.endpoints(driver).length === count, {
      found: () => this.events.join("\n  "),
    });
  }

  /** Calls NodePrepareResources as for a pod with these claims; rejects with what the pod's event would say. */
  async prepare(
    driver: string,
    ...claims: readonly Claim[]
  ): Promise<Readonly<Record<string, NodePrepareResourceResponse>>> {
    const answer = await this.callPrepare(driver, claims);
    checkAnswers("NodePrepareResources", claims, answer.claims);
    return answer.claims;
  }

  /** Calls NodeUnprepareResources as for a pod that ended; rejects with what the kubelet would log. */
  async unprepare(driver: string, ...claims: readonly Claim[]): Promise<void> {
    const answer = await answerOf<NodeUnprepareResourcesResponse>((done) =>
      this.#pluginOf(driver).client.nodeUnprepareResources({ claims: [...claims] }, within(limits.call), done),
    );
    checkAnswers("NodeUnprepareResources", claims, answer.claims);
  }

  /** Calls NodePrepareResources; the answer is not looked at. */
  callPrepare(driver: string, claims: readonly Claim[]): Promise<NodePrepareResourcesResponse> {
    const { client } = this.#pluginOf(driver);
    return answerOf((done) => client.nodePrepareResources({ claims: [...claims] }, within(limits.call), done));
  }

  /** The health of a device, as a pod's status would show it now, with the message. */
  healthOf(pool: string, device: string): readonly [ShownHealth, string] {
    const known = this.#health.get(`${pool}/${device}`);
    // Zero or less stands for the default.
    const timeout = known && known.healthCheckTimeoutSeconds > 0 ? known.healthCheckTimeoutSeconds * 1000 : 30_000;
    if (!known || performance.now() - known.at > timeout) return ["Unknown", ""];
    const { health, message } = known;
    return [
      health === HealthStatus.HEALTHY ? "Healthy" : health === HealthStatus.UNHEALTHY ? "Unhealthy" : "Unknown",
      message,
    ];
  }

  /** Of several plugins the one that registered last is called. */
  #pluginOf(driver: string): DraPlugin {
    const plugin = this.#plugins.get(driver)?.at(-1);
    if (!plugin) throw new Error(`DRA driver ${driver} is not registered`);
    return plugin;
  }

  #settle(): void {
    const names = [...this.#touched];
    this.#touched.clear();
    for (const name of names) this.#changed(name);
  }

  /** What concerns one socket is done one after the other. A socket that was put there anew is another plugin. */
  #changed(name: string): void {
    if (name.startsWith(".")) return;
    const path = `${this.registry}/${name}`;
    const turn = (this.#turns.get(path) ?? Promise.resolve()).then(async () => {
      if (!this.#watcher) return;
      // An event of what was done already: a rename changes the time.
      const placed = placedAt(path);
      if (placed !== null && placed === this.#placed.get(path) && this.#bySocket.has(path)) return;
      this.#deregister(path);
      if (placed === null || !isSocket(path)) return;
      this.#placed.set(path, placed);
      await this.#register(path);
    });
    this.#turns.set(path, turn);
  }

  async #register(path: string): Promise<void> {
    const client = new WatcherClient(`unix:${path}`, credentials.createInsecure(), channelOptions);
    try {
      const info = await answerOf<PluginInfo>((done) => client.getInfo({}, within(limits.getInfo), done));
      if (this.ignored.has(info.type)) return;
      this.events.push(`GetInfo ${info.name}`);
      const error = this.#add(path, info);
      this.events.push(`NotifyRegistrationStatus ${error ?? "registered"}`);
      const status = { pluginRegistered: error === null, error: error ?? "" };
      await answerOf<RegistrationStatusResponse>((done) =>
        client.notifyRegistrationStatus(status, within(limits.notify), done),
      );
      if (error !== null) throw new Error(error);
    } catch (error) {
      this.events.push(`registration failed ${(error as Error).message}`);
      if (!this.#watcher) return;
      const timer = setTimeout(() => {
        this.#retries.delete(timer);
        this.#changed(path.slice(path.lastIndexOf("/") + 1));
      }, limits.retry);
      this.#retries.add(timer);
    } finally {
      client.close();
    }
  }

  /** Adds a plugin; gives why it can't (ValidatePlugin, RegisterPlugin). */
  #add(path: string, { type, name: driver, endpoint: announced, supportedVersions }: PluginInfo): string | null {
    if (type !== "DRAPlugin") return `no handler registered for plugin type: ${type} at socket ${path}`;
    if (this.refusal !== null) return this.refusal;
    if (!supportedVersions.includes("v1.DRAPlugin")) return `none of ${supportedVersions.join()} is supported`;
    const endpoint = announced === "" ? path : announced;
    const others = this.#plugins.get(driver) ?? [];
    if (others.some((other) => other.endpoint === endpoint))
      return `endpoint ${endpoint} already registered for DRA driver plugin ${driver}`;
    const client = new DraClient(`unix:${endpoint}`, credentials.createInsecure(), channelOptions);
    const channel = client.getChannel();
    // One connection for all services; it is made without a call.
    const options = { channelOverride: channel as never };
    const service = this.healthServices.find((each) => supportedVersions.includes(each));
    const HealthClass = service === "v1.DRAResourceHealth" ? HealthClient : EarlierHealthClient;
    const health = service === undefined ? null : new HealthClass("unused", credentials.createInsecure(), options);
    channel.getConnectivityState(true);
    const plugin: DraPlugin = { driver, endpoint, client, health, stream: null, retry: null, closed: false };
    this.#plugins.set(driver, [...others, plugin]);
    this.#bySocket.set(path, plugin);
    this.#watchHealth(plugin);
    return null;
  }

  #deregister(path: string): void {
    const plugin = this.#bySocket.get(path);
    if (!plugin) return;
    this.#bySocket.delete(path);
    const left = (this.#plugins.get(plugin.driver) ?? []).filter((each) => each !== plugin);
    this.#plugins.set(plugin.driver, left);
    this.events.push(`deregistered ${path.slice(path.lastIndexOf("/") + 1)}`);
    plugin.closed = true;
    if (plugin.retry) clearTimeout(plugin.retry);
    plugin.stream?.cancel();
    plugin.client.close();
  }

  #watchHealth(plugin: DraPlugin): void {
    if (!plugin.health || plugin.closed) return;
    const stream = plugin.health.nodeWatchResources({});
    plugin.stream = stream;
    stream.on("data", ({ devices }: NodeWatchResourcesResponse) => {
      this.lists++;
      for (const each of devices)
        this.#health.set(`${each.device?.poolName ?? ""}/${each.device?.deviceName ?? ""}`, {
          ...each,
          at: performance.now(),
        });
    });
    stream.on("error", () => {});
    stream.on("close", () => {
      this.events.push("health stream ended");
      this.#health.clear();
      if (!plugin.closed) plugin.retry = setTimeout(() => this.#watchHealth(plugin), limits.retry);
    });
  }
}

/** What distinguishes a file from one that is put there later, the same one included; null when there is none. */
function placedAt(path: string): string | null {
  const status = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return status ? `${status.ino}/${status.ctimeNs}` : null;
}

/** Every claim must be answered, no other one may be, and none by an error. */
function checkAnswers(
  call: string,
  claims: readonly Claim[],
  answers: Readonly<Record<string, { readonly error: string }>>,
): void {
  for (const [uid, { error }] of Object.entries(answers)) {
    const claim = claims.find((each) => each.uid === uid);
    if (!claim) throw new Error(`${call} returned result for unknown claim UID ${uid}`);
    if (error !== "") throw new Error(`${call} failed for ResourceClaim ${claim.name}: ${error}`);
  }
  const missing = claims.length - Object.keys(answers).length;
  if (missing !== 0) throw new Error(`${call} skipped ${missing} ResourceClaims`);
}
