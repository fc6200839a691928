// How do tests speak gRPC? By grpc-js: another implementation than the one under test, on both sides of it.

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
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { DevicePluginDefinition, RegistrationDefinition } from "../../src/kubelet/api/deviceplugin.ts";
import { RegistrationDefinition as WatcherDefinition } from "../../src/kubelet/api/pluginregistration.ts";
import { PodResourcesListerDefinition } from "../../src/kubelet/api/podresources.ts";
import { type AnswerOf, type Method, pathOf, type RequestOf, type Service } from "../../src/kubelet/grpc/service.ts";

/** Called with the answer, or with the error that the call ended with. */
type Done<Answer> = (error: ServiceError | null, answer: Answer) => void;

type Call<M extends Method> = M["responseStream"] extends true
  ? (request: RequestOf<M>, options?: Partial<CallOptions>) => ClientReadableStream<AnswerOf<M>>
  : {
      (request: RequestOf<M>, done: Done<AnswerOf<M>>): ClientUnaryCall;
      (request: RequestOf<M>, options: Partial<CallOptions>, done: Done<AnswerOf<M>>): ClientUnaryCall;
    };

/** A client with a function for each of a service's methods. */
export type ClientOf<S extends Service> = Client & { readonly [Name in keyof S["methods"]]: Call<S["methods"][Name]> };

/** A service as grpc-js takes it. */
export const definitionOf = (service: Service): ServiceDefinition =>
  Object.fromEntries(
    Object.entries(service.methods).map(([name, method]) => [
      name,
      {
        path: pathOf(service, method),
        requestStream: false,
        responseStream: method.responseStream,
        requestSerialize: (value: unknown) => Buffer.from(method.requestType.encode(value).finish()),
        requestDeserialize: (bytes: Buffer): unknown => method.requestType.decode(bytes),
        responseSerialize: (value: unknown) => Buffer.from(method.responseType.encode(value).finish()),
        responseDeserialize: (bytes: Buffer): unknown => method.responseType.decode(bytes),
      },
    ]),
  );

type ClientClass<S extends Service> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: ClientOptions,
) => ClientOf<S>;

const clientClass = <S extends Service>(service: S): ClientClass<S> =>
  makeGenericClientConstructor(definitionOf(service), service.fullName) as unknown as ClientClass<S>;

export const DevicePluginClient = clientClass(DevicePluginDefinition);
export type DevicePluginClient = ClientOf<typeof DevicePluginDefinition>;
export const RegistrationClient = clientClass(RegistrationDefinition);
export const WatcherClient = clientClass(WatcherDefinition);
export type WatcherClient = ClientOf<typeof WatcherDefinition>;
export const PodResourcesListerClient = clientClass(PodResourcesListerDefinition);
export type PodResourcesListerClient = ClientOf<typeof PodResourcesListerDefinition>;

/** Only a fresh connection tells whether the socket at a path is served by the plugin of now. */
export const channelOptions = {
  "grpc.default_authority": "localhost",
  "grpc.enable_retries": 0,
  "grpc.use_local_subchannel_pool": 1,
} as const;

/** A client with a connection of its own to a pool's socket. */
export const pluginClient = (socket: string): DevicePluginClient =>
  new DevicePluginClient(`unix:${socket}`, credentials.createInsecure(), channelOptions);

export const DevicePluginService = definitionOf(DevicePluginDefinition);
export const RegistrationService = definitionOf(RegistrationDefinition);
export const WatcherService = definitionOf(WatcherDefinition);
export const PodResourcesListerService = definitionOf(PodResourcesListerDefinition);
