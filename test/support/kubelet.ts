// What does a kubelet do with a device plugin? A double of the kubelet's device manager and plugin watcher, as of
// Kubernetes 1.31 to 1.36, as far as a plugin can see them (pkg/kubelet/cm/devicemanager, pkg/kubelet/pluginmanager).

import { type sendUnaryData, type Server, status } from "@grpc/grpc-js";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import {
  type AllocateRequest,
  type AllocateResponse,
  type ContainerAllocateResponse,
  type ContainerPreferredAllocationRequest,
  type PreferredAllocationResponse,
  type RegisterRequest,
  RegistrationService,
} from "../../src/kubelet/api/deviceplugin.ts";
import { type PodResources, PodResourcesListerService } from "../../src/kubelet/api/podresources.ts";
import { answerOf, within } from "./kubelet-endpoint.ts";
import { KubeletHistory } from "./kubelet-history.ts";
import { KubeletPlugins } from "./kubelet-plugins.ts";
import { KubeletPods, type PodClaim } from "./kubelet-pods.ts";
import { KubeletRegistration, type RegistrationOutcome } from "./kubelet-registration.ts";
import { isSocket, serveOn } from "./kubelet-sockets.ts";
import type { Allocation, KubeletEvent, RegistrationMode, ResourceView } from "./kubelet-view.ts";
import { until } from "./until.ts";

/** The kubelet's side of device plugins, below its root directory. */
export class KubeletDouble {
  readonly root: string;
  readonly mode: RegistrationMode;
  readonly #history = new KubeletHistory();
  readonly events: KubeletEvent[] = this.#history.events;
  /** When true, ListAndWatch is not called after a registration until it is false again: kubelets can be minutes late. */
  holdsStreams = false;
  /** How long after it came a list is taken, in milliseconds. */
  listDelay = 0;
  /** Is called after each list was taken. */
  onList: () => void = () => {};
  /** How long after a change in plugins_registry it is acted on, in milliseconds: the reconciler of a kubelet runs once a second. */
  reconcileDelay = 0;
  /** Types of plugins that another double of the same kubelet registers. */
  ignored: ReadonlySet<string> = new Set();
  /** Whether it requests options before ListAndWatch; kubelets before 1.25 take what Register says of them. */
  asksOptions = true;
  /** Whether a start removes the sockets in device-plugins, as all kubelets of today do. */
  wipesSockets = true;
  /** When set, Allocate must be answered within so many milliseconds; the kubelet itself sets no limit. */
  readonly allocateLimit = 10_000;
  /** Which cgroup driver it has; null: it makes no cgroups for pods, or they can't be seen. */
  cgroupDriver: "systemd" | "cgroupfs" | null = "systemd";
  /** Whether it names pods to those who ask: the API server may be away after its start. */
  namesPods = true;
  /** Devices that pods have by claims of DRA. */
  claims: readonly PodClaim[] = [];
  readonly #pods: KubeletPods;
  readonly #plugins = new KubeletPlugins(this, this.#history, () => {
    this.onList();
    if (existsSync(this.devicePlugins)) this.#checkpoint();
  });
  readonly #registration = new KubeletRegistration(this, this.#plugins, this.#history);
  #servers: Server[] = [];
  #running = false;

  /**
   * `root` is the kubelet's root directory; its folders are made at start, plugins_registry in watcher mode only. `cgroups` is where
   * cgroups are mounted; null for none.
   */
  constructor(root: string, mode: RegistrationMode, cgroups: string | null = null) {
    this.root = root;
    this.mode = mode;
    this.#pods = new KubeletPods(this, cgroups);
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
  get registration(): RegistrationOutcome {
    return this.#registration.outcome;
  }

  set registration(kind: RegistrationOutcome) {
    this.#registration.outcome = kind;
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
    this.#pods.makePodFolders();
    await this.#serve(`${this.devicePlugins}/kubelet.sock`, RegistrationService, {
      register: (call: { request: RegisterRequest }, callback: sendUnaryData<object>) => {
        this.#registration.register(call.request).then(
          () => callback(null, {}),
          (error: Error) => callback({ code: status.UNKNOWN, details: error.message }),
        );
      },
    });
    await this.#serve(`${this.root}/pod-resources/kubelet.sock`, PodResourcesListerService, {
      list: (_: unknown, callback: sendUnaryData<object>) => {
        this.#history.note("List", "pod-resources");
        // Not before the pods are known from the API server.
        if (this.namesPods) this.#pods.updateAllocatedDevices();
        callback(null, { podResources: this.podResources() });
      },
      getAllocatableResources: (_: unknown, callback: sendUnaryData<object>) =>
        callback(null, { devices: [], cpuIds: [], memory: [] }),
    });
    if (this.mode === "watcher") this.#registration.watch();
  }

  /** Stops together with its node: no pod runs on, their cgroups are gone. What they held stays in the checkpoint. */
  stop(): void {
    this.#stopProcess();
    this.#pods.endAll();
  }

  /** The kubelet's process ends: connections end, its own sockets go, its memory of plugins is lost. Pods run on. */
  #stopProcess(): void {
    this.#running = false;
    this.#registration.unwatch();
    this.#plugins.closeAll();
    this.#registration.closeAll();
    this.#plugins.forgetDevices();
    for (const server of this.#servers) server.forceShutdown();
    this.#servers = [];
    for (const path of [`${this.devicePlugins}/kubelet.sock`, `${this.root}/pod-resources/kubelet.sock`]) {
      rmSync(path, { force: true });
    }
  }

  /** Its process ends, and starts again after this many milliseconds; pods run on. */
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
    this.#pods.readmit(pod, (resource) => this.#plugins.view(resource).devices);
  }

  /** A resource; one that was never registered is all zeros. */
  resource(name: string): ResourceView {
    return this.#plugins.view(name);
  }

  /** The resources that are registered with the kubelet, sorted. */
  get resources(): readonly string[] {
    return this.#plugins.names;
  }

  /** `status.allocatable` of the node, as far as plugins have to do with it. */
  get allocatable(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.resources.map((name) => [name, this.resource(name).allocatable]));
  }

  /** The ids of a resource that are not allocated, in the order of the list. */
  free(resource: string): string[] {
    const held = this.#pods.held(resource);
    return [...this.resource(resource).devices.values()]
      .filter(({ ID, health }) => health === "Healthy" && !held.has(ID))
      .map(({ ID }) => ID);
  }

  get allocations(): readonly Allocation[] {
    return this.#pods.allocations;
  }

  /** The connection to a plugin breaks: its stream ends, and is never opened again without a new registration. */
  breakConnection(resource: string): void {
    const endpoint = this.#plugins.endpointOf(resource);
    this.#history.note("stream ended", resource, "by the kubelet");
    this.#plugins.disconnected(endpoint);
  }

  /**
   * A dial of an earlier registration comes through only now: there is a second stream, and Allocate goes its way, while the first
   * stream stays open (pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go connectClient, manager.go PluginConnected).
   */
  async connectLate(resource: string): Promise<void> {
    await this.#plugins.connect(resource, this.#plugins.endpointOf(resource).socket);
  }

  /** Five minutes without a new registration: resources whose stream ended are no longer part of the capacity. */
  endOfGrace(): void {
    this.#plugins.endOfGrace();
  }

  /**
   * Admits a pod with one container that requests this many devices, or these.
   *
   * Rejects as the kubelet does when there are too few, and with the plugin's status when Allocate is refused.
   */
  async allocate(
    resource: string,
    requested: number | readonly string[],
    { pod = `pod-${this.#pods.allocations.length}`, container = "main" } = {},
  ): Promise<ContainerAllocateResponse> {
    if (!this.#plugins.connectionOf(resource)) throw new Error(`cannot allocate unregistered device ${resource}`);
    const free = this.free(resource);
    const count = typeof requested === "number" ? requested : requested.length;
    if (this.resource(resource).allocatable === 0) throw new Error(`no healthy devices present; cannot allocate`);
    const ids = typeof requested === "number" ? await this.#choose(resource, free, requested) : requested;
    if (ids.length < count || ids.some((id) => !free.includes(id))) {
      throw new Error(`requested number of devices unavailable for ${resource}: ${count} of ${free.join()}`);
    }
    // What was to be admitted again has been rejected by now.
    this.#pods.forgetAwaited();
    this.#pods.updateAllocatedDevices();
    const { containerResponses } = await this.callAllocate(resource, [ids]);
    const [answer, ...others] = containerResponses;
    if (!answer || others.length > 0) throw new Error(`got ${containerResponses.length} container responses, not 1`);
    this.#pods.admit({ pod, container, resource, ids, answer });
    this.#checkpoint();
    this.#pods.makeCgroup(pod);
    return answer;
  }

  /** Takes what the plugin prefers, where it is called and there is a choice; fills up by itself what that leaves. */
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
    const endpoint = this.#plugins.endpointOf(resource);
    this.#history.note("GetPreferredAllocation", resource);
    return answerOf((done) =>
      endpoint.client.getPreferredAllocation({ containerRequests }, within(this.allocateLimit), done),
    );
  }

  /** Calls Allocate with any ids, one list a container, as no kubelet would; notes nothing. */
  callAllocate(resource: string, containers: readonly (readonly string[])[]): Promise<AllocateResponse> {
    const endpoint = this.#plugins.endpointOf(resource);
    this.#history.note("Allocate", resource, containers.map((ids) => ids.join()).join(" "));
    const request: AllocateRequest = { containerRequests: containers.map((ids) => ({ devicesIds: [...ids] })) };
    return answerOf((done) => endpoint.client.allocate(request, within(this.allocateLimit), done));
  }

  /** The pod ended: its devices are free again, its cgroup is gone. The checkpoint has it until it is written for another reason. */
  release(pod: string): void {
    this.#pods.release(pod);
  }

  /** The devices that the checkpoint records for pods that ended. */
  get endedRecords(): readonly Allocation[] {
    return this.#pods.endedRecords;
  }

  /** Where a pod has its cgroup; null where this kubelet makes none. */
  cgroupOf(pod: string): string | null {
    return this.#pods.cgroupOf(pod);
  }

  /** Waits for a condition on what this kubelet saw. */
  waitFor(condition: (kubelet: this) => boolean, what: string, within?: number): Promise<void> {
    return until(what, () => condition(this), {
      ...(within !== undefined && { within }),
      found: () => `${JSON.stringify(this.allocatable)} after\n  ${this.transcript()}`,
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
  transcript(): string {
    return this.#history.transcript();
  }

  /**
   * For how long nothing of the resource could be allocated after a time, in milliseconds: the sum of the times from the end of a stream
   * to the next list; Infinity when none came.
   */
  outageOf(resource: string, since: number): number {
    return this.#history.outageOf(resource, since);
  }

  /** How often something happened, of one resource or of all. */
  count(what: KubeletEvent["what"], of?: string): number {
    return this.#history.count(what, of);
  }

  /** The answer of pod-resources List (KEP-606): active pods. */
  podResources(): PodResources[] {
    return this.#pods.podResources();
  }

  async #serve(socket: string, service: object, handlers: object): Promise<void> {
    const server = await serveOn(socket, service, handlers);
    this.#servers.push(server);
  }

  #checkpoint(): void {
    this.#pods.checkpoint(this.devicePlugins, this.#plugins.healthy);
  }
}
