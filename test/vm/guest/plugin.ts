// The plugin in the guest: started on the live node with a config, beside the kubelet double.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { KubeletDouble } from "../../support/kubelet.ts";
import type { RegistrationMode } from "../../support/kubelet-view.ts";
import { executable, type Program, start } from "./support.ts";

export const kubeletRoot = "/var/lib/kubelet";
export const deviceInfoFolder = "/var/run/k8s.cni.cncf.io/devinfo/dp";
const configFile = "/etc/pcidp/config.json";

/** An entry of resourceList; the prefix is test.io unless it says another. */
export interface Entry {
  readonly resourceName: string;
  readonly [field: string]: unknown;
}

/** Writes the config that the plugin reads. */
export const writeConfig = (...resourceList: readonly Entry[]): void => writeConfigFile(configFile, ...resourceList);

/** Writes a config in one rename, as an editor does. */
export function writeConfigFile(file: string, ...resourceList: readonly Entry[]): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, JSON.stringify({ resourceList }));
  renameSync(`${file}.new`, file);
}

/** Starts the plugin; its log is kept among the results. */
export const startPlugin = (...args: readonly string[]): Program =>
  start("sriovdp", [executable, "--resource-prefix=test.io", "--log-level=10", ...args]);

/**
 * Starts the plugin beside the genuine kubelet. In legacy mode it sees of the kubelet's folders what it sees where only device-plugins is
 * mounted into the plugin's container: neither plugins_registry nor pod-resources.
 */
export function startPluginIn(mode: RegistrationMode, ...args: readonly string[]): Program {
  if (mode === "watcher") return startPlugin(...args);
  return startPlugin("--kubelet-root-dir=/run/no-kubelet", ...args);
}

export interface Node {
  readonly kubelet: KubeletDouble;
  plugin: Program;
  stop(): Promise<void>;
}

/** A kubelet double on an empty /var/lib/kubelet, which makes cgroups for its pods, and the plugin with this config. */
export async function startNode(mode: RegistrationMode, ...entries: readonly Entry[]): Promise<Node> {
  for (const folder of [kubeletRoot, deviceInfoFolder]) rmSync(folder, { recursive: true, force: true });
  writeConfig(...entries);
  const kubelet = new KubeletDouble(kubeletRoot, mode, "/sys/fs/cgroup");
  await kubelet.start();
  const node: Node = {
    kubelet,
    plugin: startPlugin(),
    stop: async () => {
      if (node.plugin.running()) await node.plugin.stop();
      kubelet.stop();
    },
  };
  return node;
}

/** The ids in a resource's list, in its order. */
export const idsOf = (kubelet: KubeletDouble, resource: string): string[] => [
  ...kubelet.resource(resource).devices.keys(),
];

/** The ids in a resource's list that are Unhealthy. */
export const unhealthyIn = (kubelet: KubeletDouble, resource: string): string[] =>
  [...kubelet.resource(resource).devices.values()].filter(({ health }) => health !== "Healthy").map(({ ID }) => ID);
