// Which names does the API take? Forms and lengths of resource.k8s.io/v1 (api/resource/v1/types.go, pkg/apis/resource/validation), and
// how a name that is too long is cut so that it stays different from all others. Pure.

import { hashOf } from "../pools/names.ts";

/** The largest values that the API accepts. */
export const apiLimits = {
  /** Devices of a slice: 128, but 64 as soon as one has a taint. A taint must not move devices, so it is always 64. */
  devices: 64,
  /** Bytes of a text value of an attribute. */
  attributeValue: 64,
  driverName: 63,
  deviceName: 63,
  poolName: 253,
  objectName: 253,
} as const;

/** Bytes of a text: the API's limits count them. */
export const bytesOf = (text: string): number => Buffer.byteLength(text);

/** The beginning of a DNS name and the hash of `source`, together at most `limit` characters: one name a source. */
export function withHash(text: string, source: string, limit: number): string {
  const hash = hashOf(source);
  return `${text.slice(0, limit - hash.length - 1).replace(/[-.]+$/, "")}-${hash}`;
}

/** A DNS name of at most `limit` characters: a longer text is cut, and ends in its hash. */
export const shortened = (text: string, limit: number): string =>
  text.length <= limit ? text : withHash(text, text, limit);

/**
 * Why this can't be the driver's name, as a sentence's end; null when it can. It is also the vendor of CDI devices, which begins with
 * a letter (pkg/parser/parser.go ValidateVendorName).
 */
export function driverNameProblem(name: string): string | null {
  if (name.length > apiLimits.driverName) return `must have at most ${apiLimits.driverName} characters`;
  const isSubdomain = /^[a-z](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/.test(name);
  return isSubdomain ? null : "must be a lowercase DNS name that begins with a letter";
}

/** Why devices can't be published under this resource, as a sentence's end; null when they can. multus finds devices by that attribute. */
export const resourceProblem = (resource: string): string | null =>
  bytesOf(resource) > apiLimits.attributeValue
    ? `is too long for DRA: an attribute has at most ${apiLimits.attributeValue} bytes`
    : null;
