// What is seen of a kubelet double from outside: its events, its resources, and what pods were given.

import { createHash } from "node:crypto";
import type {
  ContainerAllocateResponse,
  Device,
  DevicePluginOptions,
  RegisterRequest,
} from "../../src/kubelet/api/deviceplugin.ts";
import type { PluginInfo } from "../../src/kubelet/api/pluginregistration.ts";
import type { PodDevice } from "../../src/pools/decide-allocations.ts";

/** How plugins register with the kubelet. A kubelet with a plugins_registry also takes Register calls. */
export type RegistrationMode = "watcher" | "legacy";

/** Something that happened at the kubelet, in its order. */
export interface KubeletEvent {
  readonly what:
    | "Register"
    | "GetInfo"
    | "GetDevicePluginOptions"
    | "ListAndWatch"
    | "list"
    | "stream ended"
    | "NotifyRegistrationStatus"
    | "socket removed"
    | "registration failed"
    | "GetPreferredAllocation"
    | "Allocate"
    | "List";
  /** The resource, or the socket's file name where the resource is not known yet. */
  readonly of: string;
  readonly detail?: string;
  /** When it happened, in milliseconds of performance.now(). */
  readonly at: number;
}

/** A resource as the node's status shows it, and what the kubelet counted of it. */
export interface ResourceView {
  /** The devices of the last list, by id; all Unhealthy after the stream ended. */
  readonly devices: ReadonlyMap<string, Device>;
  readonly capacity: number;
  readonly allocatable: number;
  /** Whether its ListAndWatch stream is open. */
  readonly connected: boolean;
  /** Lists received, in all and those that said the same as the one before on the same stream. */
  readonly lists: number;
  readonly repeatedLists: number;
  /** Register calls and GetInfo answers, successful or not. */
  readonly registrations: number;
  /** ListAndWatch calls. */
  readonly streams: number;
  /** What GetDevicePluginOptions answered last. */
  readonly options: DevicePluginOptions | null;
  /** What the plugin said last about itself: its Register call, or its GetInfo answer. */
  readonly announced: RegisterRequest | PluginInfo | null;
}

/** What a container of a pod was given. */
export interface Allocation {
  readonly pod: string;
  readonly container: string;
  readonly resource: string;
  readonly ids: readonly string[];
  readonly answer: ContainerAllocateResponse;
}

/** The resource as which each device is allocated, by device id. */
export const heldBy = (devices: readonly PodDevice[]): Map<string, string> =>
  new Map(devices.map(({ id, resource }) => [id, resource]));

/** The UID of a pod, by its name. */
export function podUid(pod: string): string {
  const hex = createHash("sha256").update(pod).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
