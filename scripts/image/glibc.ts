// Where does the image's glibc come from? From Debian's package libc6, at a pinned version: fetched by the machine's own
// apt (debian.ts). Or from a Debian root.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { unpackTar } from "modern-tar";
import { type Architecture, architectures } from "../build/architectures.ts";
import { downloadPackage, fieldsOf } from "./debian.ts";

/**
 * The package in the image. Debian's mirrors keep only the newest version of a suite: when they have moved on, the script says so and
 * prints the line that belongs here.
 */
export const pinned = {
  suite: "trixie",
  release: "13",
  version: "2.41-12+deb13u5",
  sha256: {
    amd64: "b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf",
    arm64: "0966fc3da1a26cc57647c68b5736f791b6e7eb498173a7993f63b6c89b4ed4f5",
  },
} as const;

/** What of glibc goes into the image. */
export interface Glibc {
  readonly version: string;
  /** Debian's VERSION_ID, for instance "13". */
  readonly release: string;
  /** The libraries by file name, the loader among them. */
  readonly libraries: ReadonlyMap<string, Uint8Array>;
  readonly copyright: Uint8Array;
  /** The package's entry in dpkg's status: by it scanners know what is in the image. */
  readonly control: string;
}

/** The libraries that the executable names as NEEDED; the loader is one of them. */
export const libraryNames = (architecture: Architecture): readonly string[] => [
  "libc.so.6",
  "libdl.so.2",
  "libm.so.6",
  "libpthread.so.0",
  architectures[architecture].loader.replace(/^.*\//, ""),
];

const copyrightPath = "usr/share/doc/libc6/copyright";

/** glibc from the root folder of a Debian system (or image) of the same architecture. Throws with the path that is missing. */
export function glibcOfRoot(root: string, architecture: Architecture): Glibc {
  const read = (path: string) => readFileSync(join(root, path));
  const { triplet } = architectures[architecture];
  const stanza = read("var/lib/dpkg/status")
    .toString()
    .split("\n\n")
    .find((each) => each.startsWith("Package: libc6\n") && each.includes(`\nArchitecture: ${architecture}\n`));
  if (stanza === undefined) throw new Error(`${root}: no package libc6 of ${architecture} in var/lib/dpkg/status`);
  return {
    version: fieldOf(stanza, "Version"),
    release: /^VERSION_ID="?([^"\n]*)/m.exec(read("etc/os-release").toString())?.[1] ?? "",
    libraries: new Map(libraryNames(architecture).map((name) => [name, read(`usr/lib/${triplet}/${name}`)])),
    copyright: read(copyrightPath),
    control: withoutRelations(stanza),
  };
}

/** glibc from Debian's package. `locked` refuses any other version than the pinned one; else another one is used and reported by `warn`. */
export async function glibcOfPackage(
  architecture: Architecture,
  locked: boolean,
  warn: (message: string) => void,
): Promise<Glibc> {
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "sriovdp-image");
  const cached = join(cache, `libc6_${pinned.version}_${architecture}.deb`);
  let file = cached;
  if (!existsSync(cached) || hashOf(cached) !== pinned.sha256[architecture]) {
    mkdirSync(cache, { recursive: true });
    file = downloadPackage("libc6", pinned.suite, architecture, cache);
    const hash = hashOf(file);
    if (hash !== pinned.sha256[architecture]) {
      const version = fieldOf(fieldsOf(file), "Version");
      const found = `Debian ${pinned.suite} has libc6 ${version} for ${architecture} by now, ${pinned.version} is pinned`;
      const remedy = `pin version ${JSON.stringify(version)} and ${architecture}: ${JSON.stringify(hash)} in scripts/image/glibc.ts`;
      if (locked) throw new Error(`${found}: ${remedy}`);
      warn(`${found}; taking ${version}. To make the image reproducible again, ${remedy}`);
    }
  }
  const tar = Bun.spawnSync(["dpkg-deb", "--fsys-tarfile", file], { stderr: "inherit", maxBuffer: 1 << 30 });
  if (!tar.success) throw new Error(`${file}: dpkg-deb can't read it`);
  const { triplet } = architectures[architecture];
  const files = new Map<string, string>([
    ...libraryNames(architecture).map((name) => [`usr/lib/${triplet}/${name}`, name] as const),
    [copyrightPath, copyrightPath] as const,
  ]);
  const entries = await unpackTar(tar.stdout, { filter: ({ name }) => files.has(name.replace(/^\.\//, "")) });
  const contents = new Map(entries.map(({ header, data }) => [files.get(header.name.replace(/^\.\//, "")), data]));
  const content = (name: string): Uint8Array => {
    const data = contents.get(name);
    if (data === undefined) throw new Error(`${file} has no ${name}`);
    return data;
  };
  const control = fieldsOf(file);
  return {
    version: fieldOf(control, "Version"),
    release: pinned.release,
    libraries: new Map(libraryNames(architecture).map((name) => [name, content(name)])),
    copyright: content(copyrightPath),
    control: withoutRelations(control),
  };
}

const hashOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

const fieldOf = (control: string, field: string): string =>
  new RegExp(`^${field}: (.*)$`, "m").exec(control)?.[1] ?? "";

/** A control paragraph without what concerns packages that are not in the image, and in dpkg's spelling of a status. */
function withoutRelations(control: string): string {
  const kept = ["Package", "Source", "Version", "Architecture", "Maintainer", "Multi-Arch", "Section", "Homepage"];
  const lines = kept.flatMap((field) => {
    const value = fieldOf(control, field);
    return value === "" ? [] : [`${field}: ${value}`];
  });
  return `${lines.toSpliced(1, 0, "Status: install ok installed").join("\n")}\n`;
}
