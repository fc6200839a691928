// Which devices do pods hold? The kubelet knows: by its pod-resources socket where that is mounted, else by the
// checkpoint file beside its own socket, which every device plugin can read.

import { existsSync } from "node:fs";
import { limits } from "../limits.ts";
import { readText } from "../read-text.ts";
import { type ListPodResourcesResponse, PodResourcesListerService } from "./api/podresources.ts";
import { call } from "./grpc/client.ts";
import type { KubeletPaths } from "./paths.ts";

/** How long the kubelet may take to answer, in milliseconds. */
const limit = 3000;

/** A device that a container holds, whoever's resource it is: one that left the config may still be held. */
export interface Holding {
  readonly resource: string;
  readonly id: string;
  /** "namespace/name"; of a checkpoint only the pod's UID is known. */
  readonly pod: string;
  readonly container: string;
}

/** What containers hold now. Rejects when neither source can be read. */
export async function readHoldings(paths: KubeletPaths): Promise<Holding[]> {
  if (existsSync(paths.podResources)) {
    try {
      const asked = { limit, answerBytes: limits.checkpointBytes.most };
      return holdingsIn(await call(paths.podResources, PodResourcesListerService.list, {}, asked));
    } catch (error) {
      if (!existsSync(paths.checkpoint)) throw error;
    }
  }
  return readCheckpoint(paths.checkpoint);
}

/** The resource under which each device id is held. */
export const heldBy = (holdings: readonly Holding[]): Map<string, string> =>
  new Map(holdings.map(({ id, resource }) => [id, resource]));

/** The devices in an answer of pod-resources List (KEP-606). */
export const holdingsIn = ({ podResources }: ListPodResourcesResponse): Holding[] =>
  podResources.flatMap(({ namespace, name: pod, containers }) =>
    containers.flatMap(({ name: container, devices }) =>
      devices.flatMap(({ resourceName: resource, deviceIds }) =>
        deviceIds.map((id) => ({ resource, id, pod: `${namespace}/${pod}`, container })),
      ),
    ),
  );

/** Reads the kubelet's checkpoint; a missing one means that nothing is allocated. */
export function readCheckpoint(path: string): Holding[] {
  let text: string;
  try {
    text = readText(path, limits.checkpointBytes.most, "refuse");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return holdingsInCheckpoint(text);
}

/**
 * The devices in a checkpoint (kubernetes pkg/kubelet/cm/devicemanager/checkpoint): DeviceIDs is a map of lists by
 * NUMA node, in files of kubelets before 1.20 a plain list. Throws when the text is no checkpoint.
 */
export function holdingsInCheckpoint(text: string): Holding[] {
  const { Data: data } = (parsed(text) ?? {}) as { Data?: { PodDeviceEntries?: CheckpointEntry[] | null } };
  const entries = data?.PodDeviceEntries;
  if (entries !== null && !(Array.isArray(entries) && entries.every((entry) => entry !== null)))
    throw new Error("the kubelet's checkpoint has another form than is known");
  return (entries ?? []).flatMap(
    ({ ResourceName: resource, DeviceIDs: ids, PodUID: pod, ContainerName: container }) => {
      if (typeof resource !== "string") return [];
      const lists = Array.isArray(ids) ? [ids] : Object.values(ids ?? {});
      return lists
        .flat()
        .flatMap((id: unknown) =>
          typeof id === "string" ? [{ resource, id, pod: textOf(pod), container: textOf(container) }] : [],
        );
    },
  );
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
  readonly DeviceIDs?: readonly string[] | Readonly<Record<string, readonly string[]>> | null;
}
