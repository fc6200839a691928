// gRPC clients and services for tests, by grpc-js. The plugin speaks gRPC by it too: a client of another make is what sends the
// frames of http2-frames.ts, and the kubelet in the VM.

export {
  credentials,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
} from "@grpc/grpc-js";

import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  makeGenericClientConstructor,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { DevicePluginService, RegistrationService } from "../../src/kubelet/api/deviceplugin.ts";
import { DRAPluginService } from "../../src/kubelet/api/dra.ts";
import { DRAResourceHealthService } from "../../src/kubelet/api/drahealth.ts";
import { DRAResourceHealthService as EarlierHealthService } from "../../src/kubelet/api/drahealthv1alpha1.ts";
import { RegistrationService as WatcherService } from "../../src/kubelet/api/pluginregistration.ts";
import { PodResourcesListerService } from "../../src/kubelet/api/podresources.ts";

/** Called with the answer, or with the error that the call ended with. */
type Done<Answer> = (error: ServiceError | null, answer: Answer) => void;

// oxlint-disable-next-line typescript/no-explicit-any
type Method = MethodDefinition<any, any>;
type Service = Readonly<Record<string, Method>>;
type RequestOf<M extends Method> = Parameters<M["requestSerialize"]>[0];
type AnswerOf<M extends Method> = ReturnType<M["responseDeserialize"]>;

/** A method of a client: unlike the generated ones, it takes options without metadata, as grpc-js does. */
type Call<M extends Method> = M["responseStream"] extends true
  ? (request: RequestOf<M>, options?: Partial<CallOptions>) => ClientReadableStream<AnswerOf<M>>
  : {
      (request: RequestOf<M>, done: Done<AnswerOf<M>>): ClientUnaryCall;
      (request: RequestOf<M>, options: Partial<CallOptions>, done: Done<AnswerOf<M>>): ClientUnaryCall;
    };

/** A client with a function for each of a service's methods. */
export type ClientOf<S extends Service> = Client & { readonly [Name in keyof S]: Call<S[Name]> };

type ClientClass<S extends Service> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: ClientOptions,
) => ClientOf<S>;

const clientClass = <S extends Service>(service: S, name: string): ClientClass<S> =>
  makeGenericClientConstructor(service, name) as unknown as ClientClass<S>;

export const DevicePluginClient = clientClass(DevicePluginService, "v1beta1.DevicePlugin");
export type DevicePluginClient = ClientOf<typeof DevicePluginService>;
export const RegistrationClient = clientClass(RegistrationService, "v1beta1.Registration");
export const WatcherClient = clientClass(WatcherService, "pluginregistration.Registration");
export type WatcherClient = ClientOf<typeof WatcherService>;
export const PodResourcesListerClient = clientClass(PodResourcesListerService, "v1.PodResourcesLister");
export type PodResourcesListerClient = ClientOf<typeof PodResourcesListerService>;
export const DraClient = clientClass(DRAPluginService, "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin");
export type DraClient = ClientOf<typeof DRAPluginService>;
export const HealthClient = clientClass(DRAResourceHealthService, "v1.DRAResourceHealth");
export type HealthClient = ClientOf<typeof DRAResourceHealthService>;
export const EarlierHealthClient = clientClass(EarlierHealthService, "v1alpha1.DRAResourceHealth");

/** Only a fresh connection shows whether the socket at a path is served by the plugin of now. */
export const channelOptions = {
  "grpc.default_authority": "localhost",
  "grpc.enable_retries": 0,
  "grpc.use_local_subchannel_pool": 1,
} as const;

/** A client with a connection of its own to a pool's socket. */
export const pluginClient = (socket: string): DevicePluginClient =>
  new DevicePluginClient(`unix:${socket}`, credentials.createInsecure(), channelOptions);
