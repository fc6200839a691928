// What does the kubelet report about pods' devices? Its pod-resources socket names those of active pods, where it is mounted; the
// checkpoint file beside its own socket, which every device plugin can read, records what it allocated, also to pods that ended.

import { existsSync } from "node:fs";
import type { CachedAnswer } from "../allocation/cached-answer.ts";
import { limits } from "../limits.ts";
import { cdiAnnotationPrefix, idOfSliceDevice } from "../pools/names.ts";
import type { PodDevice } from "../pools/decide-allocations.ts";
import { readText } from "../fs/read-text.ts";
import { ContainerAllocateResponse } from "./api/deviceplugin.ts";
import { type ListPodResourcesResponse, PodResourcesListerService } from "./api/podresources.ts";
import { call } from "./grpc/client.ts";
import type { KubeletPaths } from "./kubelet-paths.ts";

/** How long the kubelet may take to answer, in milliseconds. */
const limit = 3000;

/**
 * The devices of active pods; null when pod-resources is not mounted. Rejects when the kubelet does not answer within `within`
 * milliseconds. Pods in their init containers, and all while the API server is away after a start, may be missing.
 */
export async function readPodResources(paths: KubeletPaths, within = limit): Promise<PodDevice[] | null> {
  if (!existsSync(paths.podResources)) return null;
  const options = { limit: within, answerBytes: limits.checkpointBytes.max };
  return podDevicesIn(await call(paths.podResources, PodResourcesListerService.list, {}, options));
}

/**
 * The devices in an answer of pod-resources List (KEP-606), and those of claims (KEP-3695) under the name of their driver: a pod that has a VF
 * of this node has it whichever driver prepared it.
 */
export const podDevicesIn = ({ podResources }: ListPodResourcesResponse): PodDevice[] =>
  podResources.flatMap(({ namespace, name, containers }) =>
    containers.flatMap(({ name: container, devices, dynamicResources }) => {
      const pod = `${namespace}/${name}`;
      const allocated = devices.flatMap(({ resourceName: resource, deviceIds }) =>
        deviceIds.map((id) => ({ resource, id, pod, container })),
      );
      const claimed = dynamicResources.flatMap(({ claimResources }) =>
        claimResources.flatMap(({ driverName: resource, deviceName }) => {
          const id = idOfSliceDevice(deviceName);
          return id === null ? [] : [{ resource, id, pod, container, isClaimed: true }];
        }),
      );
      return [...allocated, ...claimed];
    }),
  );

/** What the checkpoint records of one container and one resource. */
export interface CheckpointRecord {
  readonly resource: string;
  readonly ids: readonly string[];
  /** The pod's UID; a static pod's is the hash of its manifest. */
  readonly pod: string;
  readonly container: string;
  /** The cached answer to Allocate, a ContainerAllocateResponse in base64; "" when there is none. */
  readonly answer: string;
}

/**
 * Reads the kubelet's checkpoint; a missing one records nothing. Its pods may have ended: the kubelet drops them at the next
 * admission only (pkg/kubelet/cm/devicemanager/manager.go, UpdateAllocatedDevices). Throws when it can't be read.
 */
export function readCheckpoint(path: string): CheckpointRecord[] {
  let text: string;
  try {
    text = readText(path, limits.checkpointBytes.max, "refuse");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return recordsIn(text);
}

/** The devices that records name. */
export const devicesIn = (records: readonly CheckpointRecord[]): PodDevice[] =>
  records.flatMap(({ resource, ids, pod, container }) => ids.map((id) => ({ resource, id, pod, container })));

/**
 * The records in a checkpoint (kubernetes pkg/kubelet/cm/devicemanager/checkpoint): DeviceIDs is a map of lists by
 * NUMA node, in files of kubelets before 1.20 a plain list. Throws when the text is not a checkpoint.
 */
export function recordsIn(text: string): CheckpointRecord[] {
  const { Data: data } = (parsed(text) ?? {}) as { Data?: { PodDeviceEntries?: CheckpointEntry[] | null } };
  const entries = data?.PodDeviceEntries;
  if (entries !== null && !(Array.isArray(entries) && entries.every((entry) => entry !== null)))
    throw new Error("the kubelet's checkpoint has another form than is known");
  return (entries ?? []).flatMap((entry) => {
    const { ResourceName: resource, DeviceIDs: ids } = entry;
    if (typeof resource !== "string") return [];
    const lists = Array.isArray(ids) ? [ids] : Object.values(ids ?? {});
    return [
      {
        resource,
        ids: lists.flat().filter((id: unknown) => typeof id === "string"),
        pod: textOf(entry.PodUID),
        container: textOf(entry.ContainerName),
        answer: textOf(entry.AllocResp),
      },
    ];
  });
}

/**
 * The devices of each resource that the kubelet may hand out, as it has them: it writes its checkpoint after each list
 * (pkg/kubelet/cm/devicemanager/manager.go, genericDeviceUpdateCallback and writeCheckpoint). Null when that can't be read.
 */
export function readRegisteredDevices(path: string): ReadonlyMap<string, ReadonlySet<string>> | null {
  try {
    const data = parsed(readText(path, limits.checkpointBytes.max, "refuse")) as {
      Data?: { RegisteredDevices?: Readonly<Record<string, readonly string[] | null>> | null };
    } | null;
    const registered = data?.Data?.RegisteredDevices;
    return registered ? new Map(Object.entries(registered).map(([resource, ids]) => [resource, new Set(ids)])) : null;
  } catch {
    return null;
  }
}

/** The answer that the kubelet cached; null when there is none, or it can't be decoded. */
export function cachedAnswerIn({ resource, ids, pod, answer }: CheckpointRecord): CachedAnswer | null {
  if (answer === "") return null;
  try {
    const { devices, cdiDevices, annotations } = ContainerAllocateResponse.decode(Buffer.from(answer, "base64"));
    const namesCdiDevices =
      cdiDevices.length > 0 || Object.keys(annotations).some((key) => key.startsWith(cdiAnnotationPrefix));
    return { resource, ids, pod, nodes: devices.map(({ hostPath }) => hostPath), namesCdiDevices };
  } catch {
    return null;
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** Parsed JSON. The parser's own error would quote the text, in which there is what containers were given. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // oxlint-disable-next-line preserve-caught-error
    throw new Error("the kubelet's checkpoint is not JSON");
  }
}

interface CheckpointEntry {
  readonly ResourceName?: string;
  readonly PodUID?: unknown;
  readonly ContainerName?: unknown;
  readonly AllocResp?: unknown;
  readonly DeviceIDs?: readonly string[] | Readonly<Record<string, readonly string[]>> | null;
}
