// Which device-info files are on the node? Written at Allocate, pruned when nothing uses them any more.

import { readdirSync, rmSync } from "node:fs";
import { type DeviceInfoFile, deviceInfoId } from "../allocation/device-info.ts";
import { ensureFolder, writeAtomic } from "./atomic.ts";

/** Writes the files into a folder that is made when it is missing; readable by all, writable by none. */
export function writeDeviceInfo(folder: string, files: readonly DeviceInfoFile[]): void {
  if (files.length === 0) return;
  ensureFolder(folder);
  for (const { name, content } of files) writeAtomic(`${folder}/${name}`, content, 0o444);
}

/**
 * Removes the files of a resource's devices that `keep` does not name; gives the names of the removed.
 *
 * Files of other programs, and of resources that are not ours, stay.
 */
export function pruneDeviceInfo(folder: string, resource: string, keep: (id: string) => boolean): string[] {
  const removed: string[] = [];
  for (const name of namesIn(folder)) {
    const id = deviceInfoId(resource, name);
    if (id === null || keep(id)) continue;
    rmSync(`${folder}/${name}`, { force: true });
    removed.push(name);
  }
  return removed;
}

/** Names in a folder; none when it is missing. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
