// Makes the container image without a container engine: dist/sriovdp and the few files of glibc that it needs, as an OCI archive that
// `ctr images import`, `podman load` and `docker load` take. The same commit gives the same bytes. Or (--folder) the image's files in a
// folder, for the Dockerfile.

import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { architectureNamed, architectures, nativeArchitecture } from "./architectures.ts";
import { argumentsOf } from "./arguments.ts";
import { thirdPartyNotices } from "./bundle/notices.ts";
import { bundledPackages } from "./bundle/parts.ts";
import { commit, sourceDate, version } from "./checkout.ts";
import { settings } from "./environment.ts";
import { ociArchive } from "./image/archive.ts";
import { type Entry, layersOf } from "./image/files.ts";
import { glibcOfPackage, glibcOfRoot } from "./image/glibc.ts";

const root = `${import.meta.dir}/..`;

const usage = `npm run image -- [--arch amd64|arm64] [--executable FILE] [--out FILE | --folder DIR] [--tag NAME:TAG]
                         [--document FILE]… [--glibc-root DIR] [--locked]`;
const { values } = argumentsOf(usage, {
  options: {
    arch: { type: "string", default: nativeArchitecture },
    executable: { type: "string", default: `${root}/dist/sriovdp` },
    out: { type: "string" },
    folder: { type: "string" },
    // A name without a registry: nodes that lack the image must not take a stranger's from anywhere.
    tag: { type: "string", default: `localhost/sriovdp:${version}` },
    // Further files for /usr/share/doc/sriovdp, beside licence and notices.
    document: { type: "string", multiple: true, default: [] },
    // The root of a Debian system of that architecture, in place of the package.
    "glibc-root": { type: "string" },
    // Refuse a glibc other than the pinned one.
    locked: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  const architecture = architectureNamed(values.arch);
  const executable = readFileSync(values.executable);
  // e_machine of the ELF header: an image with another architecture's executable would only fail on the node.
  const machine = executable.readUInt16LE(18);
  if (machine !== architectures[architecture].machine) {
    throw new Error(`${values.executable} is not an executable of ${architecture} (ELF machine ${machine})`);
  }
  const warn = (message: string) => console.error(`warning: ${message}`);
  const glibc =
    values["glibc-root"] === undefined
      ? await glibcOfPackage(architecture, values.locked, warn)
      : glibcOfRoot(values["glibc-root"], architecture);
  const documents = new Map<string, Uint8Array | string>([
    ["LICENSE", readFileSync(`${root}/LICENSE`)],
    ["THIRD-PARTY-NOTICES", thirdPartyNotices(await bundledPackages(), glibc.version)],
    ...values.document.map((path) => [basename(path), readFileSync(path)] as const),
  ]);
  const layers = layersOf({ architecture, executable, glibc, documents });
  if (values.folder !== undefined) return layOut([...layers.glibc, ...layers.sriovdp], values.folder);

  const created = sourceDate();
  const out = values.out ?? `${root}/dist/sriovdp-${version}-${architecture}.tar`;
  const image = {
    tag: values.tag,
    architecture,
    entrypoint: ["/usr/bin/sriovdp"],
    environment: settings,
    created,
    labels: {
      "org.opencontainers.image.title": "sriovdp",
      "org.opencontainers.image.description": "SR-IOV network device plugin for Kubernetes",
      "org.opencontainers.image.version": version,
      "org.opencontainers.image.revision": commit(),
      "org.opencontainers.image.created": created.toISOString(),
      "org.opencontainers.image.licenses": "Apache-2.0 AND MIT AND LGPL-2.1-or-later",
    },
  };
  // glibc's layer bears no time of ours, so that it stays the same from one release to the next and nodes have it already.
  const made = await ociArchive(image, [
    { name: `glibc ${glibc.version}`, entries: layers.glibc, time: new Date(0) },
    { name: `sriovdp ${version}`, entries: layers.sriovdp, time: created },
  ]);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, made.archive);
  console.log(`built ${out}: ${values.tag} for ${architecture}, ${mebibytes(made.archive.length)}, ${made.digest}`);
  for (const { name, digest, unpacked, packed } of made.layers) {
    console.log(`  layer ${name}: ${mebibytes(unpacked)}, packed ${mebibytes(packed)}, ${digest}`);
  }
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function layOut(entries: readonly Entry[], folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const entry of entries) {
    const path = join(folder, entry.path);
    // Both layers have the folders that they share.
    if ("folder" in entry) mkdirSync(path, { recursive: true });
    else if ("link" in entry) symlinkSync(entry.link, path);
    else writeFileSync(path, entry.content);
    if (!("link" in entry)) chmodSync(path, entry.mode);
  }
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
