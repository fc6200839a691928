// What is in what we hand out, for machines? An SBOM in CycloneDX: npm's own list, reduced to what the bundler took in, and Bun with the
// parts that it links, and glibc. The same inputs give the same bytes.

import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Architecture } from "../architectures.ts";
import { version } from "../checkout.ts";
import { bunVersion, linkedParts, type Package } from "./parts.ts";

interface Component {
  readonly "bom-ref": string;
  readonly name: string;
  readonly [field: string]: unknown;
}

interface Bom {
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
  readonly metadata: { readonly tools: unknown };
  readonly [field: string]: unknown;
}

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

/** What npm tells of all that is installed: with --omit=dev it also omits what a development dependency needs besides us. */
function npmBom(): Bom {
  if (Bun.which("npm") === null) throw new Error("npm is needed for the SBOM (npm sbom), and there is none here");
  const { success, stdout, stderr } = Bun.spawnSync(["npm", "sbom", "--sbom-format", "cyclonedx"], {
    cwd: join(import.meta.dir, "../.."),
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!success) throw new Error(`npm sbom: ${stderr.toString().trim()}`);
  return JSON.parse(stdout.toString()) as Bom;
}

/** The SBOM as JSON text. */
export function sbom({ architecture, executable, packages, glibc, time }: Subject): string {
  const npm = npmBom();
  const ours = `sriovdp@${version}`;
  const bundled = new Set(packages.map(({ name, version }) => `${name}@${version}`));
  const components = npm.components.filter((component) => bundled.has(component["bom-ref"]));
  const missing = [...bundled].filter((ref) => !components.some((component) => component["bom-ref"] === ref));
  if (missing.length > 0) throw new Error(`npm's list of dependencies lacks what is bundled: ${missing.join(", ")}`);
  const known = new Set(components.map((component) => component["bom-ref"]));
  const bun = `bun@${bunVersion}`;
  const library = `glibc@${glibc}`;
  const parts = linkedParts.map(({ name, license: expression, version: linkedVersion }) => ({
    "bom-ref": `bun/${name}`,
    type: "library",
    name,
    ...(linkedVersion === null ? {} : { version: linkedVersion }),
    licenses: license(expression),
  }));
  const edges = npm.dependencies
    .filter(({ ref }) => known.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((to) => known.has(to)) }));
  const direct = npm.dependencies.find(({ ref }) => ref === ours)?.dependsOn ?? [];
  const bom = {
    $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: time.toISOString(),
      lifecycles: [{ phase: "build" }],
      tools: npm.metadata.tools,
      component: {
        "bom-ref": ours,
        type: "application",
        name: "sriovdp",
        version,
        description: `SR-IOV network device plugin for Kubernetes, linux/${architecture}`,
        licenses: license("Apache-2.0"),
        hashes: [{ alg: "SHA-256", content: createHash("sha256").update(executable).digest("hex") }],
      },
    },
    components: [
      ...components,
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
      { ref: ours, dependsOn: [...direct.filter((ref) => known.has(ref)), bun, library] },
      ...edges,
      { ref: bun, dependsOn: parts.map((part) => part["bom-ref"]) },
      { ref: library, dependsOn: [] },
    ],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}
