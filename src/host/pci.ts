// Which PCI functions does the node have, and what are they? Reads sysfs only; network controllers and processing
// accelerators are read, everything else is skipped (Documentation/ABI/testing/sysfs-bus-pci).

import { busDevices, busFolder, sysfs } from "./node-paths.ts";
import { exists, listDirectory, listInodes, readAttribute, readLink, readLinkName } from "../../native/files.ts";
import type { PciAddress } from "./device.ts";
import { tryRead, type ReadProblem } from "./read-problem.ts";

/** A PCI function as sysfs shows it. */
export interface PciFunction {
  readonly address: PciAddress;
  /** Changes when the function was removed and added again, even at the same address. */
  readonly instance: string;
  /** Its folder, below the root that was given. */
  readonly folder: string;
  /** The names in its folder: they show what it has without further system calls. */
  readonly entries: ReadonlySet<string>;
  readonly pciClass: number;
  readonly vendor: string;
  readonly product: string;
  readonly driver: string | null;
  readonly numaNode: number | null;
  /** The PCIe root below which it hangs, as "pci0000:40". */
  readonly pcieRoot: string | null;
  readonly acpiIndex: string | null;
  /** The PF of a VF. */
  readonly physfn: PciAddress | null;
  /** Of a PF: the addresses of its VFs by index; gaps can occur. */
  readonly virtfns: ReadonlyMap<number, PciAddress>;
}

/** Base classes that a pool can be made of: network controller, processing accelerator. */
const classes: ReadonlySet<number> = new Set([0x02, 0x12]);

const addressPattern = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** Whether a text is a PCI address as sysfs spells it, of any domain width. */
export const isPciAddress = (text: string): text is PciAddress => addressPattern.test(text);

/**
 * Reads the PCI functions of the node below `root`, sorted by address; what can't be read goes to `problems`. Throws when the bus itself
 * can't be listed: that is not a node without functions. A kernel without PCI has no such bus.
 *
 * PFs mostly come before their VFs and name them, which saves reading each VF's physfn, and its root: a VF is
 * where its PF does (drivers/pci/iov.c pci_iov_add_virtfn).
 */
export function* readPciFunctions(
  root: string,
  problems: ReadProblem[],
  reached: (what: string) => void,
): Generator<PciFunction> {
  const parents = new Map<string, PciFunction>();
  const shared = new Shared();
  const devices = busDevices(root, "pci");
  const inodes = listInodes(devices);
  const isKernelWithoutPci = () => exists(`${sysfs(root)}/bus`) && !exists(busFolder(root, "pci"));
  // Below another root than the node's own there may be no sysfs at all.
  const isWithoutSysfs = () => root !== "" && !exists(sysfs(root));
  if (inodes === null && !isKernelWithoutPci() && !isWithoutSysfs()) {
    throw new Error(`${devices} can't be listed: no such directory; is sysfs mounted at ${sysfs(root)}?`);
  }
  for (const [name, inode] of inodes ?? []) {
    if (!isPciAddress(name)) {
      problems.push({ key: `${devices}/${name}`, message: `${devices}/${name} is skipped: it is not a PCI address` });
      continue;
    }
    reached(`PCI function ${name}`);
    const found = tryRead(problems, name, `PCI function ${name}`, () =>
      readFunction(`${devices}/${name}`, name, String(inode), parents.get(name), shared),
    );
    if (!found) continue;
    for (const vf of found.virtfns.values()) parents.set(vf, found);
    yield found;
  }
}

/** What functions have in common, kept once: VFs of a PF differ in little but their addresses, and there are thousands. */
class Shared {
  readonly #texts = new Map<string, string>();
  readonly #sets = new Map<string, ReadonlySet<string>>();

  text<T extends string | null>(text: T): T {
    if (text === null) return text;
    const known = this.#texts.get(text);
    if (known !== undefined) return known as T;
    this.#texts.set(text, text);
    return text;
  }

  set(names: readonly string[]): ReadonlySet<string> {
    const key = names.join("/");
    let known = this.#sets.get(key);
    if (!known) this.#sets.set(key, (known = new Set(names)));
    return known;
  }
}

const noVfs: ReadonlyMap<number, PciAddress> = new Map();

/** Reads one PCI function; null when it is of no class that matters or left while it was read. */
function readFunction(
  folder: string,
  address: PciAddress,
  instance: string,
  parent: PciFunction | undefined,
  shared: Shared,
): PciFunction | null {
  const identity = readIdentity(folder);
  if (!identity || !classes.has(identity.pciClass)) return null;
  const entries = listDirectory(folder);
  if (!entries) return null;
  const virtfns = new Map<number, PciAddress>();
  for (const entry of entries) {
    if (!entry.startsWith("virtfn")) continue;
    const vf = readLinkName(`${folder}/${entry}`);
    const index = Number(entry.slice("virtfn".length));
    if (vf !== null && isPciAddress(vf) && Number.isInteger(index)) virtfns.set(index, vf);
  }
  const physfn = parent?.address ?? (entries.includes("physfn") ? readLinkName(`${folder}/physfn`) : null);
  return {
    address,
    instance,
    folder,
    entries: shared.set(entries),
    pciClass: identity.pciClass,
    vendor: shared.text(identity.vendor),
    product: shared.text(identity.product),
    driver: entries.includes("driver") ? shared.text(readLinkName(`${folder}/driver`)) : null,
    numaNode: readNumaNode(folder),
    pcieRoot: parent ? parent.pcieRoot : pcieRootOf(readLink(folder)),
    acpiIndex: (entries.includes("acpi_index") && readAttribute(`${folder}/acpi_index`)) || null,
    physfn: physfn !== null && isPciAddress(physfn) ? physfn : null,
    virtfns: virtfns.size > 0 ? virtfns : noVfs,
  };
}

const modaliasPattern = /^pci:v0000([0-9A-F]{4})d0000([0-9A-F]{4})sv[0-9A-F]{8}sd[0-9A-F]{8}bc([0-9A-F]{2})/;

/**
 * Reads class, vendor and device id: from modalias, one file in place of three (drivers/pci/pci-sysfs.c
 * modalias_show), or from the three where modalias is missing or odd. Null when the function has left.
 */
function readIdentity(folder: string): Pick<PciFunction, "pciClass" | "vendor" | "product"> | null {
  const modalias = modaliasPattern.exec(readAttribute(`${folder}/modalias`) ?? "");
  if (modalias) {
    const [, vendor = "", product = "", pciClass = ""] = modalias;
    return { vendor: vendor.toLowerCase(), product: product.toLowerCase(), pciClass: Number.parseInt(pciClass, 16) };
  }
  const hex = (name: string, digits: number) => {
    const text = readAttribute(`${folder}/${name}`);
    if (text === null) return null;
    if (!new RegExp(`^0x[0-9a-fA-F]{${digits}}$`).test(text)) {
      throw new Error(`${folder}/${name} holds ${JSON.stringify(text)}, expected 0x and ${digits} hexadecimal digits`);
    }
    return text.slice(2).toLowerCase();
  };
  const pciClass = hex("class", 6);
  const vendor = hex("vendor", 4);
  const product = hex("device", 4);
  if (pciClass === null || vendor === null || product === null) {
    if (listDirectory(folder) === null) return null;
    throw new Error(`${folder} has neither modalias nor all of class, vendor and device`);
  }
  return { vendor, product, pciClass: Number.parseInt(pciClass.slice(0, 2), 16) };
}

/**
 * The PCIe root in a function's real path: "pci0000:40" of "../../../devices/pci0000:40/0000:40:00.0/0000:41:00.0".
 *
 * Before it there can be a platform's folder (Arm, Hyper-V); of two, as behind Intel's VMD, the outer one is the socket's.
 */
export const pcieRootOf = (path: string | null): string | null =>
  path?.split("/").find((name) => /^pci[0-9a-f]{4,}:[0-9a-f]{2}$/.test(name)) ?? null;

/** The NUMA node; null for -1, by which the kernel means unknown, and for nonsense. */
function readNumaNode(folder: string): number | null {
  const text = readAttribute(`${folder}/numa_node`);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
