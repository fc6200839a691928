// What do labels and annotations say of the image? The keys are those of the OCI image specification, by which registries and scanners show it:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md

import manifest from "../../package.json" with { type: "json" };

/** What is stamped on an image. */
export interface Stamp {
  /** The tag, which identifies this image. */
  readonly version: string;
  readonly revision: string;
  readonly created: Date;
  /** SPDX expression. */
  readonly licenses: string;
}

/** The same for every image. */
export const fixedLabels = {
  "org.opencontainers.image.title": "sriovdp",
  "org.opencontainers.image.description": manifest.description,
  "org.opencontainers.image.vendor": "The sriovdp authors",
  "org.opencontainers.image.url": manifest.homepage,
  "org.opencontainers.image.source": manifest.homepage,
  "org.opencontainers.image.documentation": `${manifest.homepage}/docs`,
  // There is no image below: glibc's files are a layer of their own, named in var/lib/dpkg/status.d. So there is no base.digest either.
  "org.opencontainers.image.base.name": "scratch",
} as const;

/** All labels of an image; they are its manifest's annotations, too. */
export const labelsOf = ({ version, revision, created, licenses }: Stamp): Record<string, string> => ({
  ...fixedLabels,
  "org.opencontainers.image.version": version,
  "org.opencontainers.image.revision": revision,
  "org.opencontainers.image.created": created.toISOString(),
  "org.opencontainers.image.licenses": licenses,
});
