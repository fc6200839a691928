// The devices of the guest's kubelet: as its pod-resources socket and the checkpoint of its device manager have them.

import { credentials, type ServiceError } from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import type {
  AllocatableResourcesResponse,
  ContainerDevices,
  ListPodResourcesResponse,
} from "../../../src/kubelet/api/podresources.ts";
import { PodResourcesListerClient } from "../../support/grpc.ts";
import { devicePlugins, nodeName, podResourcesSocket, waitForKubelet } from "./kubelet-paths.ts";

type Answer<T> = (error: ServiceError | null, response: T) => void;

async function podResources<T>(call: (client: PodResourcesListerClient, answer: Answer<T>) => void): Promise<T> {
  const client = new PodResourcesListerClient(`unix:${podResourcesSocket}`, credentials.createInsecure(), {
    // The kubelet refuses the escaped socket path that would otherwise be the authority.
    "grpc.default_authority": "localhost",
  });
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  call(client, (error, response) => (error ? reject(error) : resolve(response)));
  return promise.finally(() => client.close());
}

export const listPodResources = (): Promise<ListPodResourcesResponse> =>
  podResources<ListPodResourcesResponse>((client, answer) => client.list({}, answer));

const getAllocatableResources = (): Promise<AllocatableResourcesResponse> =>
  podResources<AllocatableResourcesResponse>((client, answer) => client.getAllocatableResources({}, answer));

/** The healthy devices of each resource, whether in use or not: what status.allocatable of the Node counts */
export async function allocatableDevices(): Promise<Record<string, string[]>> {
  return byResource((await getAllocatableResources()).devices);
}

/** Waits until the healthy devices are these, resource by resource; one without any need not be named. */
export async function waitForAllocatable(expected: Readonly<Record<string, readonly string[]>>): Promise<void> {
  let last: Record<string, string[]> = {};
  const sorted = (lists: Readonly<Record<string, readonly string[]>>) =>
    Object.fromEntries(
      Object.entries(lists)
        .filter(([, ids]) => ids.length > 0)
        .map(([resource, ids]) => [resource, ids.toSorted()]),
    );
  const isReached = async () => Bun.deepEquals(sorted((last = await allocatableDevices())), sorted(expected));
  await waitForKubelet("the expected devices are allocatable", isReached, 90).catch((cause: unknown) => {
    throw new Error(`allocatable is ${JSON.stringify(last)}, not ${JSON.stringify(expected)}`, { cause });
  });
}

/** The devices that each container of a pod holds: { main: { "example.com/vf": ["0000:41:10.0"] } } */
export async function allocatedDevices(podName: string): Promise<Record<string, Record<string, string[]>>> {
  const { podResources } = await listPodResources();
  const found = podResources.find(({ name }) => name === `${podName}-${nodeName}`);
  return Object.fromEntries((found?.containers ?? []).map(({ name, devices }) => [name, byResource(devices)]));
}

function byResource(devices: readonly ContainerDevices[]): Record<string, string[]> {
  // One entry a device or one for many, as the kubelet likes.
  const groups = Map.groupBy(devices, ({ resourceName }) => resourceName);
  return Object.fromEntries(
    [...groups].map(([resource, entries]) => [
      resource,
      [...new Set(entries.flatMap(({ deviceIds }) => deviceIds))].sort(),
    ]),
  );
}

export interface Checkpoint {
  /** healthy devices of each registered resource */
  readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>;
  readonly PodDeviceEntries:
    | readonly {
        readonly PodUID: string;
        readonly ContainerName: string;
        readonly ResourceName: string;
        /** by NUMA node, -1 for none */
        readonly DeviceIDs: Readonly<Record<string, readonly string[]>>;
        /** ContainerAllocateResponse, base64 */
        readonly AllocResp: string;
      }[]
    | null;
}

export const checkpointFile = `${devicePlugins}/kubelet_internal_checkpoint`;

/** The device manager's checkpoint, which it writes on every change; there is none before the first registration. */
export const readCheckpoint = (): Checkpoint =>
  (JSON.parse(readFileSync(checkpointFile, "utf8")) as { Data: Checkpoint }).Data;
