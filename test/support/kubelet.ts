// What does a kubelet do with a device plugin? A double of the kubelet's device manager and plugin watcher, as of
// Kubernetes 1.31 to 1.36, as far as a plugin can see them (pkg/kubelet/cm/devicemanager, pkg/kubelet/pluginmanager).

import {
  credentials,
  type sendUnaryData,
  Server,
  ServerCredentials,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  existsSync,
  type FSWatcher,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  renameSync,
  rmSync,
  watch,
  writeFileSync,
} from "node:fs";
import {
  type AllocateRequest,
  type AllocateResponse,
  ContainerAllocateResponse,
  type ContainerPreferredAllocationRequest,
  type Device,
  type DevicePluginOptions,
  type ListAndWatchResponse,
  type PreferredAllocationResponse,
  type RegisterRequest,
  RegistrationService,
} from "../../src/kubelet/api/deviceplugin.ts";
import type { PluginInfo, RegistrationStatusResponse } from "../../src/kubelet/api/pluginregistration.ts";
import { type PodResources, PodResourcesListerService } from "../../src/kubelet/api/podresources.ts";
import { channelOptions, pluginClient, WatcherClient } from "./grpc.ts";
import {
  answerOf,
  close,
  type Endpoint,
  markUnhealthy,
  newResource,
  type Resource,
  within,
} from "./kubelet-endpoint.ts";
import {
  type Allocation,
  type KubeletEvent,
  podUid,
  type RegistrationMode,
  type ResourceView,
} from "./kubelet-view.ts";
import { until } from "./until.ts";

/** The kubelet's time limits and back-off, in milliseconds. */
const limits = { getInfo: 1000, notify: 5000, dial: 10_000, firstRetry: 500 } as const;

/** IsExtendedResourceName (pkg/apis/core/v1/helper), in short. */
const extendedResource =
  /^(?!requests\.)(?!(?:.*\.)?kubernetes\.io\/)[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** The kubelet's side of device plugins, below its root directory. */
export class KubeletDouble {
  readonly root: string;
  readonly mode: RegistrationMode;
  readonly events: KubeletEvent[] = [];
  /** When true, ListAndWatch is not called after a registration until it is false again: kubelets can be minutes late. */
  holdsStreams = false;
  /** How long after it came a list is taken, in milliseconds. */
  listDelay = 0;
  /** Is called after each list was taken. */
  onList: () => void = () => {};
  /** How long after a change in plugins_registry it is acted on, in milliseconds: the reconciler of a kubelet runs once a second. */
  reconcileDelay = 0;
  /** Whether it asks for options before ListAndWatch; kubelets before 1.25 take what Register says of them. */
  asksOptions = true;
  /** Whether a start removes the sockets in device-plugins, as all kubelets of today do. */
  wipesSockets = true;
  /** When set, Allocate must be answered within so many milliseconds; the kubelet itself sets no limit. */
  readonly allocateLimit = 10_000;
  /** Which cgroup driver it has; null: it makes no cgroups for pods, or they can't be seen. */
  cgroupDriver: "systemd" | "cgroupfs" | null = "systemd";
  /** Whether it names pods to those who ask: the API server may be away after its start. */
  namesPods = true;
  readonly #resources = new Map<string, Resource>();
  /** What running pods hold. */
  readonly #allocations: Allocation[] = [];
  /** What the checkpoint records: also of pods that ended, until the next admission. */
  #records: readonly Allocation[] = [];
  /** Pods that a reboot ended, and that the API server still has for this node: they are to be admitted again. */
  readonly #awaited = new Set<string>();
  readonly #cgroups: string | null;
  #registration: "accept" | "refuse" | "hang" | "mute" = "accept";
  #servers: Server[] = [];
  #watcher: FSWatcher | null = null;
  #running = false;
  readonly #touched = new Set<string>();
  /** The endpoint behind each socket in plugins_registry. */
  readonly #bySocket = new Map<string, Endpoint>();
  readonly #pending = new Map<string, Promise<void>>();
  readonly #retries = new Set<Timer>();

  /**
   * `root` is the kubelet's root directory; its folders are made at start, plugins_registry in watcher mode only. `cgroups` is where
   * cgroups are mounted; null for none.
   */
  constructor(root: string, mode: RegistrationMode, cgroups: string | null = null) {
    this.root = root;
    this.mode = mode;
    this.#cgroups = cgroups;
  }

  get devicePlugins(): string {
    return `${this.root}/device-plugins`;
  }

  get registry(): string {
    return `${this.root}/plugins_registry`;
  }

  get running(): boolean {
    return this.#running;
  }

  /**
   * What happens to registrations: "refuse" answers with an error, "hang" doesn't answer at all, "mute" does all that "accept" does
   * but answer Register.
   */
  get registration(): "accept" | "refuse" | "hang" | "mute" {
    return this.#registration;
  }

  set registration(kind: "accept" | "refuse" | "hang" | "mute") {
    const walk = this.#registration === "hang" && kind !== "hang";
    this.#registration = kind;
    if (walk && this.#watcher) this.#walk();
  }

  /** Starts as a kubelet does: wipes the sockets in device-plugins, serves, then walks plugins_registry and watches it. */
  async start(): Promise<void> {
    if (this.#running) throw new Error("the kubelet is running");
    // In the kubelet's order: the device manager makes its folder last.
    if (this.mode === "watcher") mkdirSync(this.registry, { recursive: true });
    for (const folder of [`${this.root}/pod-resources`, this.devicePlugins]) mkdirSync(folder, { recursive: true });
    for (const name of this.wipesSockets ? readdirSync(this.devicePlugins) : []) {
      const path = `${this.devicePlugins}/${name}`;
      if (isSocket(path)) rmSync(path);
    }
    this.#running = true;
    for (const folder of this.#podFolders()) mkdirSync(folder, { recursive: true });
    await this.#serve(`${this.devicePlugins}/kubelet.sock`, RegistrationService, {
      register: (call: { request: RegisterRequest }, callback: sendUnaryData<object>) => {
        this.#register(call.request).then(
          () => callback(null, {}),
          (error: Error) => callback({ code: status.UNKNOWN, details: error.message }),
        );
      },
    });
    await this.#serve(`${this.root}/pod-resources/kubelet.sock`, PodResourcesListerService, {
      list: (_: unknown, callback: sendUnaryData<object>) => {
        this.#note("List", "pod-resources");
        // Not before the pods are known from the API server.
        if (this.namesPods) this.#updateAllocatedDevices();
        callback(null, { podResources: this.podResources() });
      },
      getAllocatableResources: (_: unknown, callback: sendUnaryData<object>) =>
        callback(null, { devices: [], cpuIds: [], memory: [] }),
    });
    if (this.mode === "watcher") this.#watch();
  }

  /** Stops together with its node: no pod runs on, their cgroups are gone. What they held stays in the checkpoint. */
  stop(): void {
    this.#stopProcess();
    for (const pod of new Set(this.#allocations.map(({ pod }) => pod))) {
      this.#end(pod);
      this.#awaited.add(pod);
    }
    for (const folder of this.#podFolders()) removeCgroup(folder);
  }

  /** The kubelet's process ends: connections end, its own sockets go, its memory of plugins is lost. Pods run on. */
  #stopProcess(): void {
    this.#running = false;
    this.#watcher?.close();
    this.#watcher = null;
    for (const timer of this.#retries) clearTimeout(timer);
    this.#retries.clear();
    for (const { endpoint } of this.#resources.values()) if (endpoint) close(endpoint);
    for (const endpoint of this.#bySocket.values()) close(endpoint);
    this.#bySocket.clear();
    for (const resource of this.#resources.values()) {
      resource.endpoint = null;
      resource.devices = new Map();
    }
    for (const server of this.#servers) server.forceShutdown();
    this.#servers = [];
    for (const path of [`${this.devicePlugins}/kubelet.sock`, `${this.root}/pod-resources/kubelet.sock`]) {
      rmSync(path, { force: true });
    }
  }

  /** Its process ends, and starts again after so many milliseconds; pods run on. */
  async restart(downFor = 0): Promise<void> {
    this.#stopProcess();
    if (downFor > 0) await Bun.sleep(downFor);
    await this.start();
  }

  /** Its process ends, and the node goes on with its pods; `start` starts it again. */
  crash(): void {
    this.#stopProcess();
  }

  /** The node is rebooted: pods and their cgroups are gone, the checkpoint stays. */
  async reboot(): Promise<void> {
    this.stop();
    await this.start();
  }

  /**
   * After a reboot: admits a pod of the checkpoint again, by the cached answer and without a word to the plugin; rejects when a
   * device of it is not healthy (pkg/kubelet/cm/devicemanager/manager.go, devicesToAllocate).
   */
  readmit(pod: string): void {
    const records = this.#records.filter((each) => each.pod === pod);
    if (records.length === 0) throw new Error(`no record of ${pod}`);
    for (const { resource, ids } of records) {
      const { devices } = this.resource(resource);
      if (ids.some((id) => devices.get(id)?.health !== "Healthy"))
        throw new Error(
          `previously allocated devices are no longer healthy; cannot allocate unhealthy devices ${resource}`,
        );
    }
    this.#awaited.delete(pod);
    this.#allocations.push(...records);
    this.#makeCgroup(pod);
  }

  /** A resource; one that was never registered is all zeros. */
  resource(name: string): ResourceView {
    const found = this.#resources.get(name) ?? newResource();
    const healthy = [...found.devices.values()].filter(({ health }) => health === "Healthy");
    const { devices, lists, repeatedLists, registrations, streams, options, announced } = found;
    return {
      devices,
      capacity: devices.size,
      allocatable: healthy.length,
      connected: found.endpoint?.stream != null,
      lists,
      repeatedLists,
      registrations,
      streams,
      options,
      announced,
    };
  }

  /** The resources that the kubelet knows, sorted. */
  get resources(): readonly string[] {
    return [...this.#resources.keys()].sort();
  }

  /** `status.allocatable` of the node, as far as plugins have to do with it. */
  get allocatable(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.resources.map((name) => [name, this.resource(name).allocatable]));
  }

  /** The ids of a resource that are not allocated, in the order of the list. */
  free(resource: string): string[] {
    const held = new Set(this.#allocations.filter((each) => each.resource === resource).flatMap(({ ids }) => ids));
    return [...this.resource(resource).devices.values()]
      .filter(({ ID, health }) => health === "Healthy" && !held.has(ID))
      .map(({ ID }) => ID);
  }

  get allocations(): readonly Allocation[] {
    return this.#allocations;
  }

  /** The connection to a plugin breaks: its stream ends, and is never opened again without a new registration. */
  breakConnection(resource: string): void {
    const endpoint = this.#resources.get(resource)?.endpoint;
    if (!endpoint) throw new Error(`${resource} is not registered`);
    this.#note("stream ended", resource, "by the kubelet");
    this.#disconnected(endpoint);
  }

  /**
   * A dial of an earlier registration comes through only now: there is a second stream, and Allocate goes its way, while the first
   * stream stays open (pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go connectClient, manager.go PluginConnected).
   */
  async connectLate(resource: string): Promise<void> {
    const endpoint = this.#resources.get(resource)?.endpoint;
    if (!endpoint) throw new Error(`${resource} is not registered`);
    await this.#connect(resource, endpoint.socket);
  }

  /** Five minutes without a new registration: resources whose stream ended are no longer part of the capacity. */
  endOfGrace(): void {
    for (const resource of this.#resources.values()) if (!resource.endpoint) resource.devices = new Map();
  }

  /**
   * Admits a pod with one container that asks for so many devices, or for these.
   *
   * Rejects as the kubelet does when there are too few, and with the plugin's status when Allocate is refused.
   */
  async allocate(
    resource: string,
    wanted: number | readonly string[],
    { pod = `pod-${this.#allocations.length}`, container = "main" } = {},
  ): Promise<ContainerAllocateResponse> {
    const found = this.#resources.get(resource);
    if (!found || !found.endpoint) throw new Error(`cannot allocate unregistered device ${resource}`);
    const free = this.free(resource);
    const count = typeof wanted === "number" ? wanted : wanted.length;
    if (this.resource(resource).allocatable === 0) throw new Error(`no healthy devices present; cannot allocate`);
    const ids = typeof wanted === "number" ? await this.#choose(resource, free, wanted) : wanted;
    if (ids.length < count || ids.some((id) => !free.includes(id))) {
      throw new Error(`requested number of devices unavailable for ${resource}: ${count} of ${free.join()}`);
    }
    // What was to be admitted again has been rejected by now.
    this.#awaited.clear();
    this.#updateAllocatedDevices();
    const { containerResponses } = await this.callAllocate(resource, [ids]);
    const [answer, ...others] = containerResponses;
    if (!answer || others.length > 0) throw new Error(`got ${containerResponses.length} container responses, not 1`);
    const allocation = { pod, container, resource, ids, answer };
    this.#allocations.push(allocation);
    this.#records = [...this.#records, allocation];
    this.#checkpoint();
    this.#makeCgroup(pod);
    return answer;
  }

  /** Takes what the plugin prefers, where it is asked and there is a choice; fills up by itself what that leaves. */
  async #choose(resource: string, free: readonly string[], count: number): Promise<readonly string[]> {
    if (this.resource(resource).options?.getPreferredAllocationAvailable !== true || count >= free.length) {
      return free.slice(0, count);
    }
    const question = { availableDeviceIDs: [...free], mustIncludeDeviceIDs: [], allocationSize: count };
    const [answer] = (await this.callPreferred(resource, [question])).containerResponses;
    const preferred = (answer?.deviceIDs ?? []).filter((id) => free.includes(id));
    return [...new Set([...preferred, ...free])].slice(0, count);
  }

  /** Calls GetPreferredAllocation with any questions, one a container; notes nothing but the call. */
  callPreferred(
    resource: string,
    containerRequests: ContainerPreferredAllocationRequest[],
  ): Promise<PreferredAllocationResponse> {
    const endpoint = this.#resources.get(resource)?.endpoint;
    if (!endpoint) throw new Error(`${resource} is not registered`);
    this.#note("GetPreferredAllocation", resource);
    return answerOf((done) =>
      endpoint.client.getPreferredAllocation({ containerRequests }, within(this.allocateLimit), done),
    );
  }

  /** Calls Allocate with any ids, one list a container, as no kubelet would; notes nothing. */
  callAllocate(resource: string, containers: readonly (readonly string[])[]): Promise<AllocateResponse> {
    const endpoint = this.#resources.get(resource)?.endpoint;
    if (!endpoint) throw new Error(`${resource} is not registered`);
    this.#note("Allocate", resource, containers.map((ids) => ids.join()).join(" "));
    const request: AllocateRequest = { containerRequests: containers.map((ids) => ({ devicesIds: [...ids] })) };
    return answerOf((done) => endpoint.client.allocate(request, within(this.allocateLimit), done));
  }

  /** The pod ended: its devices are free again, its cgroup is gone. The checkpoint has it until it is written for another reason. */
  release(pod: string): void {
    this.#awaited.delete(pod);
    this.#end(pod);
  }

  /** The devices that the checkpoint records for pods that ended. */
  get endedRecords(): readonly Allocation[] {
    return this.#records.filter(({ pod }) => !this.#isRunning(pod));
  }

  /** Where a pod has its cgroup; null where this kubelet makes none. */
  cgroupOf(pod: string): string | null {
    if (this.#cgroups === null || this.cgroupDriver === null) return null;
    // Pods with devices but without requests for CPU or memory are best-effort.
    const uid = podUid(pod);
    return this.cgroupDriver === "cgroupfs"
      ? `${this.#cgroups}/kubepods/besteffort/pod${uid}`
      : `${this.#cgroups}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid.replaceAll("-", "_")}.slice`;
  }

  /** UpdateAllocatedDevices (manager.go): the records of pods that ended go from memory, and from the file when it is written next. */
  #updateAllocatedDevices(): void {
    this.#records = this.#records.filter(({ pod }) => this.#isRunning(pod) || this.#awaited.has(pod));
  }

  #isRunning(pod: string): boolean {
    return this.#allocations.some((each) => each.pod === pod);
  }

  #end(pod: string): void {
    const others = this.#allocations.filter((each) => each.pod !== pod);
    this.#allocations.splice(0, this.#allocations.length, ...others);
    const cgroup = this.cgroupOf(pod);
    if (cgroup !== null) removeCgroup(cgroup);
  }

  #makeCgroup(pod: string): void {
    const cgroup = this.cgroupOf(pod);
    if (cgroup !== null) mkdirSync(`${cgroup}/cri-containerd-0.scope`, { recursive: true });
  }

  /** The cgroups above those of pods, which are made at the kubelet's start. */
  #podFolders(): string[] {
    if (this.#cgroups === null || this.cgroupDriver === null) return [];
    return [`${this.#cgroups}/${this.cgroupDriver === "cgroupfs" ? "kubepods" : "kubepods.slice"}`];
  }

  /** Waits for a condition on what this kubelet saw. */
  waitFor(condition: (kubelet: this) => boolean, what: string, within?: number): Promise<void> {
    return until(what, () => condition(this), {
      ...(within !== undefined && { within }),
      found: () => `${JSON.stringify(this.allocatable)} after\n  ${this.story()}`,
    });
  }

  /** Waits until the resource has so many allocatable devices. */
  waitForAllocatable(resource: string, count: number, within?: number): Promise<void> {
    return this.waitFor(
      () => this.resource(resource).connected && this.resource(resource).allocatable === count,
      `${resource} has ${count} allocatable devices`,
      within,
    );
  }

  /** What happened, one event a line. */
  story(): string {
    return this.events
      .map(({ what, of, told }) => `${what} ${of}${told === undefined ? "" : `: ${told}`}`)
      .join("\n  ");
  }

  /**
   * For how long nothing of the resource could be allocated after a time, in milliseconds: the sum of the times from the end of a stream
   * to the next list; Infinity when none came.
   */
  outageOf(resource: string, since: number): number {
    let outage = 0;
    let ended: number | null = null;
    for (const { what, of, at } of this.events) {
      if (of !== resource || at < since) continue;
      if (what === "stream ended") ended ??= at;
      if (what !== "list" || ended === null) continue;
      outage += at - ended;
      ended = null;
    }
    return ended === null ? outage : Infinity;
  }

  /** How often something happened, of one resource or of all. */
  count(what: KubeletEvent["what"], of?: string): number {
    return this.events.filter((event) => event.what === what && (of === undefined || event.of === of)).length;
  }

  /** The answer of pod-resources List (KEP-606): active pods. */
  podResources(): PodResources[] {
    if (!this.namesPods) return [];
    const pods = Map.groupBy(this.#allocations, ({ pod }) => pod);
    return [...pods].map(([name, inPod]) => ({
      name,
      namespace: "default",
      containers: [...Map.groupBy(inPod, ({ container }) => container)].map(([container, held]) => ({
        name: container,
        devices: held.map(({ resource, ids }) => ({
          resourceName: resource,
          deviceIds: [...ids],
          topology: undefined,
        })),
        cpuIds: [],
        memory: [],
        dynamicResources: [],
      })),
      cpuIds: [],
      memory: [],
    })) as unknown as PodResources[];
  }

  #note(what: KubeletEvent["what"], of: string, told?: string): void {
    this.events.push({ what, of, at: performance.now(), ...(told === undefined ? {} : { told }) });
  }

  async #serve(socket: string, service: never | object, handlers: object): Promise<void> {
    rmSync(socket, { force: true });
    const server = new Server();
    server.addService(service as never, handlers as UntypedServiceImplementation);
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    this.#servers.push(server);
  }

  /** v1beta1.Registration/Register: answered only after the plugin was connected to. */
  async #register(request: RegisterRequest): Promise<void> {
    const { version, endpoint, resourceName } = request;
    this.#note("Register", resourceName, endpoint);
    const resource = this.#known(resourceName);
    resource.registrations++;
    resource.announced = request;
    resource.options = request.options ?? null;
    if (this.#registration === "hang") return new Promise<never>(() => {});
    if (this.#registration === "refuse") throw new Error("the kubelet refuses registrations");
    if (version !== "v1beta1") throw new Error(`requested API version ${version} is not supported by kubelet`);
    if (!extendedResource.test(resourceName)) throw new Error(`the resourceName ${resourceName} is invalid`);
    await this.#connect(resourceName, `${this.devicePlugins}/${endpoint}`);
    if (this.#registration === "mute") return new Promise<never>(() => {});
  }

  #watch(): void {
    this.#watcher = watch(this.registry, (event, name) => {
      if (event !== "rename" || typeof name !== "string") return;
      if (this.#touched.size === 0) setTimeout(() => this.#settle(), this.reconcileDelay);
      this.#touched.add(name);
    });
    this.#walk();
  }

  #walk(): void {
    for (const name of readdirSync(this.registry)) this.#created(`${this.registry}/${name}`);
  }

  /** A burst of events on one name counts once, as a creation when there is a socket after it. */
  #settle(): void {
    const names = [...this.#touched];
    this.#touched.clear();
    if (!this.#watcher) return;
    for (const name of names) {
      const path = `${this.registry}/${name}`;
      if (existsSync(path)) this.#created(path);
      else this.#removed(path);
    }
  }

  #created(path: string): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name.startsWith(".") || !isSocket(path) || this.#registration === "hang") return;
    this.#inTurn(path, () => this.#registerSocket(path, limits.firstRetry));
  }

  #removed(path: string): void {
    this.#inTurn(path, async () => {
      const endpoint = this.#bySocket.get(path);
      if (!endpoint) return;
      this.#note("socket removed", path.slice(path.lastIndexOf("/") + 1));
      this.#bySocket.delete(path);
      this.#disconnected(endpoint);
    });
  }

  /** What concerns one socket is done one after the other, as the reconciler does. */
  #inTurn(path: string, action: () => Promise<void>): void {
    const turn = (this.#pending.get(path) ?? Promise.resolve()).then(action);
    this.#pending.set(path, turn);
  }

  /** A socket in plugins_registry, as the reconciler registers it; failures are tried again with back-off. */
  async #registerSocket(path: string, retry: number): Promise<void> {
    if (!this.#running || !isSocket(path)) return;
    const name = path.slice(path.lastIndexOf("/") + 1);
    const earlier = this.#bySocket.get(path);
    if (earlier) {
      this.#bySocket.delete(path);
      this.#disconnected(earlier);
    }
    const client = new WatcherClient(`unix:${path}`, credentials.createInsecure(), channelOptions);
    try {
      const info = await answerOf<PluginInfo>((done) => client.getInfo({}, within(limits.getInfo), done));
      this.#note("GetInfo", info.name, info.endpoint);
      const resource = this.#known(info.name);
      resource.registrations++;
      resource.announced = info;
      const error = await this.#connectAnnounced(path, info).then(
        () => null,
        (reason: Error) => reason,
      );
      const told = { pluginRegistered: error === null, error: error?.message ?? "" };
      this.#note("NotifyRegistrationStatus", info.name, error?.message ?? "registered");
      await answerOf<RegistrationStatusResponse>((done) =>
        client.notifyRegistrationStatus(told, within(limits.notify), done),
      );
      if (error) throw error;
    } catch (error) {
      if (!this.#running) return;
      this.#note("registration failed", name, (error as Error).message);
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
    if (this.#registration === "refuse") throw new Error("the kubelet refuses registrations");
    if (type !== "DevicePlugin") throw new Error(`no handler registered for plugin type ${type} at socket ${path}`);
    if (!supportedVersions.includes("v1beta1")) throw new Error(`v1beta1 is not among ${supportedVersions.join()}`);
    if (!extendedResource.test(name)) throw new Error(`invalid name of device plugin socket: ${name}`);
    this.#bySocket.set(path, await this.#connect(name, endpoint === "" ? path : endpoint));
  }

  /** Dials the plugin, asks for its options, then opens its one stream; the newest registration of a resource wins. */
  async #connect(name: string, socket: string): Promise<Endpoint> {
    const client = pluginClient(socket);
    const endpoint: Endpoint = { socket, client, stream: null, closed: false };
    try {
      await new Promise<void>((resolve, reject) =>
        client.waitForReady(Date.now() + limits.dial, (error) => (error ? reject(error) : resolve())),
      );
      const resource = this.#known(name);
      if (this.asksOptions) {
        resource.options = await answerOf<DevicePluginOptions>((done) =>
          client.getDevicePluginOptions({}, within(limits.dial), done),
        );
        this.#note("GetDevicePluginOptions", name);
      }
      resource.endpoint = endpoint;
    } catch (error) {
      close(endpoint);
      throw error;
    }
    void this.#run(name, endpoint);
    return endpoint;
  }

  async #run(name: string, endpoint: Endpoint): Promise<void> {
    if (this.holdsStreams) await until("streams are opened", () => !this.holdsStreams, { within: 60_000 });
    const resource = this.#known(name);
    if (endpoint.closed) return;
    let before: string | null = null;
    resource.streams++;
    this.#note("ListAndWatch", name);
    const stream = endpoint.client.listAndWatch({});
    endpoint.stream = stream;
    stream.on("data", ({ devices }: ListAndWatchResponse) => {
      // Nobody asks whose list it is: two plugins that both have a stream overwrite each other's.
      if (endpoint.closed) return;
      if (this.listDelay > 0) {
        setTimeout(() => take(devices), this.listDelay);
        return;
      }
      take(devices);
    });
    const take = (devices: readonly Device[]) => {
      if (endpoint.closed) return;
      const said = JSON.stringify(devices);
      resource.lists++;
      if (said === before) resource.repeatedLists++;
      before = said;
      resource.devices = new Map(devices.map((device) => [device.ID, device]));
      this.#note("list", name, `${devices.length} devices`);
      this.onList();
      if (existsSync(this.devicePlugins)) this.#checkpoint();
    };
    const ended = (reason: string) => {
      if (endpoint.closed) return;
      this.#note("stream ended", name, reason);
      this.#disconnected(endpoint);
      // The end of an older plugin's stream ends the resource, also when a newer one has taken it over.
      markUnhealthy(resource);
    };
    stream.on("end", () => ended("by the plugin"));
    stream.on("error", (error) => ended(error.message));
  }

  /** The stream is never opened again; the devices stay in the capacity, and none of them is healthy. */
  #disconnected(endpoint: Endpoint): void {
    close(endpoint);
    for (const resource of this.#resources.values()) {
      if (resource.endpoint === endpoint) markUnhealthy(resource);
    }
  }

  #known(name: string): Resource {
    const resource = this.#resources.get(name) ?? newResource();
    this.#resources.set(name, resource);
    return resource;
  }

  /** The checkpoint file, in which plugins can read what pods hold. */
  #checkpoint(): void {
    const entries = this.#records.map(({ pod, container, resource, ids, answer }) => ({
      PodUID: podUid(pod),
      ContainerName: container,
      ResourceName: resource,
      DeviceIDs: { "-1": ids },
      AllocResp: Buffer.from(ContainerAllocateResponse.encode(answer).finish()).toString("base64"),
    }));
    const registered = Object.fromEntries(
      this.resources.map((name) => [
        name,
        [...this.resource(name).devices.values()].flatMap(({ ID, health }) => (health === "Healthy" ? [ID] : [])),
      ]),
    );
    const data = { PodDeviceEntries: entries, RegisteredDevices: registered };
    const path = `${this.devicePlugins}/kubelet_internal_checkpoint`;
    // As the kubelet's store (pkg/kubelet/util/store/filestore.go): by rename.
    writeFileSync(`${path}.tmp`, JSON.stringify({ Data: data, Checksum: 0 }));
    renameSync(`${path}.tmp`, path);
  }
}

function isSocket(path: string): boolean {
  try {
    return lstatSync(path).isSocket();
  } catch {
    return false;
  }
}

/** Removes a cgroup and those below it as the kernel lets it be done, folder by folder: the files in it can't be removed. */
function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const each of readdirSync(folder, { withFileTypes: true }))
    if (each.isDirectory()) removeCgroup(`${folder}/${each.name}`);
  rmdirSync(folder);
}
