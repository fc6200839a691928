// How are the files and the socket of the DRA role named, and whose is such a name? The folders are in host/ and kubelet/. Pure.

import { claimCdiKind, hashOf } from "./names.ts";

/**
 * Whether a text can be the UID of a claim. The API server makes UUIDs, and nothing else may come into names of files and of CDI
 * devices, whose parts are separated by dots.
 */
export const isClaimUid = (text: string): boolean => /^[A-Za-z0-9](?:[-A-Za-z0-9]{0,62}[A-Za-z0-9])?$/.test(text);

const specExtension = ".json";
const endedExtension = ".ended";

/** What the name of a claim's CDI spec begins with, as CDI libraries name such files (pkg/cdi/spec.go GenerateTransientSpecName). */
const specPrefix = (driver: string): string => `${claimCdiKind(driver).replaceAll("/", "-")}_`;

/** The file name of a claim's CDI spec. */
export const claimFileName = (driver: string, uid: string): string => `${specPrefix(driver)}${uid}${specExtension}`;

/** The file name of a claim's CDI spec after the claim was unprepared: hidden, and with an extension that CDI libraries skip. */
export const endedClaimFileName = (driver: string, uid: string): string =>
  `.${specPrefix(driver)}${uid}${endedExtension}`;

const uidBetween = (file: string, before: string, after: string): string | null => {
  if (!file.startsWith(before) || !file.endsWith(after)) return null;
  const uid = file.slice(before.length, -after.length);
  return isClaimUid(uid) ? uid : null;
};

/** The claim whose CDI spec of this driver has this file name; null for every other name. */
export const claimUidIn = (driver: string, file: string): string | null =>
  uidBetween(file, specPrefix(driver), specExtension);

/** The unprepared claim whose CDI spec of this driver has this file name; null for every other name. */
export const endedClaimUidIn = (driver: string, file: string): string | null =>
  uidBetween(file, `.${specPrefix(driver)}`, endedExtension);

const socketEnd = "-reg.sock";

/** The longest hash of `hashOf`, in characters. */
const hashLength = 13;

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** How much of the driver's name is before a hash, when a socket's name has at most `limit` bytes. */
const driverPart = (driver: string, limit: number): string =>
  driver.slice(0, Math.max(0, limit - socketEnd.length - hashLength - 1));

/**
 * The file name of the driver's socket, at most `limit` bytes: "DRIVER-INSTANCE-reg.sock", "DRIVER-reg.sock" for the instance "".
 * During an update two instances serve the driver, each at its own socket. An instance that is no UUID, or too long, is written as its
 * hash; then a driver whose name is too long is cut. Null when not even that fits.
 */
export function draSocketName(driver: string, instance: string, limit: number): string | null {
  const whole = instance === "" ? driver : `${driver}-${uuid.test(instance) ? instance : hashOf(instance)}`;
  if (whole.length + socketEnd.length <= limit) return `${whole}${socketEnd}`;
  const part = driverPart(driver, limit);
  return part === "" ? null : `${part}-${hashOf(`${driver} ${instance}`)}${socketEnd}`;
}

/** Whether a file name is that of a socket of the driver, of whichever instance. */
export function isDraSocketName(file: string, driver: string, limit: number): boolean {
  if (file === `${driver}${socketEnd}`) return true;
  return [driver, driverPart(driver, limit)].some((part) => {
    if (part === "" || !file.startsWith(`${part}-`) || !file.endsWith(socketEnd)) return false;
    const instance = file.slice(part.length + 1, -socketEnd.length);
    return uuid.test(instance) || /^[0-9a-z]{1,13}$/.test(instance);
  });
}

/** Of a node's name so much is at the beginning of its pools' names in any case: what is longer may be cut there. */
const uncut = 150;

/** Whether a pool of this name is one of this node: "NODE/0000-3b-00.0". The same device name may be one of another node's devices. */
export const isPoolOfNode = (pool: string, node: string): boolean =>
  node.length <= uncut ? pool.startsWith(`${node}/`) : pool.startsWith(node.slice(0, uncut));
