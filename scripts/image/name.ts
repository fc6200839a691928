// What is the image called? One tag never has two contents. Pure.

import type { ArchiveName } from "./archive.ts";

/** A name without a registry: nodes that lack the image must not pull another project's. */
const imageName = "localhost/sriovdp";

/** What a name is made from. */
export interface Naming {
  /** The requested name, as NAME:TAG; null for the default. */
  readonly tag: string | null;
  readonly release: boolean;
  /** Of package.json: the last release's, or that which is released now. */
  readonly version: string;
  /** The version of builds between releases: "0.2.0-dev". */
  readonly developmentVersion: string;
  /** The commit; with "-dirty" where files differ from it, "unknown" where there is none. */
  readonly revision: string;
  /** The one architecture in the archive; null when it has all. */
  readonly architecture: string | null;
  /** A hash of what is in the image. */
  readonly content: string;
}

/**
 * The archive's name: the requested one; of a release its version; else a pre-release that names the commit, and where files
 * differ from the commit what is in the image, too. Throws for an invalid name, and for a release of no commit.
 */
export function nameOf(naming: Naming): ArchiveName {
  const { revision, architecture } = naming;
  if (naming.tag !== null) {
    const [, name, tag] = /^(.+):([^:/]+)$/.exec(naming.tag) ?? [];
    if (name === undefined || tag === undefined) throw new Error(`--tag requires NAME:TAG, got ${naming.tag}`);
    return { name, tag };
  }
  const isCommit = !/dirty|unknown/.test(revision);
  if (naming.release && !isCommit)
    throw new Error(
      `a release is built from a commit, and this checkout is ${revision}: commit, or leave out --release`,
    );
  const development = `${naming.developmentVersion}.${revision}${isCommit ? "" : `.${naming.content.slice(0, 12)}`}`;
  const tag = naming.release ? naming.version : development;
  return { name: imageName, tag: architecture === null ? tag : `${tag}-${architecture}` };
}
