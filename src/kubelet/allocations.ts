// Which devices do pods hold? The kubelet knows: by its pod-resources socket where that is mounted, else by the
// checkpoint file beside its own socket, which every device plugin can read.

import { credentials } from "@grpc/grpc-js";
import { existsSync } from "node:fs";
import { limits } from "../limits.ts";
import { readText } from "../read-text.ts";
import { PodResourcesListerClient, type ListPodResourcesResponse } from "./api/podresources.ts";
import type { KubeletPaths } from "./paths.ts";

/** How long the kubelet may take to answer, in milliseconds. */
const limit = 3000;

/**
 * The resource under which each device id is allocated now, whoever's resource that is: a resource that left the
 * config may still be held. Rejects when neither source can be read.
 */
export async function readHeld(paths: KubeletPaths): Promise<Map<string, string>> {
  if (existsSync(paths.podResources)) {
    try {
      return heldIn(await listPodResources(paths.podResources));
    } catch (error) {
      if (!existsSync(paths.checkpoint)) throw error;
    }
  }
  return readCheckpoint(paths.checkpoint);
}

function listPodResources(socket: string): Promise<ListPodResourcesResponse> {
  const client = new PodResourcesListerClient(`unix:${socket}`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": limits.checkpointBytes.most,
  });
  const { promise, resolve, reject } = Promise.withResolvers<ListPodResourcesResponse>();
  client.list({}, { deadline: Date.now() + limit } as never, (error, response) =>
    error ? reject(error) : resolve(response),
  );
  return promise.finally(() => client.close());
}

/** The devices in an answer of pod-resources List (KEP-606). */
export function heldIn({ podResources }: ListPodResourcesResponse): Map<string, string> {
  const held = new Map<string, string>();
  for (const { containers } of podResources) {
    for (const { devices } of containers) {
      for (const { resourceName, deviceIds } of devices) {
        for (const id of deviceIds) held.set(id, resourceName);
      }
    }
  }
  return held;
}

/** Reads the kubelet's checkpoint; a missing one means that nothing is allocated. */
export function readCheckpoint(path: string): Map<string, string> {
  let text: string;
  try {
    text = readText(path, limits.checkpointBytes.most, "refuse");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw error;
  }
  return heldInCheckpoint(text);
}

/**
 * The devices in a checkpoint (kubernetes pkg/kubelet/cm/devicemanager/checkpoint): DeviceIDs is a map of lists by
 * NUMA node, in files of kubelets before 1.20 a plain list. Throws when the text is no checkpoint.
 */
export function heldInCheckpoint(text: string): Map<string, string> {
  const held = new Map<string, string>();
  const { Data: data } = (JSON.parse(text) ?? {}) as { Data?: { PodDeviceEntries?: CheckpointEntry[] | null } };
  const entries = data?.PodDeviceEntries;
  if (entries !== null && !(Array.isArray(entries) && entries.every((entry) => entry !== null)))
    throw new Error("the kubelet's checkpoint has another form than is known");
  for (const { ResourceName: resource, DeviceIDs: ids } of entries ?? []) {
    if (typeof resource !== "string") continue;
    const lists = Array.isArray(ids) ? [ids] : Object.values(ids ?? {});
    for (const id of lists.flat()) if (typeof id === "string") held.set(id, resource);
  }
  return held;
}

interface CheckpointEntry {
  readonly ResourceName?: string;
  readonly DeviceIDs?: readonly string[] | Readonly<Record<string, readonly string[]>> | null;
}
