// Which auxiliary devices, such as sub-functions, do PCI functions have? (Documentation/driver-api/auxiliary_bus.rst)

import { busDevices } from "./node-paths.ts";
import { listDirectory, listInodes, readAttribute, readLink } from "../../native/files.ts";
import type { PciAddress } from "./device.ts";
import { isPciAddress } from "./pci.ts";
import { tryRead, type ReadProblem } from "./read-problem.ts";

/** An auxiliary device "<driver>.<type>.<id>". */
export interface AuxiliaryDevice {
  readonly name: string;
  /** Changes when the device was removed and another one has its name: the numbers of SFs are used again. */
  readonly instance: string;
  readonly folder: string;
  readonly entries: ReadonlySet<string>;
  readonly type: string;
  /** The nearest PCI function above it, any number of levels up. */
  readonly parent: PciAddress;
  /** The SF's number; null for other types. */
  readonly sfnum: number | null;
}

/** Reads the auxiliary devices below a PCI function, sorted by name. */
export function readAuxiliaryDevices(root: string, problems: ReadProblem[]): AuxiliaryDevice[] {
  const devices = busDevices(root, "auxiliary");
  const inodes = tryRead(problems, devices, devices, () => listInodes(devices)) ?? new Map<string, bigint>();
  return [...inodes].flatMap(([name, inode]) => {
    const read = () => readDevice(`${devices}/${name}`, name, String(inode));
    return tryRead(problems, name, `auxiliary device ${name}`, read) ?? [];
  });
}

function readDevice(folder: string, name: string, instance: string): AuxiliaryDevice | null {
  const type = auxiliaryType(name);
  if (type === null) return null;
  const target = readLink(folder);
  if (target === null) return null;
  const parent = target.split("/").slice(0, -1).findLast(isPciAddress);
  if (parent === undefined) return null;
  const entries = listDirectory(folder);
  if (!entries) return null;
  const sfnum = type === "sf" ? readSfnum(folder) : null;
  return { name, instance, folder, entries: new Set(entries), type, parent, sfnum };
}

/** The middle part of a three-part name whose last part is a number; null for other names. */
export function auxiliaryType(name: string): string | null {
  return /^[^.\s]+\.([^.\s]+)\.\d+$/.exec(name)?.[1] ?? null;
}

function readSfnum(folder: string): number {
  const text = readAttribute(`${folder}/sfnum`);
  if (text === null || !/^\d+$/.test(text)) {
    throw new Error(`${folder}/sfnum holds ${JSON.stringify(text)}, expected a number`);
  }
  return Number(text);
}
