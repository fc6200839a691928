// What may the lab prepare before it runs a block of docs/? What the page takes for granted and no command of it makes.
import { interfaceNames } from "../../docs/lab.ts";
import { writeConfig } from "./plugin.ts";
import { addDevlink, addRdma, bind, createVfs, loadModules, netdevOf, pf0, pf1, renamePf, sh } from "./support.ts";
import { plug } from "./monitor.ts";

export const preparations: Readonly<Record<string, () => Promise<unknown>>> = {
  "four VFs": () => createVfs(pf0, 4),
  "four VFs for vfio-pci": async () => {
    for (const vf of await createVfs(pf0, 4)) await bind(vf, "vfio-pci");
  },
  "udev runs": () => sh("systemctl start systemd-udevd && udevadm trigger --settle --action=add --subsystem-match=net"),
  "no VFs": async () => {
    for (const pf of [pf0, pf1]) await createVfs(pf, 0);
  },
  "a config": async () =>
    writeConfig({ resourceName: "sriov_net_A", selectors: [{ pfNames: [`${interfaceNames.pf0}#0-3`] }] }),
  "RDMA on VF 0 and VF 1": async () => {
    for (const [index, vf] of (await createVfs(pf0, 4)).slice(0, 2).entries()) {
      const netdev = await netdevOf(vf);
      await sh(`ip link set ${netdev} up`);
      await addRdma(`mlx5_${index + 2}`, netdev);
    }
  },
  "vDPA simulator": () => loadModules("vhost_vdpa", "vdpa_sim_net"),
  "a virtio NIC": () => plug("virtio-net-pci", "virtio0", "port2"),
  "ens1f0 is down": () => sh(`ip link set ${interfaceNames.pf0} down`),
  "ens1f0 is up": () => renamePf(pf0, interfaceNames.pf0),
  "vhost-net": () => loadModules("vhost_net", "tun"),
  "an eswitch on ens1f0": () => addDevlink(pf0, 4),
};
