// What can happen to a node while the plugin runs? Changes of an unpacked tree, each with the event that the kernel would
// send: links and routes are in netlink.json, everything else is announced by touching the file "uevent".

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { Link, VfLinkState } from "../../native/netlink/route.ts";
import { changeFacts, lastInterface, linkName, nextNumbers, place, readFacts, unmake } from "./node-changes.ts";
import { linked, linkStates, pciFolder, usage, vfAddress } from "./node-entries.ts";
import type { LinkStatePlan, PfPlan, VfPlan } from "./node-plan.ts";
import { NodeBuilder } from "./node.ts";
import { device, unpack } from "./tree.ts";

export { changeFacts, readFacts } from "./node-changes.ts";

/** A uevent: the functions are not what they were. */
export function functionsChanged(root: string): void {
  writeFileSync(`${root}/uevent`, `${performance.now()}\n`);
}

/** Changes a link: its state, or any of its facts. */
export function setLink(root: string, name: string, change: LinkStatePlan | Partial<Link>): void {
  const changed = typeof change === "string" ? linkStates[change] : change;
  changeFacts(root, ({ links }) => {
    if (!links.some((link) => link.name === name)) throw new Error(`no interface is named ${name}`);
    return { links: links.map((link) => (link.name === name ? { ...link, ...changed } : link)) };
  });
}

/**
 * A PF's interface has another name and another index, as when its driver re-creates it. `assigned` is its name_assign_type: 1 for a name of
 * the kernel's, 4 for one of udev's, null where the kernel does not report it. A link event; functionsChanged() reports the rest.
 */
export function remakeInterface(root: string, pf: string, name: string, assigned: number | null): void {
  const before = readFacts(root).links.find(
    ({ parentDevice, portName }) => parentDevice === pf && !portName?.includes("vf"),
  );
  if (!before) throw new Error(`${pf} has no interface`);
  const net = `${root}/${pciFolder(pf)}/net`;
  renameSync(`${net}/${before.name}`, `${net}/${name}`);
  rmSync(`${net}/${name}/name_assign_type`, { force: true });
  if (assigned !== null) writeFileSync(`${net}/${name}/name_assign_type`, `${assigned}\n`);
  const { interface: index } = nextNumbers(root);
  lastInterface.set(root, index);
  changeFacts(root, ({ links }) => ({
    links: links.map((link) => (link.index === before.index ? { ...link, name, index } : link)),
  }));
}

/** The state of a PF's InfiniBand port, as sysfs spells it; null: it can't be read. No event reports it. */
export function setPortState(root: string, pf: string, state: string | null): void {
  const devices = `${root}/${pciFolder(pf)}/infiniband`;
  const path = `${devices}/${readdirSync(devices)[0]}/ports/1/state`;
  if (state === null) rmSync(path, { force: true });
  else writeFileSync(path, `${state}\n`);
}

/** `ip link set NAME master BOND`, or nomaster. */
export function setBond(root: string, names: readonly string[], bond: string | null): void {
  changeFacts(root, ({ links }) => {
    const master = links.find(({ name }) => name === bond)?.index ?? null;
    const slaveKind = master === null ? null : "bond";
    return { links: links.map((link) => (names.includes(link.name) ? { ...link, master, slaveKind } : link)) };
  });
}

/** `ip link set PF vf INDEX state STATE`. */
export function setVfLinkState(root: string, pf: string, index: number, state: VfLinkState): void {
  const before = readFacts(root).links.find(({ name }) => name === pf)?.vfLinkStates;
  setLink(root, pf, { vfLinkStates: { ...before, [index]: state } });
}

/** Default routes leave by these interfaces from now on: configured ones, and some that router advertisements made. */
export function setDefaultRoutes(root: string, names: readonly string[], advertised: readonly string[] = []): void {
  changeFacts(root, ({ links }) => {
    const indexes = (of: readonly string[]) => links.filter(({ name }) => of.includes(name)).map(({ index }) => index);
    return { defaultRouteExits: indexes([...names, ...advertised]), configuredRouteExits: indexes(names) };
  });
}

/** A function leaves the node: `echo 1 > remove`, a surprise removal, or a VF when sriov_numvfs falls. */
export function removeFunction(root: string, address: string): void {
  unmake(root, address);
  const physfn = linkName(`${root}/${pciFolder(address)}/physfn`);
  if (physfn !== null) {
    const pf = `${root}/${pciFolder(physfn)}`;
    for (const name of readdirSync(pf)) {
      if (name.startsWith("virtfn") && linkName(`${pf}/${name}`) === address) rmSync(`${pf}/${name}`);
    }
  }
  rmSync(`${root}/sys/bus/pci/devices/${address}`);
  rmSync(`${root}/${pciFolder(address)}`, { recursive: true });
  changeFacts(root, ({ devlink, vdpa }) => ({
    devlink: devlink.filter(({ device }) => device !== address),
    vdpa: vdpa.filter(({ managementDevice }) => managementDevice !== address),
  }));
  functionsChanged(root);
}

/** A function leaves the bus for a while, as at a hot reset; returns a function that brings it back. */
export function detach(root: string, address: string): () => void {
  const path = `${root}/sys/bus/pci/devices/${address}`;
  const target = readlinkSync(path);
  rmSync(path);
  functionsChanged(root);
  return () => {
    symlinkSync(target, path);
    functionsChanged(root);
  };
}

/** A PF gets one more VF; returns its address. */
export function addVf(root: string, pf: string, plan: Omit<VfPlan, "count"> = {}): string {
  const folder = `${root}/${pciFolder(pf)}`;
  const index = readdirSync(folder).filter((name) => name.startsWith("virtfn")).length;
  const alike = `${root}/${pciFolder(vfAddress(pf, 0))}`;
  const like = (name: string) => (existsSync(alike) ? readFileSync(`${alike}/${name}`, "utf8").trim() : null);
  const pfLink = readFacts(root).links.find(({ parentDevice }) => parentDevice === pf);
  const numaNode = Number(readFileSync(`${folder}/numa_node`, "utf8"));
  const builder = new NodeBuilder(nextNumbers(root));
  const address = builder.vf(
    { driver: linkName(`${alike}/driver`), ...plan, pf, index, pfName: pfLink?.name ?? null },
    {
      vendor: (like("vendor") ?? "0x8086").slice(2),
      product: (like("device") ?? "0x1889").slice(2),
      pciClass: (like("class") ?? "0x020000").slice(2),
      plan: { numaNode: numaNode < 0 ? null : numaNode, linkType: pfLink?.arphrd === 32 ? "infiniband" : "ether" },
    },
  );
  place(root, builder);
  functionsChanged(root);
  return address;
}

/** A NIC is plugged: a PF with all that the plan says is below it. Returns the PF's address. */
export function plugPf(root: string, plan: PfPlan & { readonly address: string }): string {
  const builder = new NodeBuilder(nextNumbers(root));
  builder.pf(plan, 0);
  place(root, builder);
  functionsChanged(root);
  return plan.address;
}

/** A NIC is unplugged: the PF leaves after its VFs and SFs. */
export function unplugPf(root: string, address: string): void {
  const pf = `${root}/${pciFolder(address)}`;
  for (const name of readdirSync(pf)) {
    const vf = name.startsWith("virtfn") ? linkName(`${pf}/${name}`) : null;
    if (vf !== null) removeFunction(root, vf);
    if (existsSync(`${root}/sys/bus/auxiliary/devices/${name}`)) removeSf(root, address, name);
  }
  removeFunction(root, address);
}

/** `devlink port add … flavour pcisf`, activated; returns the auxiliary device's name. */
export function addSf(root: string, pf: string, sfnum: number, { rdma = false } = {}): string {
  const builder = new NodeBuilder(nextNumbers(root));
  const id = `mlx5_core.sf.${builder.nextNumbers.aux}`;
  const name = readFacts(root).links.find(({ parentDevice }) => parentDevice === pf)?.name ?? null;
  builder.sf(pciFolder(pf), pf, { sfnum, rdma }, name, { nic: "bluefield2", name });
  place(root, builder);
  functionsChanged(root);
  return id;
}

/** `devlink port del`. */
export function removeSf(root: string, pf: string, id: string): void {
  const self = `${pciFolder(pf)}/${id}`;
  unmake(root, id, self);
  rmSync(`${root}/sys/bus/auxiliary/devices/${id}`);
  rmSync(`${root}/${self}`, { recursive: true });
  functionsChanged(root);
}

/** `vdpa dev add … mgmtdev pci/ADDRESS`; returns the vDPA device's name. */
export function addVdpa(root: string, address: string, type: "vhost" | "virtio"): string {
  const builder = new NodeBuilder(nextNumbers(root));
  const name = `vdpa${builder.nextNumbers.vdpa}`;
  builder.vdpaDevice(pciFolder(address), address, type);
  place(root, builder);
  functionsChanged(root);
  return name;
}

/** `vdpa dev del`. */
export function removeVdpa(root: string, address: string, name: string): void {
  rmSync(`${root}/dev/vhost-${name.replace("vdpa", "vdpa-")}`, { force: true });
  rmSync(`${root}/sys/bus/vdpa/devices/${name}`);
  rmSync(`${root}/${pciFolder(address)}/${name}`, { recursive: true });
  changeFacts(root, ({ vdpa }) => ({ vdpa: vdpa.filter((each) => each.name !== name) }));
  functionsChanged(root);
}

/** The function's RDMA driver is loaded. */
export function addRdma(root: string, address: string): void {
  const builder = new NodeBuilder(nextNumbers(root));
  builder.rdma(pciFolder(address));
  place(root, builder);
  functionsChanged(root);
}

/** The function's VFIO group has another number, as after its VFs were re-created; no event reports it. */
export function renumberGroup(root: string, address: string, group: string): void {
  const self = pciFolder(address);
  const before = linkName(`${root}/${self}/iommu_group`) ?? "";
  rmSync(`${root}/${self}/iommu_group`);
  rmSync(`${root}/dev/vfio/${before}`);
  unpack([...linked(`${self}/iommu_group`, `sys/kernel/iommu_groups/${group}`), device(`dev/vfio/${group}`)], root);
}

/** The function's RDMA driver is unloaded. */
export function removeRdma(root: string, address: string): void {
  for (const subsystem of ["infiniband", "infiniband_mad", "infiniband_verbs"]) {
    rmSync(`${root}/${pciFolder(address)}/${subsystem}`, { recursive: true, force: true });
  }
  functionsChanged(root);
}

/** Another driver is bound, or none; netdev, RDMA devices and nodes of the old one go. */
export function rebind(root: string, address: string, driver: string | null): void {
  unmake(root, address);
  const self = pciFolder(address);
  if (driver !== null) {
    const builder = new NodeBuilder(nextNumbers(root));
    const group = linkName(`${root}/${self}/iommu_group`) ?? "";
    builder.bind(self, driver, group, false);
    if (usage(driver) === "netdev") {
      const name = `eth${builder.nextNumbers.interface}`;
      builder.interface(self, name, { state: "disabled", linkType: "ether", parent: ["pci", address] });
    }
    place(root, builder);
  }
  functionsChanged(root);
}

/**
 * A pod gets the device: its netdev leaves for the pod's network namespace, and with `rdma` its RDMA devices do too
 * (`rdma system set netns exclusive`). The folders stay, and are empty; RDMA's character devices are seen all the same.
 * Returns a function that brings all back.
 */
export function moveNetdevAway(root: string, address: string, { rdma = false } = {}): () => void {
  const self = `${root}/${pciFolder(address)}`;
  const subsystems = ["net", ...(rdma ? ["infiniband"] : [])];
  const away = `${root}/away/${address}`;
  for (const subsystem of subsystems.filter((name) => existsSync(`${self}/${name}`))) {
    mkdirSync(away, { recursive: true });
    renameSync(`${self}/${subsystem}`, `${away}/${subsystem}`);
    mkdirSync(`${self}/${subsystem}`);
  }
  const gone = readFacts(root).links.filter(({ parentDevice }) => parentDevice === address);
  changeFacts(root, ({ links }) => ({ links: links.filter(({ parentDevice }) => parentDevice !== address) }));
  functionsChanged(root);
  return () => {
    for (const subsystem of readdirSync(away)) {
      rmSync(`${self}/${subsystem}`, { recursive: true });
      renameSync(`${away}/${subsystem}`, `${self}/${subsystem}`);
    }
    changeFacts(root, ({ links }) => ({ links: [...links, ...gone] }));
    functionsChanged(root);
  };
}
