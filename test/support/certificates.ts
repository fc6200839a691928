// Certificates to test TLS with: made when they are needed, so that none is kept in a file or expires. As much of X.509 as that takes
// (RFC 5280), with keys and signatures of node:crypto.

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

/** A certificate and its key, both in PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** Who can sign certificates. */
export interface Authority extends Identity {
  readonly name: string;
  readonly privateKey: KeyObject;
}

const der = (tag: number, ...parts: readonly (Uint8Array | readonly number[])[]): Buffer => {
  const content = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const { length } = content;
  const bytes = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...bytes), content]);
};

const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const octets = (content: Uint8Array) => der(0x04, content);
const bits = (content: Uint8Array) => der(0x03, [0], content);
const text = (tag: number, value: string) => der(tag, Buffer.from(value));

/** An object identifier; its numbers behind the first two in base 128. */
function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const base128 = (value: number): number[] =>
    value < 0x80 ? [value] : [...base128(value >> 7).map((byte) => byte | 0x80), value & 0x7f];
  return der(0x06, [first * 40 + second, ...rest.flatMap(base128)]);
}

const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"));
const nameOf = (commonName: string) => sequence(der(0x31, sequence(oid("2.5.4.3"), text(0x0c, commonName))));
const time = (at: number) => text(0x18, `${new Date(at).toISOString().replaceAll(/[-:T]|\.\d+/g, "")}`);

const alternativeName = (name: string) =>
  isIP(name) === 4 ? der(0x87, name.split(".").map(Number)) : text(0x82, name);

const extension = (id: string, content: Buffer, isCritical = false) =>
  sequence(oid(id), ...(isCritical ? [der(0x01, [0xff])] : []), octets(content));

const pem = (content: Buffer) =>
  `-----BEGIN CERTIFICATE-----\n${content.toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

const day = 86_400_000;

interface CertificateRequest {
  readonly name: string;
  readonly issuer: { readonly name: string; readonly privateKey: KeyObject } | null;
  readonly extensions: readonly Buffer[];
  /** From and until when it is valid, in days from now. */
  readonly days: readonly [from: number, until: number];
}

function issue({ name, issuer, extensions, days: [from, until] }: CertificateRequest): Authority {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = Date.now();
  const content = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1, ...randomBytes(8)]),
    ecdsaWithSha256,
    nameOf(issuer?.name ?? name),
    sequence(time(now + from * day), time(now + until * day)),
    nameOf(name),
    publicKey.export({ format: "der", type: "spki" }),
    ...(extensions.length === 0 ? [] : [der(0xa3, sequence(...extensions))]),
  );
  const signature = sign("sha256", content, issuer?.privateKey ?? privateKey);
  return {
    name,
    privateKey,
    certificate: pem(sequence(content, ecdsaWithSha256, bits(signature))),
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** A new authority: two of the same name have nothing in common but that. */
export const anAuthority = (name = "test CA"): Authority =>
  issue({
    name,
    issuer: null,
    extensions: [extension("2.5.29.19", sequence(der(0x01, [0xff])), true)],
    days: [-1, 1],
  });

/** A certificate of an authority, for these DNS names and IPv4 addresses. */
export const anIdentity = (
  issuer: Authority,
  name: string,
  names: readonly string[] = [],
  days: readonly [from: number, until: number] = [-1, 1],
): Identity => {
  const extensions = names.length === 0 ? [] : [extension("2.5.29.17", sequence(...names.map(alternativeName)))];
  const { certificate, key } = issue({ name, issuer, extensions, days });
  return { certificate, key };
};
