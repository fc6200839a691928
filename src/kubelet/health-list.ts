// What does a health message say? The whole list of a driver's devices, in as many messages as its size takes. Pure.

import { limits } from "../limits.ts";
import { type DeviceHealth, HealthStatus } from "./api/drahealth.ts";

/** The health of a device, under the names of its ResourceSlice. */
export interface DeviceState {
  readonly pool: string;
  readonly device: string;
  /** Why the device is not healthy, as a sentence's end; null when it is. */
  readonly unhealthy: string | null;
}

/** How long a message may be, in characters (k8s.io/kubelet pkg/apis/dra-health/v1/api.proto); the kubelet cuts longer ones. */
const messageLength = 1024;

/** The message about a device. `timeout` is in seconds: without another message by then its health is unknown to the kubelet. */
const deviceHealth = ({ pool, device, unhealthy }: DeviceState, now: number, timeout: number): DeviceHealth => ({
  device: { poolName: pool, deviceName: device },
  health: unhealthy === null ? HealthStatus.HEALTHY : HealthStatus.UNHEALTHY,
  lastUpdatedTime: Math.floor(now / 1000),
  healthCheckTimeoutSeconds: timeout,
  message: (unhealthy ?? "").slice(0, messageLength).toWellFormed(),
});

/** The size of a device in a message in bytes, to within a few bytes. */
const bytesOf = ({ pool, device, unhealthy }: DeviceState): number =>
  Buffer.byteLength(pool) + device.length + Math.min(3 * messageLength, Buffer.byteLength(unhealthy ?? "")) + 32;

/**
 * The messages that have all devices, in their order; one without devices when there are none. A list that is too large for the
 * transport is cut: the kubelet takes the devices of a message as they are said, and forgets others only after their timeout (kubernetes
 * pkg/kubelet/cm/dra/healthinfo.go updateHealthInfo). `now` is in milliseconds since 1970.
 */
export function healthMessages(
  devices: readonly DeviceState[],
  now: number,
  timeout: number,
  most: number = limits.listBytes.max,
): { devices: DeviceHealth[] }[] {
  const messages: { devices: DeviceHealth[] }[] = [{ devices: [] }];
  let room = most;
  for (const each of devices) {
    const bytes = bytesOf(each);
    room -= bytes;
    if (room < 0 && messages.at(-1)?.devices.length !== 0) {
      messages.push({ devices: [] });
      room = most - bytes;
    }
    messages.at(-1)?.devices.push(deviceHealth(each, now, timeout));
  }
  return messages;
}

/** Whether two lists say the same. */
export const sameStates = (a: readonly DeviceState[], b: readonly DeviceState[]): boolean =>
  a.length === b.length &&
  a.every((state, index) => {
    const other = b[index];
    return state.pool === other?.pool && state.device === other.device && state.unhealthy === other.unhealthy;
  });
