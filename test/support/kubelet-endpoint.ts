// A plugin as a kubelet double has it: its connection, its one stream, and what the kubelet counts of the resource.

import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import type {
  Device,
  DevicePluginOptions,
  ListAndWatchResponse,
  RegisterRequest,
} from "../../src/kubelet/api/deviceplugin.ts";
import type { PluginInfo } from "../../src/kubelet/api/pluginregistration.ts";
import type { DevicePluginClient } from "./grpc.ts";

export interface Resource {
  devices: Map<string, Device>;
  endpoint: Endpoint | null;
  lists: number;
  repeatedLists: number;
  registrations: number;
  streams: number;
  options: DevicePluginOptions | null;
  announced: RegisterRequest | PluginInfo | null;
}

/** A registered plugin: its connection and its one stream. */
export interface Endpoint {
  readonly socket: string;
  readonly client: DevicePluginClient;
  stream: ClientReadableStream<ListAndWatchResponse> | null;
  closed: boolean;
}

export const newResource = (): Resource => ({
  devices: new Map(),
  endpoint: null,
  lists: 0,
  repeatedLists: 0,
  registrations: 0,
  streams: 0,
  options: null,
  announced: null,
});

/** PluginDisconnected (pkg/kubelet/cm/devicemanager/manager.go): no device is healthy, nothing can be allocated. */
export function markUnhealthy(resource: Resource): void {
  resource.endpoint = null;
  resource.devices = new Map([...resource.devices].map(([id, each]) => [id, { ...each, health: "Unhealthy" }]));
}

export function close(endpoint: Endpoint): void {
  endpoint.closed = true;
  endpoint.stream?.cancel();
  endpoint.stream = null;
  endpoint.client.close();
}

/** A call's limit; the generated types know it only together with metadata. */
export const within = (milliseconds: number): never => ({ deadline: Date.now() + milliseconds }) as never;

export function answerOf<Answer>(call: (done: (error: ServiceError | null, answer: Answer) => void) => unknown) {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  call((error, answer) => (error ? reject(error) : resolve(answer)));
  return promise;
}
