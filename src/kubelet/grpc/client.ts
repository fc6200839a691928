// Unary gRPC calls to the kubelet on a unix socket. Calls at the same time share a connection, which ends with the last of them.

import { Client, credentials, Metadata, type MethodDefinition, type ServiceError } from "@grpc/grpc-js";
import { identityOf } from "../../fs/identity.ts";
import { status, StatusError } from "./status-error.ts";

/** A call's limits. */
export interface CallOptions {
  /** How long it may take, in milliseconds; longer is DEADLINE_EXCEEDED. */
  readonly limit: number;
  /** Bytes of the answer; more is RESOURCE_EXHAUSTED. */
  readonly answerBytes: number;
  /** Ends the call: CANCELLED. */
  readonly abort?: AbortSignal;
}

const channelOptions = {
  "grpc.default_authority": "localhost",
  "grpc.enable_channelz": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  // A connection from before would be one to a kubelet that has gone.
  "grpc.use_local_subchannel_pool": 1,
} as const;

/**
 * Calls a method on a unix socket. Rejects with StatusError, whose message begins with the status ("14 UNAVAILABLE: …"): the
 * server's, or UNAVAILABLE without a connection, DEADLINE_EXCEEDED, CANCELLED, RESOURCE_EXHAUSTED or INTERNAL.
 */
export function call<Request, Answer>(
  socket: string,
  method: MethodDefinition<Request, Answer>,
  request: Request,
  { limit, answerBytes, abort }: CallOptions,
): Promise<Answer> {
  if (abort?.aborted)
    return Promise.reject(new StatusError(status.CANCELLED, `${status.CANCELLED} CANCELLED: given up before the call`));
  const { client, release } = sharedClient(socket, answerBytes);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const done = (error: ServiceError | null, answer?: Answer) => {
    if (error) reject(new StatusError(error.code, error.message));
    else resolve(answer as Answer);
  };
  const { path, requestSerialize, responseDeserialize } = method;
  const running = client.makeUnaryRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    new Metadata(),
    { deadline: Date.now() + limit },
    done,
  );
  const cancel = () => running.cancel();
  abort?.addEventListener("abort", cancel);
  return promise.finally(() => {
    abort?.removeEventListener("abort", cancel);
    release();
  });
}

const clients = new Map<string, { readonly client: Client; users: number }>();

/** A client of the process that listens now: another one's socket has another identity. */
function sharedClient(socket: string, answerBytes: number): { readonly client: Client; readonly release: () => void } {
  const key = `${socket} ${identityOf(socket)} ${answerBytes}`;
  const shared = clients.get(key) ?? {
    client: new Client(`unix:${socket}`, credentials.createInsecure(), {
      ...channelOptions,
      "grpc.max_receive_message_length": answerBytes,
    }),
    users: 0,
  };
  shared.users++;
  clients.set(key, shared);
  const release = () => {
    if (--shared.users > 0) return;
    clients.delete(key);
    shared.client.close();
  };
  return { client: shared.client, release };
}
