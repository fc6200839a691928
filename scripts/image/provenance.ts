// What was the image made of, and by what? A statement for machines: SLSA provenance in an in-toto statement, without a signature, since the
// project has no key. To verify an image, build the commit and compare digests. The same inputs give the same bytes.
// https://slsa.dev/spec/v1.0/provenance, https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md

import { bunVersion, type Package } from "../release/bundled-packages.ts";

/** What is stated. */
export interface Made {
  /** Name without tag. */
  readonly name: string;
  /** Digest of the index, "sha256:…". */
  readonly digest: string;
  readonly homepage: string;
  readonly revision: string;
  /** Tag of the image. */
  readonly version: string;
  readonly packages: readonly Package[];
  readonly images: readonly {
    readonly architecture: string;
    /** Digest of its manifest, "sha256:…". */
    readonly digest: string;
    /** Debian's version of glibc. */
    readonly glibc: string;
  }[];
}

const sha256 = (digest: string) => ({ sha256: digest.replace("sha256:", "") });

/** The statement as JSON text. */
export function provenance({ name, digest, homepage, revision, version, packages, images }: Made): string {
  const statement = {
    _type: "https://in-toto.io/Statement/v1",
    subject: [
      { name, digest: sha256(digest) },
      ...images.map((image) => ({ name: `${name} linux/${image.architecture}`, digest: sha256(image.digest) })),
    ],
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: `${homepage}/docs/deploy/images.md#provenance`,
        externalParameters: { script: "scripts/image/image.ts", version, source: homepage, revision },
        resolvedDependencies: [
          { uri: homepage, digest: { gitCommit: revision } },
          ...packages.map((each) => ({
            uri: `pkg:npm/${each.name.replace("@", "%40")}@${each.version}`,
            digest: { sha512: Buffer.from(each.integrity.replace("sha512-", ""), "base64").toString("hex") },
          })),
          { uri: `pkg:github/oven-sh/bun@bun-v${bunVersion}` },
          ...images.map(({ glibc, architecture }) => ({
            uri: `pkg:deb/debian/glibc@${encodeURIComponent(glibc)}?arch=${architecture}`,
          })),
        ],
      },
      runDetails: { builder: { id: `${homepage}/docs/deploy/images.md#provenance` } },
    },
  };
  return `${JSON.stringify(statement, null, 2)}\n`;
}
