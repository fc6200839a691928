// How plugins register with a kubelet double: by their Register calls, and by their sockets in plugins_registry.

import { credentials, type ServiceError } from "@grpc/grpc-js";
import { existsSync, type FSWatcher, readdirSync, watch } from "node:fs";
import type { RegisterRequest } from "../../src/kubelet/api/deviceplugin.ts";
import type { PluginInfo, RegistrationStatusResponse } from "../../src/kubelet/api/pluginregistration.ts";
import { channelOptions, WatcherClient } from "./grpc.ts";
import { answerOf, close, type Endpoint, within } from "./kubelet-endpoint.ts";
import type { KubeletHistory } from "./kubelet-history.ts";
import type { KubeletPlugins } from "./kubelet-plugins.ts";
import { isSocket } from "./kubelet-sockets.ts";

/**
 * The kubelet's time limits and back-off, in milliseconds (pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go): the time of
 * GetInfo begins when the connection is there.
 */
const limits = { dial: 10_000, getInfo: 1000, notify: 5000, firstRetry: 500 } as const;

/** IsExtendedResourceName (pkg/apis/core/v1/helper), in short. */
const extendedResource =
  /^(?!requests\.)(?!(?:.*\.)?kubernetes\.io\/)[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** What happens to registrations; KubeletDouble describes each. */
export type RegistrationOutcome = "accept" | "refuse" | "hang" | "mute";

/** What the double is while plugins register; a test may change it. */
export interface RegistrationHabits {
  readonly devicePlugins: string;
  readonly registry: string;
  readonly running: boolean;
  readonly reconcileDelay: number;
  /** Types of plugins that another double of the same kubelet registers. */
  readonly ignored: ReadonlySet<string>;
}

export class KubeletRegistration {
  readonly #habits: RegistrationHabits;
  readonly #plugins: KubeletPlugins;
  readonly #history: KubeletHistory;
  #outcome: RegistrationOutcome = "accept";
  #watcher: FSWatcher | null = null;
  readonly #touched = new Set<string>();
  /** The endpoint behind each socket in plugins_registry. */
  readonly #bySocket = new Map<string, Endpoint>();
  readonly #pending = new Map<string, Promise<void>>();
  readonly #retries = new Set<Timer>();

  constructor(habits: RegistrationHabits, plugins: KubeletPlugins, history: KubeletHistory) {
    this.#habits = habits;
    this.#plugins = plugins;
    this.#history = history;
  }

  get outcome(): RegistrationOutcome {
    return this.#outcome;
  }

  set outcome(kind: RegistrationOutcome) {
    const walk = this.#outcome === "hang" && kind !== "hang";
    this.#outcome = kind;
    if (walk && this.#watcher) this.#walk();
  }

  /** The kubelet's process ends: plugins_registry is not watched any more. */
  unwatch(): void {
    this.#watcher?.close();
    this.#watcher = null;
    for (const timer of this.#retries) clearTimeout(timer);
    this.#retries.clear();
  }

  /** The connections to plugins of plugins_registry end. */
  closeAll(): void {
    for (const endpoint of this.#bySocket.values()) close(endpoint);
    this.#bySocket.clear();
  }

  /** v1beta1.Registration/Register: answered only after the plugin was connected to. */
  async register(request: RegisterRequest): Promise<void> {
    const { version, endpoint, resourceName } = request;
    this.#history.note("Register", resourceName, endpoint);
    const resource = this.#plugins.known(resourceName);
    resource.registrations++;
    resource.announced = request;
    resource.options = request.options ?? null;
    if (this.#outcome === "hang") return new Promise<never>(() => {});
    if (this.#outcome === "refuse") throw new Error("the kubelet refuses registrations");
    if (version !== "v1beta1") throw new Error(`requested API version ${version} is not supported by kubelet`);
    if (!extendedResource.test(resourceName)) throw new Error(`the resourceName ${resourceName} is invalid`);
    await this.#plugins.connect(resourceName, `${this.#habits.devicePlugins}/${endpoint}`);
    if (this.#outcome === "mute") return new Promise<never>(() => {});
  }

  /** Registers what is in plugins_registry, and what comes there from now on. */
  watch(): void {
    this.#watcher = watch(this.#habits.registry, (event, name) => {
      if (event !== "rename" || typeof name !== "string") return;
      if (this.#touched.size === 0) setTimeout(() => this.#settle(), this.#habits.reconcileDelay);
      this.#touched.add(name);
    });
    this.#walk();
  }

  #walk(): void {
    for (const name of readdirSync(this.#habits.registry)) this.#created(`${this.#habits.registry}/${name}`);
  }

  /** A burst of events on one name counts once, as a creation when there is a socket after it. */
  #settle(): void {
    const names = [...this.#touched];
    this.#touched.clear();
    if (!this.#watcher) return;
    for (const name of names) {
      const path = `${this.#habits.registry}/${name}`;
      if (existsSync(path)) this.#created(path);
      else this.#removed(path);
    }
  }

  #created(path: string): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name.startsWith(".") || !isSocket(path) || this.#outcome === "hang") return;
    this.#inTurn(path, () => this.#registerSocket(path, limits.firstRetry));
  }

  #removed(path: string): void {
    this.#inTurn(path, async () => {
      const endpoint = this.#bySocket.get(path);
      if (!endpoint) return;
      this.#history.note("socket removed", path.slice(path.lastIndexOf("/") + 1));
      this.#bySocket.delete(path);
      this.#plugins.disconnected(endpoint);
    });
  }

  /** What concerns one socket is done one after the other, as the reconciler does. */
  #inTurn(path: string, action: () => Promise<void>): void {
    const turn = (this.#pending.get(path) ?? Promise.resolve()).then(action);
    this.#pending.set(path, turn);
  }

  /** A socket in plugins_registry, as the reconciler registers it; failures are tried again with back-off. */
  async #registerSocket(path: string, retry: number): Promise<void> {
    if (!this.#habits.running || !isSocket(path)) return;
    const name = path.slice(path.lastIndexOf("/") + 1);
    const earlier = this.#bySocket.get(path);
    if (earlier) {
      this.#bySocket.delete(path);
      this.#plugins.disconnected(earlier);
    }
    const client = new WatcherClient(`unix:${path}`, credentials.createInsecure(), channelOptions);
    try {
      await answerOf((done) =>
        client.waitForReady(Date.now() + limits.dial, (error) => done(error as ServiceError, {})),
      );
      const info = await answerOf<PluginInfo>((done) => client.getInfo({}, within(limits.getInfo), done));
      if (this.#habits.ignored.has(info.type)) return;
      this.#history.note("GetInfo", info.name, info.endpoint);
      const resource = this.#plugins.known(info.name);
      resource.registrations++;
      resource.announced = info;
      const error = await this.#connectAnnounced(path, info).then(
        () => null,
        (reason: Error) => reason,
      );
      const answer = { pluginRegistered: error === null, error: error?.message ?? "" };
      this.#history.note("NotifyRegistrationStatus", info.name, error?.message ?? "registered");
      await answerOf<RegistrationStatusResponse>((done) =>
        client.notifyRegistrationStatus(answer, within(limits.notify), done),
      );
      if (error) throw error;
    } catch (error) {
      if (!this.#habits.running) return;
      this.#history.note("registration failed", name, (error as Error).message);
      const timer = setTimeout(() => {
        this.#retries.delete(timer);
        this.#inTurn(path, () => this.#registerSocket(path, retry * 2));
      }, retry);
      this.#retries.add(timer);
    } finally {
      client.close();
    }
  }

  async #connectAnnounced(path: string, { type, name, endpoint, supportedVersions }: PluginInfo): Promise<void> {
    if (this.#outcome === "refuse") throw new Error("the kubelet refuses registrations");
    if (type !== "DevicePlugin") throw new Error(`no handler registered for plugin type ${type} at socket ${path}`);
    if (!supportedVersions.includes("v1beta1")) throw new Error(`v1beta1 is not among ${supportedVersions.join()}`);
    if (!extendedResource.test(name)) throw new Error(`invalid name of device plugin socket: ${name}`);
    this.#bySocket.set(path, await this.#plugins.connect(name, endpoint === "" ? path : endpoint));
  }
}
