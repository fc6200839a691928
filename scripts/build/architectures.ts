// For which machines is the executable built, and with which Bun? Bun's own packages of the version in package.json, fetched once by
// `npm pack`, checked, and kept in a cache.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import lock from "../../package-lock.json" with { type: "json" };
import manifest from "../../package.json" with { type: "json" };
import { command } from "../common/command.ts";

interface Target {
  /** Bun's package. */
  readonly bun: string;
  /** Bun's name of the machine: the bundler writes process.arch of it into the code. */
  readonly target: string;
  /** e_machine of its ELF header (include/uapi/linux/elf-em.h). */
  readonly machine: number;
  /** Debian's name of the architecture in paths of libraries. */
  readonly triplet: string;
  /** The path of the loader in its executables. */
  readonly loader: string;
}

/**
 * The Bun that was found to abort on arm64 kernels with 64 KiB pages (oven-sh/bun 6241, 17627: its JavaScript engine is built
 * for pages of at most 16 KiB). An upgrade tries the new one there; where it runs, README.md, docs/deploy/cluster.md, docs/deploy/systemd.md,
 * the unit's ExecCondition, the DaemonSet's affinity and install.sh's check have one thing less to say.
 */
export const abortsOn64KiBPages = "1.4.5";

/** By the names of Debian, OCI images and Kubernetes. Bun has no port to ppc64le and s390x. */
export const architectures = {
  // Bun's package for older processors, bun-linux-x64-baseline, has the same bytes in 1.4.5: one executable serves all with SSE 4.2.
  amd64: {
    bun: "@oven/bun-linux-x64",
    target: "bun-linux-x64",
    machine: 62,
    triplet: "x86_64-linux-gnu",
    loader: "lib64/ld-linux-x86-64.so.2",
  },
  arm64: {
    bun: "@oven/bun-linux-aarch64",
    target: "bun-linux-arm64",
    machine: 183,
    triplet: "aarch64-linux-gnu",
    loader: "lib/ld-linux-aarch64.so.1",
  },
} as const satisfies Readonly<Record<string, Target>>;

export type Architecture = keyof typeof architectures;

export const architectureNames = Object.keys(architectures) as Architecture[];

/** The architecture of this machine. */
export const nativeArchitecture: Architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** Where things are kept that were fetched for building and testing what is delivered. */
export const packagingCache = join(
  process.env["XDG_CACHE_HOME"] ?? join(process.env["HOME"] ?? homedir(), ".cache"),
  "sriovdp-packaging",
);

/** Throws unless the name is in the table. */
export function architectureNamed(name: string): Architecture {
  if (Object.hasOwn(architectures, name)) return name as Architecture;
  throw new Error(`the architecture is one of ${architectureNames.join(", ")}, not ${name}`);
}

const version: string = manifest.devDependencies.bun;

/**
 * The Bun executable of an architecture, which `bun build --compile` makes the plugin of: always that of the package, since what npm
 * installs depends on the processor of the machine; fetched when it is not in the cache.
 */
export function bunOf(name: Architecture): string {
  const packageName = architectures[name].bun;
  const folder = join(packagingCache, `${packageName.replace("@oven/", "")}-${version}`);
  const executable = join(folder, "bin/bun");
  if (existsSync(executable)) return executable;
  const locked = (lock.packages as Readonly<Record<string, { version?: string; integrity?: string }>>)[
    `node_modules/${packageName}`
  ];
  if (locked?.version !== version || locked.integrity === undefined) {
    throw new Error(`package-lock.json has no hash of ${packageName} ${version}: run npm install`);
  }
  fetchPackage(`${packageName}@${version}`, locked.integrity, folder);
  return executable;
}

/** Unpacks a package of npm's registry into a folder, once its hash is right. */
function fetchPackage(spec: string, integrity: string, folder: string): void {
  if (Bun.which("npm") === null)
    throw new Error(`npm is needed to fetch ${spec}; or give another architecture's Bun by --executable-path`);
  mkdirSync(packagingCache, { recursive: true });
  const work = mkdtempSync(`${folder}.`);
  try {
    const [packed] = JSON.parse(command("npm", "pack", spec, "--json", "--pack-destination", work)) as [
      { filename: string },
    ];
    const archive = join(work, packed.filename.replace("@", "").replace("/", "-"));
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== integrity) throw new Error(`${spec}: its hash is ${found}, expected ${integrity}`);
    command("tar", "-xzf", archive, "-C", work);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(work, "package"), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
