// Where the guest's kubelet has its files, and how it is waited for.

import { waitFor } from "./support.ts";

export const kubeletRoot = "/var/lib/kubelet";
export const devicePlugins = `${kubeletRoot}/device-plugins`;
export const pluginsRegistry = `${kubeletRoot}/plugins_registry`;
export const podResourcesSocket = `${kubeletRoot}/pod-resources/kubelet.sock`;
export const kubeletSocket = `${devicePlugins}/kubelet.sock`;
export const manifests = "/etc/kubernetes/manifests";
export const nodeName = "lab";

/** waitFor, at a pace that leaves the emulated processors to the kubelet that is queried */
export const waitForKubelet: typeof waitFor = (what, condition, seconds) =>
  waitFor(
    what,
    async () => {
      await Bun.sleep(200);
      return condition();
    },
    seconds,
  );
