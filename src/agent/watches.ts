// What shows that something may have changed? Kernel events, the config's and the kubelet's folders, and a resync in case an event was lost.

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { type Changed, FolderWatch } from "../fs/folder-watch.ts";
import { watchNode } from "../host/node-events.ts";
import type { KubeletPaths, RegistrationMode } from "../kubelet/kubelet-paths.ts";
import type { Log } from "../process/log.ts";
import type { ChangeQueue } from "./change-queue.ts";

/** What is watched. */
export interface Watched {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly configFile: string;
  readonly paths: KubeletPaths;
  /** Milliseconds between resyncs. */
  readonly resync: number;
}

/**
 * Watches until closed, and marks what changes. `socketsChanged` is called when a socket in one of the kubelet's folders may have come or
 * gone. Throws SystemError when the kernel's events can't be subscribed to.
 */
export function watchAll(
  { root, configFile, paths, resync }: Watched,
  changes: ChangeQueue,
  log: Log,
  socketsChanged: () => void,
): { close(): void } {
  const node = watchNode(root, {
    functions: () => changes.mark("functions"),
    links: () => changes.mark("links"),
    lost: (reason) => {
      log.debug("kernel events were lost; rescanning", { reason });
      changes.mark("functions");
    },
  });
  // Any name: a ConfigMap's file does not change itself, its folder's "..data" link does.
  const config = new FolderWatch(dirname(configFile), () => changes.mark("config"));
  // Hidden names are the plugin's own while it binds: their events would make failed attempts repeat without end.
  const folderChanged = (names: Changed) => {
    if ([...names].some((name) => name?.startsWith(".") !== true)) socketsChanged();
  };
  const registry = new FolderWatch(paths.registry, folderChanged);
  const devicePlugins = new FolderWatch(paths.devicePlugins, folderChanged);
  const folders = [config, registry, devicePlugins];
  const timer = setInterval(() => {
    for (const watch of folders) watch.rearm();
    socketsChanged();
    changes.mark("functions", true);
    changes.mark("config", true);
  }, resync);
  return {
    close() {
      clearInterval(timer);
      for (const watch of [node, ...folders]) watch.close();
    },
  };
}

/** How the kubelet discovers plugins, which as for the upstream plugin depends on whether it has plugins_registry; null without any of its folders. */
export const registrationMode = ({ registry, devicePlugins }: KubeletPaths): RegistrationMode | null =>
  existsSync(registry) ? "watcher" : existsSync(devicePlugins) ? "legacy" : null;

/** Waits until one of the kubelet's folders is there; null when the signal ends it before. */
export async function kubeletFolders(paths: KubeletPaths, signal: AbortSignal): Promise<RegistrationMode | null> {
  const { promise, resolve } = Promise.withResolvers<RegistrationMode | null>();
  const check = () => {
    const mode = registrationMode(paths);
    if (mode !== null || signal.aborted) resolve(mode);
  };
  const watch = new FolderWatch(paths.devicePlugins, check);
  const poll = setInterval(check, 1000);
  signal.addEventListener("abort", check);
  check();
  const mode = await promise;
  clearInterval(poll);
  watch.close();
  return mode;
}
