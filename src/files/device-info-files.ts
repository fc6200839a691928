// Which device-info files are on the node? Written at Allocate, pruned when nothing uses them any more.

import type { DeviceInfoFile } from "../allocation/device-info.ts";
import { deviceInfoId, deviceInfoName } from "../pools/names.ts";
import { contentOf, ensureFolder, removeTemporaryFiles, removeFile, writeAtomic } from "../fs/atomic.ts";
import { namesIn } from "../fs/folder-names.ts";

/** Writes the files, readable by all and writable by none, into a folder that is created, or made accessible, when necessary. */
export function writeDeviceInfo(folder: string, files: readonly DeviceInfoFile[]): void {
  const write = () => {
    for (const { name, content } of files) {
      const path = `${folder}/${name}`;
      // A device that was allocated before mostly has the same content again.
      if (contentOf(path) !== content) writeAtomic(path, content, 0o444);
    }
  };
  try {
    write();
  } catch (error) {
    if (!["ENOENT", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    ensureFolder(folder);
    write();
  }
}

/**
 * Removes the files of a resource's devices that `keep` does not name; returns the names of the removed files.
 *
 * Files of other programs, and of resources that are not the plugin's, stay.
 */
export function pruneDeviceInfo(folder: string, resource: string, keep: (id: string) => boolean): string[] {
  const removed: string[] = [];
  removeTemporaryFiles(folder, (name) => deviceInfoId(resource, name) !== null);
  for (const name of namesIn(folder)) {
    const id = deviceInfoId(resource, name);
    if (id === null || keep(id)) continue;
    if (removeFile(`${folder}/${name}`)) removed.push(name);
  }
  return removed;
}

/** Removes the files of these devices, as far as they are there. */
export function removeDeviceInfo(
  folder: string,
  devices: readonly { readonly resource: string; readonly id: string }[],
): void {
  for (const { resource, id } of devices) removeFile(`${folder}/${deviceInfoName(resource, id)}`);
}
