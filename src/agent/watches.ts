// What tells that something may have changed? Kernel events, the config's and the kubelet's folders, and a resync in case one of them was lost.

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { type Changed, FolderWatch } from "../fs/folder-watch.ts";
import { watchNode } from "../host/events.ts";
import type { KubeletPaths, RegistrationMode } from "../kubelet/paths.ts";

/** What is watched. */
export interface Watched {
  /** What stands before every path of the node. */
  readonly root: string;
  readonly configFile: string;
  readonly paths: KubeletPaths;
  /** Milliseconds between resyncs. */
  readonly resync: number;
}

/** Who hears of changes. */
export interface WatchListener {
  readonly functions: () => void;
  readonly links: () => void;
  readonly config: () => void;
  /** A socket in one of the kubelet's folders came or went. */
  readonly sockets: () => void;
  /** Kernel events were lost. */
  readonly lost: (reason: string) => void;
  /** It is time for a full rescan. */
  readonly resync: () => void;
}

/** Watches until closed. Throws SystemError when the kernel's events can't be subscribed to. */
export function watchAll({ root, configFile, paths, resync }: Watched, on: WatchListener): { close(): void } {
  const node = watchNode(root, on);
  // Any name: a ConfigMap's file does not change itself, its folder's "..data" link does.
  const config = new FolderWatch(dirname(configFile), on.config);
  // Hidden names are ours while we bind: what fails would be tried again by its own traces, without end.
  const changed = (names: Changed) => {
    if ([...names].some((name) => name?.startsWith(".") !== true)) on.sockets();
  };
  const registry = new FolderWatch(paths.registry, changed);
  const devicePlugins = new FolderWatch(paths.devicePlugins, changed);
  const folders = [config, registry, devicePlugins];
  const timer = setInterval(() => {
    for (const watch of folders) watch.rearm();
    on.sockets();
    on.resync();
  }, resync);
  return {
    close() {
      clearInterval(timer);
      for (const watch of [node, ...folders]) watch.close();
    },
  };
}

/** How the kubelet hears of plugins, as for the upstream plugin by whether it has plugins_registry; null without any of its folders. */
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
