// Makes the container image without a container engine: for each architecture the executable, the few files of glibc that it needs, licenses
// and an SBOM; all of them in one OCI archive under one name, which `ctr images import`, `podman load`, `skopeo copy` and `docker load` take.
// Beside it an SBOM of each architecture, and a statement of provenance. The same commit gives the same bytes, here and in the bundle. Or (--folder) the files of one architecture in a folder, for the Dockerfile.

import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  type Architecture,
  architectureNamed,
  architectureNames,
  architectures,
  nativeArchitecture,
} from "../build/architectures.ts";
import { argumentsOf, misused } from "../common/arguments.ts";
import { startProgress } from "../common/progress.ts";
import { thirdPartyNotices } from "../release/notices.ts";
import { bundledPackages, licenseExpression, type Package } from "../release/bundled-packages.ts";
import { sbom } from "../release/sbom.ts";
import { commit, developmentVersion, sourceDate, version } from "../build/checkout.ts";
import { settings } from "../build/environment.ts";
import { type Image, ociArchive } from "./archive.ts";
import { type Entry, layersOf } from "./files.ts";
import { type Glibc, glibcOfPackage, glibcOfRoot } from "./glibc.ts";
import { labelsOf } from "./labels.ts";
import { nameOf } from "./name.ts";
import { provenance } from "./provenance.ts";
import manifest from "../../package.json" with { type: "json" };

const root = `${import.meta.dir}/../..`;

const usage = `npm run image -- [--out FILE] [--tag NAME:TAG] [--release] [--locked]
       npm run image -- --arch amd64|arm64 [--executable FILE] [--out FILE | --folder DIR] [--tag NAME:TAG] [--glibc-root DIR] [--locked]`;
const { values } = argumentsOf(usage, {
  options: {
    // One architecture only, under a tag of its own: NAME:TAG-ARCH.
    arch: { type: "string" },
    // One that is built already; of this machine's architecture where --arch names none.
    executable: { type: "string" },
    out: { type: "string" },
    folder: { type: "string" },
    tag: { type: "string" },
    // The tag is the version: for a commit that is tagged with it. Without, the tag names the commit.
    release: { type: "boolean", default: false },
    // The root of a Debian system of that architecture, in place of the package.
    "glibc-root": { type: "string" },
    // Refuse a glibc other than the pinned one.
    locked: { type: "boolean", default: false },
  },
});

const single = values.arch ?? (values.executable === undefined ? undefined : nativeArchitecture);
const created = sourceDate();
const revision = commit();

/** What goes into the image of one architecture. */
interface Parts {
  readonly architecture: Architecture;
  readonly executable: Uint8Array;
  readonly glibc: Glibc;
}

/** The executable at --executable, or one that is built now. */
function executableOf(architecture: Architecture): Uint8Array {
  if (values.executable !== undefined) return readFileSync(values.executable);
  // The executable contains the last part of the name that it was built under.
  const folder = mkdtempSync(join(tmpdir(), "sriovdp-build-"));
  try {
    const file = join(folder, "sriovdp");
    const build = [process.execPath, `${root}/scripts/build/executable.ts`, "--arch", architecture, "--outfile", file];
    const { success } = Bun.spawnSync(build, { stdio: ["ignore", process.stderr.fd, process.stderr.fd] });
    if (!success) throw new Error(`the executable for ${architecture} can't be built`);
    return readFileSync(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function partsOf(architecture: Architecture): Promise<Parts> {
  const executable = Buffer.from(executableOf(architecture));
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
  return { architecture, executable, glibc };
}

const sbomOf = ({ architecture, executable, glibc }: Parts, packages: readonly Package[]): string =>
  sbom({ architecture, executable, packages, glibc: glibc.version, time: created });

/** Both layers of one architecture. */
function entriesOf(parts: Parts, packages: readonly Package[]) {
  const { architecture, executable, glibc } = parts;
  const documents = new Map<string, Uint8Array | string>([
    ["LICENSE", readFileSync(`${root}/LICENSE`)],
    ["THIRD-PARTY-NOTICES", thirdPartyNotices(packages, glibc.version)],
    ["sbom.cdx.json", sbomOf(parts, packages)],
  ]);
  return layersOf({ architecture, executable, glibc, documents });
}

/** A hash of what is in the image, as far as a commit does not say it. */
function contentOf(parts: readonly Parts[]): string {
  const content = createHash("sha256");
  for (const { executable, glibc } of parts) content.update(executable).update(glibc.version);
  return content.digest("hex");
}

async function main(): Promise<void> {
  if (values.folder !== undefined && single === undefined) return misused("--folder needs --arch", usage);
  const chosen = single === undefined ? architectureNames : [architectureNamed(single)];
  const packages = await bundledPackages();
  const parts: Parts[] = [];
  const progress = startProgress(() => "image");
  for (const [index, architecture] of chosen.entries()) {
    progress.step(`image: executable and glibc of ${architecture} (${index + 1} of ${chosen.length})`);
    parts.push(await partsOf(architecture));
  }
  progress.step("image: packing the layers");
  if (values.folder !== undefined) {
    const folder = values.folder;
    for (const each of parts) {
      const { glibc, sriovdp } = entriesOf(each, packages);
      layOut([...glibc, ...sriovdp], folder);
    }
    progress.stop();
    return;
  }
  const name = nameOf({
    ...{ tag: values.tag ?? null, release: values.release, version, developmentVersion, revision },
    architecture: single ?? null,
    content: contentOf(parts),
  });
  const labelVersion = single === undefined ? name.tag : name.tag.replace(new RegExp(`-${single}$`), "");
  const labels = labelsOf({
    version: labelVersion,
    revision,
    created,
    licenses: licenseExpression(packages),
  });
  const images = parts.map((each): Image => {
    const entries = entriesOf(each, packages);
    return {
      architecture: each.architecture,
      entrypoint: ["/usr/bin/sriovdp"],
      environment: settings,
      created,
      labels,
      layers: [
        // glibc's layer has no time of a build, so that it stays the same from one release to the next and nodes have it already.
        { name: `glibc ${each.glibc.version}`, entries: entries.glibc, time: new Date(0) },
        { name: `sriovdp ${version}`, entries: entries.sriovdp, time: created },
      ],
    };
  });
  const made = await ociArchive(name, images);
  const out = values.out ?? `${root}/dist/sriovdp-${name.tag}.tar`;
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, made.archive);
  const stem = out.replace(/\.tar$/, "");
  for (const each of parts) writeFileSync(`${stem}-${each.architecture}.cdx.json`, sbomOf(each, packages));
  const stated = parts.map(({ architecture, glibc }, at) => ({
    architecture,
    digest: made.images[at]?.digest ?? "",
    glibc: glibc.version,
  }));
  const { homepage } = manifest;
  writeFileSync(
    `${stem}.provenance.json`,
    provenance({
      ...{ name: name.name, digest: made.digest, homepage, revision, version: labelVersion, packages },
      images: stated,
    }),
  );
  progress.stop();
  console.log(`built ${out}: ${name.name}:${name.tag}, ${mebibytes(made.archive.length)}, ${made.digest}`);
  for (const { architecture, digest, layers } of made.images) {
    console.log(`  ${architecture}: ${digest}`);
    for (const { name: layer, digest: of, unpacked, packed } of layers)
      console.log(`    layer ${layer}: ${mebibytes(unpacked)}, packed ${mebibytes(packed)}, ${of}`);
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
