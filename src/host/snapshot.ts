// What does the node have now? One pass over the node gives all devices with all their facts.

import { busDevice } from "./node-paths.ts";
import { readAuxiliaryDevices, type AuxiliaryDevice } from "./auxiliary.ts";
import { listDirectory } from "../../native/files.ts";
import { hostRoutes } from "./default-route.ts";
import type { Device, PciAddress } from "./device.ts";
import type { KernelFacts } from "./kernel.ts";
import type { Link } from "../../native/netlink/route.ts";
import { LinksByDevice, linkStateOf, linkTypeOf, pfLinksOf } from "./network.ts";
import { type PciFunction, readPciFunctions } from "./pci.ts";
import { type InfinibandStates, type Interfaces, Ports } from "./ports.ts";
import { type RdmaPort, readInfinibandPorts, readPKey, readRdmaNames } from "./rdma-devices.ts";
import { tryRead, type ReadProblem } from "./read-problem.ts";
import { type Folder, readUio, readVdpa, readVfio } from "./userspace.ts";

/** The functions of the node: what sysfs has, without the kernel's link state. */
export interface Functions {
  readonly pci: ReadonlyMap<PciAddress, PciFunction>;
  readonly auxiliary: readonly AuxiliaryDevice[];
  /** Facts of each device that come from sysfs and its /dev, by device id. */
  readonly own: ReadonlyMap<string, OwnFacts>;
  readonly problems: readonly ReadProblem[];
}

interface OwnFacts {
  readonly rdmaNames: readonly string[];
  /** True when there is a folder for RDMA devices and it shows none: they are in another network namespace. */
  readonly rdmaAway: boolean;
  /** Of a function that is no VF. */
  readonly infinibandPorts: readonly RdmaPort[];
  readonly vfio: Device["vfio"];
  readonly uio: Device["uio"];
  /** Reads the P_Key of the first RDMA device, once; only InfiniBand links have use for it. */
  readonly pKey: () => string | null;
}

/** Reads all functions below `root`; `reached` is called with what is read next. Throws when PCI functions can't be listed. */
export function readFunctions(root: string, reached: (what: string) => void): Functions {
  const problems: ReadProblem[] = [];
  const pci = new Map<PciAddress, PciFunction>();
  const own = new Map<string, OwnFacts>();
  for (const found of readPciFunctions(root, problems, reached)) {
    const facts = tryRead(problems, found.address, `PCI function ${found.address}`, () =>
      readOwn(root, found, found.driver, found.physfn === null),
    );
    if (facts) {
      pci.set(found.address, found);
      own.set(found.address, facts);
    }
  }
  reached("auxiliary devices");
  const auxiliary = readAuxiliaryDevices(root, problems).filter(({ parent }) => pci.has(parent));
  const readable = auxiliary.filter((device) => {
    reached(`auxiliary device ${device.name}`);
    const facts = tryRead(problems, device.name, `auxiliary device ${device.name}`, () =>
      readOwn(root, device, null, false),
    );
    if (facts) own.set(device.name, facts);
    return facts !== null;
  });
  return { pci, auxiliary: readable, own, problems };
}

const noPKey = (): null => null;

function readOwn(root: string, folder: Folder, driver: string | null, hasOwnPorts: boolean): OwnFacts {
  const rdmaNames = readRdmaNames(folder);
  const [firstRdma] = rdmaNames;
  let pKey: string | null | undefined;
  return {
    rdmaNames,
    rdmaAway: folder.entries.has("infiniband") && rdmaNames.length === 0,
    infinibandPorts: hasOwnPorts ? readInfinibandPorts(folder, rdmaNames) : [],
    vfio: readVfio(root, folder, driver),
    uio: readUio(root, folder),
    pKey: firstRdma === undefined ? noPKey : () => (pKey ??= readPKey(folder, firstRdma)),
  };
}

/** Joins what sysfs and netlink reported into devices, PCI functions first, each kind sorted. */
export function devicesOf(
  root: string,
  functions: Functions,
  kernel: KernelFacts,
  ddpProfiles: ReadonlyMap<PciAddress, string>,
  { interfaces, infiniband }: { readonly interfaces: Interfaces; readonly infiniband: InfinibandStates },
  problems: ReadProblem[],
): Device[] {
  const links = new LinksByDevice(kernel.links);
  const ports = new Ports({ functions, kernel, links, interfaces, infiniband });
  const devlink = new Map(kernel.devlink.map((facts) => [`${facts.bus}/${facts.device}`, facts]));
  const vdpa = new Map<string, string>();
  for (const { name, managementBus, managementDevice } of kernel.vdpa) {
    const key = `${managementBus}/${managementDevice}`;
    if (managementBus !== null && managementDevice !== null && !vdpa.has(key)) vdpa.set(key, name);
  }
  const routes = hostRoutes(kernel, [
    ...[...functions.pci.values()].map((pci) => ({
      id: pci.address,
      links: [...links.of("pci", pci.address, pci.entries), ...vdpaLinks(root, links, vdpa.get(`pci/${pci.address}`))],
      pf: pci.physfn,
    })),
    ...functions.auxiliary.map(({ name, entries, parent }) => ({
      id: name,
      links: [...links.of("auxiliary", name, entries), ...vdpaLinks(root, links, vdpa.get(`auxiliary/${name}`))],
      pf: parent,
    })),
  ]);
  const hostOf = (id: string, vfs: number): Device["host"] => {
    const route = routes.get(id);
    const defaultRoute = route?.interfaceName ?? null;
    return route?.isAdvertised === true ? { defaultRoute, isRouteAdvertised: true, vfs } : { defaultRoute, vfs };
  };
  const vfIndexes = new Map<PciAddress, number>();
  for (const { virtfns } of functions.pci.values()) {
    for (const [index, address] of virtfns) vfIndexes.set(address, index);
  }
  const facts = (bus: "pci" | "auxiliary", id: string, folder: Folder, pf: PciAddress | null) => {
    const own = functions.own.get(id);
    const ownLinks = links.of(bus, id, folder.entries);
    const parent = pf === null ? null : ports.parent(pf);
    const above = pf === null ? null : (ports.linksOf(pf).named[0] ?? null);
    const link =
      (pf === null ? pfLinksOf(ownLinks, devlink.get(`${bus}/${id}`)?.eswitchMode ?? null).named : ownLinks)[0] ?? null;
    const typed = link ?? above;
    // Without IPoIB there is no interface; the RDMA device has the type of the link, too.
    const isInfiniband = (functions.own.get(pf ?? id)?.infinibandPorts.length ?? 0) > 0;
    const linkType = typed ? linkTypeOf(typed) : isInfiniband ? "infiniband" : null;
    const rdmaNames = own?.rdmaNames ?? [];
    const capable = rdmaNames.length > 0 || own?.rdmaAway === true || devlink.get(`${bus}/${id}`)?.enableRdma === true;
    const vdpaName = vdpa.get(`${bus}/${id}`);
    return {
      above,
      common: {
        interfaces: ownLinks.map(({ name }) => name),
        linkType,
        link: link && linkStateOf(link),
        ports: bus === "pci" && pf === null ? ports.of(id as PciAddress) : [],
        pfPorts: bus === "pci" && pf !== null ? ports.identities(ownLinks) : [],
        pKey:
          linkType === "infiniband"
            ? tryRead(problems, `${id} P_Key`, `the P_Key of ${id}`, () => own?.pKey() ?? null)
            : null,
        rdma: capable ? { names: rdmaNames } : null,
        vdpa:
          vdpaName === undefined
            ? null
            : tryRead(problems, `vdpa ${vdpaName}`, `vDPA device ${vdpaName}`, () => readVdpa(root, vdpaName)),
        vfio: own?.vfio ?? null,
        uio: own?.uio ?? null,
        pf: parent,
      },
    };
  };

  const pciDevices = [...functions.pci.values()].map((pci): Device => {
    const { above, common } = facts("pci", pci.address, pci, pci.physfn);
    const vfIndex = vfIndexes.get(pci.address) ?? null;
    const info = devlink.get(`pci/${pci.address}`)?.ddpProfile ?? null;
    const pfInfo = pci.physfn === null ? null : (devlink.get(`pci/${pci.physfn}`)?.ddpProfile ?? null);
    return {
      id: pci.address,
      instance: pci.instance,
      bus: "pci",
      pci: pci.address,
      pciClass: pci.pciClass,
      vendor: pci.vendor,
      product: pci.product,
      driver: pci.driver,
      numaNode: pci.numaNode,
      pcieRoot: pci.pcieRoot,
      functionIndex: vfIndex,
      // In switchdev mode the representor decides; mlx5 then reports "disable" for every VF (kernel commit 3b83b6c2e024).
      vfLinkState: (vfIndex !== null && common.pf?.isSwitchdev === false && above?.vfLinkStates[vfIndex]) || null,
      auxType: null,
      acpiIndex: pci.acpiIndex,
      ddpProfile: info ?? pfInfo ?? ddpProfiles.get(pci.physfn ?? pci.address) ?? null,
      ...common,
      host: hostOf(pci.address, pci.virtfns.size),
    };
  });
  const auxiliaryDevices = functions.auxiliary.flatMap((aux): Device[] => {
    const parent = functions.pci.get(aux.parent);
    if (!parent) return [];
    const { common } = facts("auxiliary", aux.name, aux, aux.parent);
    return [
      {
        id: aux.name,
        instance: aux.instance,
        bus: "auxiliary",
        pci: aux.parent,
        pciClass: parent.pciClass,
        vendor: parent.vendor,
        product: parent.product,
        driver: parent.driver,
        numaNode: parent.numaNode,
        pcieRoot: parent.pcieRoot,
        functionIndex: aux.sfnum,
        vfLinkState: null,
        auxType: aux.type,
        acpiIndex: null,
        ddpProfile: null,
        ...common,
        host: hostOf(aux.name, 0),
      },
    ];
  });
  return [...pciDevices, ...auxiliaryDevices];
}

/**
 * The interfaces of a vDPA device that is bound to virtio_vdpa: they belong to a virtio device below it (drivers/virtio/virtio_vdpa.c). None where
 * it can't be read, which readVdpa reports.
 */
function vdpaLinks(root: string, links: LinksByDevice, name: string | undefined): readonly Link[] {
  if (name === undefined) return [];
  const below = tryRead([], name, name, () => listDirectory(busDevice(root, "vdpa", name))) ?? [];
  return below.flatMap((entry) => (/^virtio\d+$/.test(entry) ? links.of("virtio", entry, new Set()) : []));
}
