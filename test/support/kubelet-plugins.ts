// Plugins as a kubelet double has them after their registration: their connections, their streams, and the resources that these list.

import type { Device, DevicePluginOptions, ListAndWatchResponse } from "../../src/kubelet/api/deviceplugin.ts";
import { pluginClient } from "./grpc.ts";
import {
  answerOf,
  close,
  type Endpoint,
  markUnhealthy,
  newResource,
  type Resource,
  within,
} from "./kubelet-endpoint.ts";
import type { KubeletHistory } from "./kubelet-history.ts";
import type { ResourceView } from "./kubelet-view.ts";
import { until } from "./until.ts";

/** The kubelet's limit to dial a plugin, in milliseconds. */
const dialLimit = 10_000;

/** What a test may change while plugins are connected; KubeletDouble describes each. */
export interface StreamHabits {
  readonly holdsStreams: boolean;
  readonly listDelay: number;
  readonly asksOptions: boolean;
}

export class KubeletPlugins {
  readonly #resources = new Map<string, Resource>();
  readonly #habits: StreamHabits;
  readonly #history: KubeletHistory;
  readonly #taken: () => void;

  /** `taken` is called after each list. */
  constructor(habits: StreamHabits, history: KubeletHistory, taken: () => void) {
    this.#habits = habits;
    this.#history = history;
    this.#taken = taken;
  }

  /** A resource; one that was never registered is all zeros. */
  view(name: string): ResourceView {
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

  /** The resources that are registered with the kubelet, sorted. */
  get names(): readonly string[] {
    return [...this.#resources.keys()].sort();
  }

  /** The healthy devices of each resource, by its name. */
  get healthy(): Readonly<Record<string, readonly string[]>> {
    return Object.fromEntries(
      this.names.map((name) => [
        name,
        [...this.view(name).devices.values()].flatMap(({ ID, health }) => (health === "Healthy" ? [ID] : [])),
      ]),
    );
  }

  /** The connection to a resource's plugin; null when there is none. */
  connectionOf(resource: string): Endpoint | null {
    return this.#resources.get(resource)?.endpoint ?? null;
  }

  /** The connection to a resource's plugin; throws when there is none. */
  endpointOf(resource: string): Endpoint {
    const endpoint = this.connectionOf(resource);
    if (!endpoint) throw new Error(`${resource} is not registered`);
    return endpoint;
  }

  /** All connections end. */
  closeAll(): void {
    for (const { endpoint } of this.#resources.values()) if (endpoint) close(endpoint);
  }

  /** What was known of the resources' plugins and devices is forgotten. */
  forgetDevices(): void {
    for (const resource of this.#resources.values()) {
      resource.endpoint = null;
      resource.devices = new Map();
    }
  }

  /** Resources without a connection are no longer part of the capacity. */
  endOfGrace(): void {
    for (const resource of this.#resources.values()) if (!resource.endpoint) resource.devices = new Map();
  }

  /** Dials the plugin, requests its options, then opens its one stream; the newest registration of a resource wins. */
  async connect(name: string, socket: string): Promise<Endpoint> {
    const client = pluginClient(socket);
    const endpoint: Endpoint = { socket, client, stream: null, closed: false };
    try {
      await new Promise<void>((resolve, reject) =>
        client.waitForReady(Date.now() + dialLimit, (error) => (error ? reject(error) : resolve())),
      );
      const resource = this.known(name);
      if (this.#habits.asksOptions) {
        resource.options = await answerOf<DevicePluginOptions>((done) =>
          client.getDevicePluginOptions({}, within(dialLimit), done),
        );
        this.#history.note("GetDevicePluginOptions", name);
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
    if (this.#habits.holdsStreams)
      await until("streams are opened", () => !this.#habits.holdsStreams, { within: 60_000 });
    const resource = this.known(name);
    if (endpoint.closed) return;
    let before: string | null = null;
    resource.streams++;
    this.#history.note("ListAndWatch", name);
    const stream = endpoint.client.listAndWatch({});
    endpoint.stream = stream;
    stream.on("data", ({ devices }: ListAndWatchResponse) => {
      // It is not checked whose list it is: two plugins that both have a stream overwrite each other's.
      if (endpoint.closed) return;
      if (this.#habits.listDelay > 0) {
        setTimeout(() => take(devices), this.#habits.listDelay);
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
      this.#history.note("list", name, `${devices.length} devices`);
      this.#taken();
    };
    const ended = (reason: string) => {
      if (endpoint.closed) return;
      this.#history.note("stream ended", name, reason);
      this.disconnected(endpoint);
      // The end of an older plugin's stream ends the resource, also when a newer one has taken it over.
      markUnhealthy(resource);
    };
    stream.on("end", () => ended("by the plugin"));
    stream.on("error", (error) => ended(error.message));
  }

  /** The stream is never opened again; the devices stay in the capacity, and none of them is healthy. */
  disconnected(endpoint: Endpoint): void {
    close(endpoint);
    for (const resource of this.#resources.values()) {
      if (resource.endpoint === endpoint) markUnhealthy(resource);
    }
  }

  /** What is counted of a resource, which is known from now on. */
  known(name: string): Resource {
    const resource = this.#resources.get(name) ?? newResource();
    this.#resources.set(name, resource);
    return resource;
  }
}
