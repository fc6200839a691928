// Which gRPC services has a pool's socket? v1beta1.DevicePlugin, and where the kubelet watches the folder pluginregistration.Registration.

import { limits } from "../limits.ts";
import {
  type AllocateRequest,
  type AllocateResponse,
  type DevicePluginOptions,
  DevicePluginService,
  type ListAndWatchResponse,
  type PreferredAllocationRequest,
  type PreferredAllocationResponse,
} from "./api/deviceplugin.ts";
import { RegistrationService, type RegistrationStatus } from "./api/pluginregistration.ts";
import type { Connection } from "./grpc/connections.ts";
import { type AnswerStream, GrpcServer } from "./grpc/server.ts";
import type { RegistrationMode } from "./kubelet-paths.ts";

/** What answers the calls of a pool. */
export interface PoolCalls {
  /** The kubelet called GetInfo. */
  readonly info: () => { readonly resource: string; readonly endpoint: string };
  /** The kubelet reports whether it registered the pool, and why not. */
  readonly notified: (registration: RegistrationStatus) => void;
  readonly options: () => DevicePluginOptions;
  /** `isKubelets`: options were requested on the same connection, which the kubelet alone has a use for. */
  readonly listAndWatch: (stream: AnswerStream<ListAndWatchResponse>, isKubelets: boolean) => void;
  readonly allocate: (request: AllocateRequest) => AllocateResponse | Promise<AllocateResponse>;
  readonly prefer: (request: PreferredAllocationRequest) => PreferredAllocationResponse;
  /** A call of this method was refused by an error. */
  readonly refused: (method: string, error: unknown) => void;
}

/** A server of a pool's services, which does not listen yet. */
export function newPoolService(mode: RegistrationMode, calls: PoolCalls): GrpcServer {
  const server = new GrpcServer({
    requestBytes: limits.requestBytes.max,
    callsAtOnce: limits.callsAtOnce.max,
    connections: limits.connections.max,
    refused: calls.refused,
  });
  const kubelets = new WeakSet<Connection>();
  server.serve(DevicePluginService, {
    getDevicePluginOptions: (_, connection) => {
      kubelets.add(connection);
      return calls.options();
    },
    listAndWatch: (stream) => calls.listAndWatch(stream, kubelets.has(stream.connection)),
    allocate: calls.allocate,
    getPreferredAllocation: calls.prefer,
    preStartContainer: () => ({}),
  });
  if (mode === "legacy") return server;
  server.serve(RegistrationService, {
    getInfo: () => {
      const { resource, endpoint } = calls.info();
      // As the upstream plugin: the kubelet needs v1beta1 among them.
      return { type: "DevicePlugin", name: resource, endpoint, supportedVersions: ["v1alpha1", "v1beta1"] };
    },
    notifyRegistrationStatus: (registration) => {
      calls.notified(registration);
      return {};
    },
  });
  return server;
}
