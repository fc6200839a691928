// Where does the kubelet keep its sockets? Below its root directory (--root-dir of the kubelet), but for those of its device manager.

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

/** The folder of the device manager; it does not follow --root-dir (k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1, DevicePluginPath). */
export const devicePluginsFolder = "/var/lib/kubelet/device-plugins";

/** The paths of a kubelet by its root directory and the folder of its device manager. */
export function kubeletPaths(root: string, devicePlugins = `${root}/device-plugins`): KubeletPaths {
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
