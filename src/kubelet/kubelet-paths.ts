// Where does the kubelet keep its sockets? All below its root directory (--root-dir of the kubelet).

import { limits } from "../limits.ts";

/** How the kubelet discovers a plugin: it watches plugins_registry, or is called at device-plugins/kubelet.sock. */
export type RegistrationMode = "watcher" | "legacy";

/** The kubelet's directories and sockets, as absolute paths. */
export interface KubeletPaths {
  readonly root: string;
  readonly registry: string;
  readonly devicePlugins: string;
  readonly kubeletSocket: string;
  readonly checkpoint: string;
  readonly podResources: string;
}

export function kubeletPaths(root: string): KubeletPaths {
  const devicePlugins = `${root}/device-plugins`;
  return {
    root,
    registry: `${root}/plugins_registry`,
    devicePlugins,
    kubeletSocket: `${devicePlugins}/kubelet.sock`,
    checkpoint: `${devicePlugins}/kubelet_internal_checkpoint`,
    podResources: `${root}/pod-resources/kubelet.sock`,
  };
}

/** The folder of a pool's socket. */
export const socketFolder = (paths: KubeletPaths, mode: RegistrationMode): string =>
  mode === "watcher" ? paths.registry : paths.devicePlugins;

/** How many bytes a pool's socket may have for its name, in whichever folder: plugins_registry has the longer path. */
export const socketNameLimit = ({ registry }: Pick<KubeletPaths, "registry">): number =>
  limits.socketPath.max - Buffer.byteLength(`${registry}/`);
