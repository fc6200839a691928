// How are a pool's socket, environment variables, files and CDI devices named? The only place that makes these names; the folders of
// the files are in host/ and kubelet/. Pure.

import { deviceTypeNames, deviceTypes } from "./device-types.ts";
import type { PoolSpec } from "./pool.ts";

/** A PCI address as sysfs spells it, of any domain width. */
export const pciAddressPattern = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

type PoolName = Pick<PoolSpec, "prefix" | "name">;
type TypedPoolName = Pick<PoolSpec, "prefix" | "name" | "deviceType">;

/** The resource "PREFIX/NAME", as a pod requests it. */
export const resourceName = ({ prefix, name }: PoolName): string => `${prefix}/${name}`;

/** The file name of the pool's socket, as the upstream plugin's. */
export const socketName = ({ prefix, name }: PoolName): string => `${prefix}_${name}.sock`;

/** Whether a file name is that of a socket of a pool with one of these prefixes. */
export const isSocketName = (file: string, prefixes: readonly string[]): boolean =>
  file.endsWith(".sock") && prefixes.some((prefix) => file.startsWith(`${prefix}_`));

/** The environment variable with the ids of a resource's devices: upper case, "." and "/" become "_", nothing else changes ("-" stays). */
export const idsVariable = (resource: string): string => `PCIDEVICE_${resource.toUpperCase().replaceAll(/[./]/g, "_")}`;

/** The environment variable with what is known of a resource's devices, as JSON. */
export const infoVariable = (resource: string): string => `${idsVariable(resource)}_INFO`;

const deviceInfoSuffix = "-device.json";

/** The file name of a device's device-info file: resource and device id, "/" written as "-". */
export const deviceInfoName = (resource: string, id: string): string =>
  `${resource.replaceAll("/", "-")}-${id.replaceAll("/", "-")}${deviceInfoSuffix}`;

/** The id of the resource's device whose device-info file has this name; null for every other name. */
export function deviceInfoId(resource: string, fileName: string): string | null {
  const start = `${resource.replaceAll("/", "-")}-`;
  if (!fileName.startsWith(start) || !fileName.endsWith(deviceInfoSuffix)) return null;
  const id = fileName.slice(start.length, -deviceInfoSuffix.length);
  return pciAddressPattern.test(id) ? id : null;
}

/** The kind "PREFIX/CLASS" of a pool's CDI devices. */
export const cdiKind = ({ prefix, deviceType }: Omit<TypedPoolName, "name">): string =>
  `${prefix}/${deviceTypes[deviceType].cdiClass}`;

/** The fully-qualified name "KIND=ID" of a CDI device. */
export const cdiDeviceName = (spec: TypedPoolName, id: string): string => `${cdiKind(spec)}=${id}`;

const cdiFilePrefix = "sriov-dp-";

/** The file name of the pool's CDI spec; a "/" of the kind becomes "-". */
export const cdiFileName = (spec: TypedPoolName): string =>
  `${cdiFilePrefix}${cdiKind(spec).replaceAll("/", "-")}-${spec.name}.yaml`;

/** Whether a CDI spec of this file name is one of this plugin's or the upstream plugin's, of any pool. */
export const isCdiFileName = (file: string): boolean => file.startsWith(cdiFilePrefix);

/** The file names that the CDI spec of a resource can have: one a device type, for a pool that is no longer configured. */
export function cdiFileNames(resource: string): string[] {
  const [prefix = "", name = ""] = resource.split("/");
  return deviceTypeNames.map((deviceType) => cdiFileName({ prefix, name, deviceType }));
}

/** What the key of every annotation about CDI devices begins with (pkg/cdi/annotations.go AnnotationPrefix). */
export const cdiAnnotationPrefix = "cdi.k8s.io/";

/** How many characters an annotation's key may have behind the prefix (pkg/cdi/annotations.go AnnotationKey). */
const cdiAnnotationKeyLimit = 63;

/**
 * The key of a pool's annotation.
 *
 * Unlike the upstream plugin's it contains the pool's name: the kubelet merges the annotations of all resources of a container
 * by key, and readers take every key that begins with the prefix. A longer one is cut and ends in its hash.
 */
export function cdiAnnotationKey(spec: TypedPoolName): string {
  const key = `${spec.prefix}_${deviceTypes[spec.deviceType].cdiClass}_${spec.name}`;
  const hash = hashOf(key);
  const isShort = key.length <= cdiAnnotationKeyLimit;
  return `${cdiAnnotationPrefix}${isShort ? key : `${key.slice(0, cdiAnnotationKeyLimit - 1 - hash.length)}_${hash}`}`;
}

/** A device's name in a ResourceSlice, a DNS label: its id, with every other character as "-". */
export const sliceDeviceName = (id: string): string => id.toLowerCase().replaceAll(/[^a-z0-9]/g, "-");

/**
 * The device id that a device's name in a ResourceSlice is made of, as `sliceDeviceName` and dra-driver-sriov (pkg/devicestate) make it:
 * a PCI address or an SF of mlx5; null for any other name.
 */
export function idOfSliceDevice(name: string): string | null {
  const pci = /^([0-9a-f]{4,})-([0-9a-f]{2})-([0-9a-f]{2})-([0-7])$/.exec(name);
  if (pci) return `${pci[1]}:${pci[2]}:${pci[3]}.${pci[4]}`;
  const sf = /^mlx5-core-sf-(\d+)$/.exec(name);
  return sf ? `mlx5_core.sf.${sf[1]}` : null;
}

/** Whether an id is one that devices of pools can have, unlike those of other plugins. */
export const isDeviceId = (id: string): boolean => idOfSliceDevice(sliceDeviceName(id)) === id;

/** The kind of a DRA driver's CDI devices. */
export const claimCdiKind = (driver: string): string => `${driver}/claim`;

/** The 64-bit FNV-1a hash (Fowler, Noll, Vo) of a text's UTF-16 code units, in base 36; names are ASCII. */
export function hashOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let index = 0; index < text.length; index++)
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(index))) * 0x100000001b3n);
  return hash.toString(36);
}
