// Where does the image's glibc come from? From Debian's package libc6, at a pinned version: fetched by the machine's own apt with
// a private state, so that nothing is installed, its signature is checked, and any architecture can be had. Or from a Debian root.

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { unpackTar } from "modern-tar";

/** Debian's names of an architecture, and the path at which its executables look for their loader. */
export const architectures = {
  amd64: { triplet: "x86_64-linux-gnu", loader: "lib64/ld-linux-x86-64.so.2" },
  arm64: { triplet: "aarch64-linux-gnu", loader: "lib/ld-linux-aarch64.so.1" },
} as const;

export type Architecture = keyof typeof architectures;

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

/** glibc from Debian's package. `locked` refuses any other version than the pinned one; else another one is taken and told by `warn`. */
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
    file = download(architecture, cache);
    const hash = hashOf(file);
    if (hash !== pinned.sha256[architecture]) {
      const version = fieldOf(command("dpkg-deb", "--field", file), "Version");
      const found = `Debian ${pinned.suite} has libc6 ${version} for ${architecture} by now, ${pinned.version} is pinned`;
      const remedy = `pin version ${JSON.stringify(version)} and ${architecture}: ${JSON.stringify(hash)} in scripts/image/glibc.ts`;
      if (locked) throw new Error(`${found}: ${remedy}`);
      warn(`${found}; taking ${version}. To make the image reproducible again, ${remedy}`);
    }
  }
  const tar = Bun.spawnSync(["dpkg-deb", "--fsys-tarfile", file], { stderr: "inherit", maxBuffer: 1 << 30 });
  if (!tar.success) throw new Error(`${file}: dpkg-deb can't read it`);
  const { triplet } = architectures[architecture];
  const wanted = new Map<string, string>([
    ...libraryNames(architecture).map((name) => [`usr/lib/${triplet}/${name}`, name] as const),
    [copyrightPath, copyrightPath] as const,
  ]);
  const entries = await unpackTar(tar.stdout, { filter: ({ name }) => wanted.has(name.replace(/^\.\//, "")) });
  const contents = new Map(entries.map(({ header, data }) => [wanted.get(header.name.replace(/^\.\//, "")), data]));
  const content = (name: string): Uint8Array => {
    const data = contents.get(name);
    if (data === undefined) throw new Error(`${file} has no ${name}`);
    return data;
  };
  const control = command("dpkg-deb", "--field", file);
  return {
    version: fieldOf(control, "Version"),
    release: pinned.release,
    libraries: new Map(libraryNames(architecture).map((name) => [name, content(name)])),
    copyright: content(copyrightPath),
    control: withoutRelations(control),
  };
}

/** Fetches libc6 with lists and status of our own; the mirror is the one that the machine's apt uses. Gives the file in `cache`. */
function download(architecture: Architecture, cache: string): string {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  if (!Bun.which("apt-get") || !Bun.which("dpkg-deb") || !existsSync(keyring)) {
    throw new Error(
      `glibc comes from a Debian package, and there is no apt-get, dpkg-deb or ${keyring} here: give a Debian root by --glibc-root`,
    );
  }
  const mirror =
    process.env["SRIOVDP_LAB_MIRROR"] ??
    command("apt-get", "indextargets", "--format", "$(REPO_URI)")
      .split("\n")
      .filter((line) => line !== "" && !line.includes("security"))
      .toSorted()[0];
  if (mirror === undefined)
    throw new Error("apt knows no package mirror: give one by SRIOVDP_LAB_MIRROR, or --glibc-root");
  const state = mkdtempSync(join(tmpdir(), "sriovdp-apt-"));
  try {
    for (const folder of ["lists/partial", "cache/archives/partial", "files"]) {
      mkdirSync(join(state, folder), { recursive: true });
    }
    writeFileSync(join(state, "status"), "");
    writeFileSync(join(state, "sources.list"), `deb [signed-by=${keyring}] ${mirror} ${pinned.suite} main\n`);
    const settings = [
      `Dir::Etc::sourcelist=${state}/sources.list`,
      ...["Dir::Etc::sourceparts=/dev/null", "Dir::Etc::preferencesparts=/dev/null"],
      ...[`Dir::State=${state}`, `Dir::State::lists=${state}/lists`, `Dir::State::status=${state}/status`],
      ...[`Dir::Cache=${state}/cache`, "APT::Sandbox::User=root", "Debug::NoLocking=1", "Acquire::Retries=3"],
      ...[`APT::Architecture=${architecture}`, `APT::Architectures=${architecture}`, "Acquire::Languages=none"],
      "APT::Update::Error-Mode=any",
    ].flatMap((setting) => ["-o", setting]);
    const apt = (...args: string[]) => commandIn(join(state, "files"), "apt-get", "-q", ...settings, ...args);
    apt("update");
    apt("download", "libc6");
    const [name = ""] = readdirSync(join(state, "files"));
    // apt writes an epoch's and a plus sign's place as %3a and %2b now and then.
    const file = join(cache, decodeURIComponent(name));
    const partial = `${file}.${process.pid}`;
    writeFileSync(partial, readFileSync(join(state, "files", name)));
    renameSync(partial, file);
    return file;
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

const command = (program: string, ...args: string[]): string => commandIn(".", program, ...args);

function commandIn(cwd: string, program: string, ...args: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([program, ...args], { cwd, stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${program} ${args.at(-1)}: ${stderr.toString().trim() || stdout.toString().trim()}`);
  return stdout.toString();
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
