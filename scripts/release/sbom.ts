// The contents of what is distributed, as an SBOM in CycloneDX: the packages that the bundler took in, Bun with the parts that it links, and
// glibc. Made without any other tool; the same inputs give the same bytes.

import { createHash } from "node:crypto";
import type { Architecture } from "../build/architectures.ts";
import { version } from "../build/checkout.ts";
import { bunVersion, linkedParts, type Package } from "./bundled-packages.ts";
import manifest from "../../package.json" with { type: "json" };

/** What the SBOM is about. */
export interface Subject {
  readonly architecture: Architecture;
  readonly executable: Uint8Array;
  readonly packages: readonly Package[];
  /** Debian's version of the image's glibc. */
  readonly glibc: string;
  readonly time: Date;
}

const license = (expression: string) =>
  /^[\w.+-]+$/.test(expression) ? [{ license: { id: expression } }] : [{ expression }];

const refOf = ({ name, version }: Package): string => `${name}@${version}`;

/** https://github.com/package-url/purl-spec/blob/main/types-doc/npm-definition.md: the @ of a scope is percent-encoded. */
const purlOf = ({ name, version }: Package): string => `pkg:npm/${name.replace("@", "%40")}@${version}`;

function componentOf(each: Package): object {
  const references = [
    ...(each.repository === null ? [] : [{ type: "vcs", url: each.repository }]),
    ...(each.homepage === null ? [] : [{ type: "website", url: each.homepage }]),
  ];
  return {
    "bom-ref": refOf(each),
    type: "library",
    name: each.name,
    version: each.version,
    scope: "required",
    licenses: license(each.license.replace(/^\(([^()]*)\)$/, "$1")),
    purl: purlOf(each),
    hashes: [
      {
        alg: "SHA-512",
        content: Buffer.from(each.integrity.replace("sha512-", ""), "base64").toString("hex"),
      },
    ],
    ...(references.length === 0 ? {} : { externalReferences: references }),
  };
}

/**
 * A UUID that names a text: version 5 (RFC 9562, section 5.5), below the namespace of URLs. One content has one serial number, as
 * CycloneDX requires, and the same commit the same bytes.
 */
export function uuidOf(text: string): string {
  const namespace = Buffer.from("6ba7b8119dad11d180b400c04fd430c8", "hex");
  const bytes = createHash("sha1").update(namespace).update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The SBOM as JSON text. */
export function sbom({ architecture, executable, packages, glibc, time }: Subject): string {
  const root = `sriovdp@${version}`;
  const bun = `bun@${bunVersion}`;
  const library = `glibc@${glibc}`;
  const refs = new Map(packages.map((each) => [each.name, refOf(each)]));
  const bundled = (names: readonly string[]) => names.flatMap((name) => refs.get(name) ?? []);
  const parts = linkedParts.map(({ name, license: expression, version: linkedVersion }) => ({
    "bom-ref": `bun/${name}`,
    type: "library",
    name,
    ...(linkedVersion === null ? {} : { version: linkedVersion }),
    licenses: license(expression),
  }));
  const content = {
    version: 1,
    metadata: {
      timestamp: time.toISOString(),
      lifecycles: [{ phase: "build" }],
      tools: { components: [{ type: "application", name: "sriovdp scripts/release/sbom.ts", version }] },
      component: {
        "bom-ref": root,
        type: "application",
        name: "sriovdp",
        version,
        description: `SR-IOV network device plugin for Kubernetes, linux/${architecture}`,
        licenses: license("Apache-2.0"),
        hashes: [{ alg: "SHA-256", content: createHash("sha256").update(executable).digest("hex") }],
        externalReferences: [{ type: "website", url: manifest.homepage }],
      },
    },
    components: [
      ...packages.map(componentOf),
      {
        "bom-ref": bun,
        type: "framework",
        name: "bun",
        version: bunVersion,
        description: "The JavaScript runtime that the executable is made of, with the parts that it links statically",
        licenses: license("MIT"),
        purl: `pkg:github/oven-sh/bun@bun-v${bunVersion}`,
        components: parts,
      },
      {
        "bom-ref": library,
        type: "library",
        name: "glibc",
        version: glibc,
        description: "In the container image only; on a host the executable uses the host's",
        licenses: license("LGPL-2.1-or-later"),
        purl: `pkg:deb/debian/glibc@${encodeURIComponent(glibc)}?arch=${architecture}&distro=debian-13`,
      },
    ],
    dependencies: [
      { ref: root, dependsOn: [...bundled(Object.keys(manifest.dependencies)), bun, library] },
      ...packages.map((each) => ({ ref: refOf(each), dependsOn: bundled(each.dependencies) })),
      { ref: bun, dependsOn: parts.map((part) => part["bom-ref"]) },
      { ref: library, dependsOn: [] },
    ],
  };
  const bom = {
    $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(content))}`,
    ...content,
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}
