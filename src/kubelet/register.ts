// How does the kubelet hear of a plugin that it does not watch for? One call of v1beta1.Registration/Register.

import { credentials } from "@grpc/grpc-js";
import { type DevicePluginOptions, RegistrationClient } from "./api/deviceplugin.ts";
import { identityOf } from "./socket-file.ts";

/** How long the kubelet may take to answer Register, in milliseconds. */
const limit = 5000;

/** Registers a resource whose socket has this file name; rejects with the kubelet's status, or after 5 s. */
export function register(
  kubeletSocket: string,
  resourceName: string,
  endpoint: string,
  options: DevicePluginOptions,
  abort: AbortSignal,
): Promise<void> {
  const { client, close } = sharedClient(kubeletSocket);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const call = client.register(
    { version: "v1beta1", endpoint, resourceName, options },
    { deadline: Date.now() + limit } as never,
    (error: Error | null) => (error ? reject(error) : resolve()),
  );
  const cancel = () => call.cancel();
  abort.addEventListener("abort", cancel);
  return promise.finally(() => {
    abort.removeEventListener("abort", cancel);
    close();
  });
}

const clients = new Map<string, { readonly client: RegistrationClient; users: number }>();

/** One connection for all pools that register at the same kubelet at the same time; it ends with the last of them. */
function sharedClient(kubeletSocket: string): { readonly client: RegistrationClient; readonly close: () => void } {
  const key = `${kubeletSocket} ${identityOf(kubeletSocket)}`;
  const shared = clients.get(key) ?? {
    client: new RegistrationClient(`unix:${kubeletSocket}`, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.enable_retries": 0,
    }),
    users: 0,
  };
  shared.users++;
  clients.set(key, shared);
  const close = () => {
    if (--shared.users > 0) return;
    clients.delete(key);
    shared.client.close();
  };
  return { client: shared.client, close };
}
