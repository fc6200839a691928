// What is prepared before a block of docs/ runs in the cluster? What the page takes for granted and no command of it makes.

import { join } from "node:path";
import { kubectl, onNode } from "./cluster.ts";
import { createNetwork, deployments, namespace } from "./plugin.ts";

/** Binds the first two VFs of the first PF to a driver, gives their interfaces the names of the guest's others, if it has any. */
export const bindFirstVfs = (driver: "igbvf" | "vfio-pci"): Promise<string> =>
  onNode(`
    for vf in 0 1; do
      address=$(basename $(readlink /sys/class/net/pf0/device/virtfn$vf))
      device=/sys/bus/pci/devices/$address
      [ "$(basename $(readlink $device/driver))" = ${driver} ] && continue
      echo $address >$device/driver/unbind
      echo ${driver} >$device/driver_override
      echo $address >/sys/bus/pci/drivers_probe
      [ ${driver} = igbvf ] || continue
      until [ -n "$(ls $device/net 2>/dev/null)" ]; do sleep 0.1; done
      ip link set $(ls $device/net) name pf0v$vf
    done`);

/** Removes the base and the config. */
export async function removePlugin(): Promise<void> {
  const base = join(deployments, "base");
  await kubectl("delete", "--kustomize", base, "--ignore-not-found", "--cascade=foreground");
  await kubectl(namespace, "delete", "configmap", "sriovdp-config", "--ignore-not-found");
}

/** What a page takes for granted and no command of it makes: names for the directive `lab`. */
export const clusterPreparations: Readonly<Record<string, () => Promise<unknown>>> = {
  "four VFs": () => bindFirstVfs("igbvf"),
  networks: createNetwork,
  "no plugin": removePlugin,
};
