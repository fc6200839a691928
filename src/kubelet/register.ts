// Registers a plugin with a kubelet that does not watch a folder for it: one call of v1beta1.Registration/Register.

import { type DevicePluginOptions, RegistrationService } from "./api/deviceplugin.ts";
import { call } from "./grpc/client.ts";

/** How long the kubelet may take to answer Register, in milliseconds. */
const limit = 5000;

/** The largest answer, which has no content, in bytes. */
const answerBytes = 1024;

/** Registers a resource whose socket has this file name; rejects with the kubelet's status, or after 5 s. */
export async function register(
  kubeletSocket: string,
  resourceName: string,
  endpoint: string,
  options: DevicePluginOptions,
  abort: AbortSignal,
): Promise<void> {
  const request = { version: "v1beta1", endpoint, resourceName, options };
  await call(kubeletSocket, RegistrationService.register, request, { limit, answerBytes, abort });
}
