// What do the readers read of this node? Captured as a tree that gives the same devices again, so that a bug
// report becomes a test. Serial numbers, MAC addresses and GUIDs are replaced, each always by the same.

import { busDevices, classPath } from "./node-paths.ts";
import { posix } from "node:path";
import { exists, listDirectory, readAttribute, readLink } from "../../native/files.ts";
import type { Link } from "../../native/netlink/route.ts";
import type { KernelFacts } from "./kernel.ts";
import { scanNode } from "./scan.ts";
import { tryRead, type ReadProblem } from "./read-problem.ts";
import { attribute, device, type Entry, folder, format, kernelFacts, link } from "./tree.ts";

/** The text of a captured node, and what could not be read of it. */
export interface Capture {
  readonly text: string;
  readonly problems: readonly ReadProblem[];
}

/** Captures the node below `root`: the functions that are scanned, their /dev nodes, what netlink reports. */
export async function captureNode(root: string): Promise<Capture> {
  const scan = await scanNode(root, { ddpProfiles: true, enableRdma: true, vhostNet: false }, null);
  const { functions, kernel, ddpProfiles } = scan;
  const problems = [...scan.problems];
  const unreadable = (listDirectory(busDevices(root, "pci")) ?? []).filter((name) =>
    problems.some(({ key }) => key.endsWith(name)),
  );
  const device = (bus: string) => (name: string) => captureDevice(root, `sys/bus/${bus}/devices/${name}`, problems);
  const blocks = [
    ...[...new Set([...functions.pci.keys(), ...unreadable])].map(device("pci")),
    ...functions.auxiliary.map(({ name }) => name).map(device("auxiliary")),
    ...kernel.vdpa.map(({ name }) => name).map(device("vdpa")),
    captureNodes(root),
    [kernelFacts(withoutOtherLinks(withProfiles(kernel, ddpProfiles)))],
  ];
  const text = blocks.filter((entries) => entries.length > 0).map(format);
  return { text: withoutIdentities(text.join("\n")), problems };
}

const portFiles = (port: number): string[] => ["link_layer", "pkeys/0", "state"].map((name) => `ports/${port}/${name}`);

/** Attributes of a device that are read. Never sriov_numvfs: it blocks while VFs are made. */
const attributes = /^(?:modalias|class|vendor|device|numa_node|acpi_index|sfnum)$/;
const links = /^(?:driver|physfn|virtfn\d+|iommu_group)$/;
/** Folders of a device by what is in them, and the attributes of each thing in them that are read. */
const folders: readonly { readonly name: RegExp; readonly of: readonly string[] }[] = [
  { name: /^net$/, of: ["name_assign_type", "dev_port"] },
  { name: /^uio$/, of: [] },
  { name: /^infiniband$/, of: ["sys_image_guid", ...[1, 2].flatMap(portFiles)] },
  { name: /^infiniband_(?:verbs|mad|cm)$/, of: ["ibdev"] },
  { name: /^vfio-dev$/, of: ["dev"] },
];
/** Folders of which only the presence counts. */
const marks = /^(?:virtio\d+|vhost-vdpa-\d+)$/;

function captureDevice(root: string, named: string, problems: ReadProblem[]): Entry[] {
  const target = readLink(`${root}/${named}`);
  const path = target === null ? named : posix.join(posix.dirname(named), target);
  const noted = (below: string): Entry[] => {
    const text = tryRead(problems, below, below, () => readAttribute(`${root}/${below}`));
    return text === null ? [] : [attribute(below, text)];
  };
  const linked = (below: string): Entry[] => {
    const to = readLink(`${root}/${below}`);
    if (to === null) return [];
    const group = below.endsWith("/iommu_group") ? noted(`${posix.join(path, to)}/name`) : [];
    return [link(below, to), ...group];
  };
  const listed = (below: string, of: readonly string[]): Entry[] => {
    const children = listDirectory(`${root}/${below}`) ?? [];
    const entries = children.flatMap((child) => {
      const inside = of.flatMap((name) => noted(`${below}/${child}/${name}`));
      return inside.length > 0 ? inside : [folder(`${below}/${child}`)];
    });
    return entries.length > 0 ? entries : [folder(below)];
  };
  const entries = (listDirectory(`${root}/${path}`) ?? []).flatMap((name) => {
    const below = `${path}/${name}`;
    if (attributes.test(name)) return noted(below);
    if (links.test(name)) return linked(below);
    if (marks.test(name)) return [folder(below)];
    const kind = folders.find((each) => each.name.test(name));
    return kind ? listed(below, kind.of) : [];
  });
  return target === null ? entries : [link(named, target), ...entries];
}

/** Device nodes that containers are given, and the classes that show them where /dev does not. */
const nodeFolders: readonly { readonly path: string; readonly names: RegExp }[] = [
  { path: "dev", names: /^(?:uio\d+|vhost-vdpa-\d+|vhost-net|iommu)$/ },
  { path: "dev/net", names: /^tun$/ },
  { path: "dev/vfio", names: /^(?!devices$)/ },
  { path: "dev/vfio/devices", names: /^/ },
  { path: "dev/infiniband", names: /^/ },
];
const classFolders: readonly { readonly path: string; readonly names: RegExp }[] = [
  { path: "sys/class/misc", names: /^(?:vhost-net|tun|iommu|rdma_cm)$/ },
  { path: "sys/class/vfio", names: /^/ },
  { path: "sys/class/uio", names: /^/ },
];

function captureNodes(root: string): Entry[] {
  const found = (places: typeof nodeFolders, entryOf: (path: string) => Entry) =>
    places.flatMap(({ path, names }) =>
      (listDirectory(`${root}/${path}`) ?? [])
        .filter((name) => names.test(name))
        .map((name) => entryOf(`${path}/${name}`)),
    );
  const cdevs = (listDirectory(classPath(root, "vfio-dev")) ?? [])
    .filter((name) => exists(classPath(root, `vfio-dev/${name}/dev`)))
    .map((name) => folder(`sys/class/vfio-dev/${name}/dev`));
  return [...found(nodeFolders, device), ...found(classFolders, folder), ...cdevs];
}

/** A recorded tree has no firmware: the profiles of 700 series NICs are recorded as if devlink had reported them. */
function withProfiles(kernel: KernelFacts, profiles: ReadonlyMap<string, string>): KernelFacts {
  const unreported = new Map(profiles);
  const devlink = kernel.devlink.map((facts) => {
    const profile = facts.bus === "pci" ? unreported.get(facts.device) : undefined;
    if (profile === undefined) return facts;
    unreported.delete(facts.device);
    return Object.assign({}, facts, { ddpProfile: facts.ddpProfile ?? profile });
  });
  const added = [...unreported].map(([device, ddpProfile]) => ({
    bus: "pci",
    device,
    eswitchMode: null,
    ddpProfile,
    enableRdma: null,
  }));
  return { ...kernel, devlink: [...devlink, ...added] };
}

/**
 * Leaves out links that do not concern a function, such as those of pods: kept are functions' own, what is stacked
 * upon these, the exits of default routes, and Open vSwitch's, which are tied to their ports by nothing.
 */
function withoutOtherLinks(kernel: KernelFacts): KernelFacts {
  const kept = new Set<number>();
  const byIndex = new Map(kernel.links.map((each) => [each.index, each]));
  const keep = (each: Link | undefined) => {
    if (!each || kept.has(each.index)) return;
    kept.add(each.index);
    if (each.master !== null) keep(byIndex.get(each.master));
    for (const upper of kernel.links) if (upper.lower === each.index) keep(upper);
  };
  for (const each of kernel.links) if (each.parentDevice !== null || each.kind === "openvswitch") keep(each);
  for (const exit of kernel.defaultRouteExits) keep(byIndex.get(exit));
  return { ...kernel, links: kernel.links.filter(({ index }) => kept.has(index)) };
}

/** How MAC addresses and GUIDs are written: with colons, in names that are made of them, as the id of a switch. */
const identities = [
  /\b[0-9a-f]{2}(?::[0-9a-f]{2}){5,}\b/gi,
  /\b[0-9a-f]{4}(?::[0-9a-f]{4}){3,}\b/gi,
  /(?<=[a-z]x)(?:[0-9a-f]{16}|[0-9a-f]{12})(?![0-9a-f])/gi,
  /(?<="(?:switchId|portId)": ")[0-9a-f]+/gi,
];

/** Replaces identities by their rank among all of them, so that the same ones stay the same, and in the same order. */
function withoutIdentities(text: string): string {
  const bare = (identity: string) => identity.replaceAll(":", "").toLowerCase();
  const found = new Set(
    identities.flatMap((pattern) => [...text.matchAll(pattern)].map(([identity]) => bare(identity))),
  );
  const ranks = new Map([...found].sort().map((identity, index) => [identity, index + 1]));
  return identities.reduce(
    (replaced, pattern) =>
      replaced.replaceAll(pattern, (identity) => {
        const digits = (ranks.get(bare(identity)) ?? 0).toString(16).padStart(bare(identity).length, "0");
        let next = 0;
        return identity.replaceAll(/[0-9a-f]/gi, () => digits[next++] ?? "0");
      }),
    text,
  );
}
