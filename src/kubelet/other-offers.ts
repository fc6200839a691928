// Which devices may the kubelet hand out for another plugin? In an update that renames pools, the old instance offers its devices under their old
// names until it ends.

import { isListening } from "../fs/socket-file.ts";
import { socketName } from "../pools/names.ts";
import { readRegisteredDevices } from "./allocations.ts";
import type { KubeletPaths } from "./kubelet-paths.ts";

/**
 * The devices that the kubelet has of resources which are not `ours` and whose plugin runs, by id: the resource. A plugin runs while a process listens
 * at its socket, which is named as the upstream plugin's; the checkpoint keeps the devices of plugins that have ended, since
 * the kubelet writes it after lists and allocations only (kubernetes pkg/kubelet/cm/devicemanager/manager.go, markResourceUnhealthy).
 */
export async function offeredElsewhere(
  paths: KubeletPaths,
  ours: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const others = [...(readRegisteredDevices(paths.checkpoint) ?? [])].filter(
    ([resource, ids]) => !ours.has(resource) && ids.size > 0,
  );
  const running = await Promise.all(others.map(([resource]) => isServed(paths, resource)));
  return new Map(
    others.filter((_, index) => running[index]).flatMap(([resource, ids]) => [...ids].map((id) => [id, resource])),
  );
}

/** The resources of these for which a device plugin listens at its socket, which is named as the upstream plugin's. */
export async function servedByDevicePlugin(paths: KubeletPaths, resources: readonly string[]): Promise<string[]> {
  const served = await Promise.all(resources.map((resource) => isServed(paths, resource)));
  return resources.filter((_, index) => served[index]);
}

async function isServed({ registry, devicePlugins }: KubeletPaths, resource: string): Promise<boolean> {
  const [prefix = "", name = "", ...rest] = resource.split("/");
  // Others' names may be anything.
  if (prefix === "" || name === "" || rest.length > 0) return false;
  const file = socketName({ prefix, name });
  const found = await Promise.all([registry, devicePlugins].map((folder) => isListening(`${folder}/${file}`)));
  return found.includes(true);
}
