// How is a package of Debian fetched without installing anything? By the machine's own apt with a private state: its signature is
// checked, and any architecture can be had.

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
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Architecture } from "../build/architectures.ts";
import { command, commandIn } from "../common/command.ts";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** What this machine lacks to fetch packages, as a phrase; null when it lacks nothing. */
export function missingForPackages(): string | null {
  const absent = ["apt-get", "dpkg-deb"].find((program) => Bun.which(program) === null);
  if (absent !== undefined) return `there is no ${absent} here`;
  return existsSync(keyring) ? null : `there is no ${keyring} here`;
}

/**
 * Fetches a package's newest version in a suite with lists and status of our own; the mirror is the one that the machine's apt uses.
 * Returns the file in `cache`. Throws with what this machine lacks.
 */
export function downloadPackage(name: string, suite: string, architecture: Architecture, cache: string): string {
  const missing = missingForPackages();
  if (missing !== null) throw new Error(`${name} comes from a Debian package, and ${missing}`);
  const mirror =
    process.env["SRIOVDP_LAB_MIRROR"] ??
    command("apt-get", "indextargets", "--format", "$(REPO_URI)")
      .split("\n")
      .filter((line) => line !== "" && !line.includes("security"))
      .toSorted()[0];
  if (mirror === undefined)
    throw new Error(`${name} comes from a Debian package, and apt has no mirror: set SRIOVDP_LAB_MIRROR`);
  const state = mkdtempSync(join(tmpdir(), "sriovdp-apt-"));
  try {
    for (const folder of ["lists/partial", "cache/archives/partial", "files"]) {
      mkdirSync(join(state, folder), { recursive: true });
    }
    writeFileSync(join(state, "status"), "");
    writeFileSync(join(state, "sources.list"), `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`);
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
    apt("download", name);
    const [found = ""] = readdirSync(join(state, "files"));
    // apt writes an epoch's and a plus sign's place as %3a and %2b now and then.
    const file = join(cache, decodeURIComponent(found));
    const partial = `${file}.${process.pid}`;
    writeFileSync(partial, readFileSync(join(state, "files", found)));
    renameSync(partial, file);
    return file;
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

/** A package's control fields. */
export const fieldsOf = (file: string): string => command("dpkg-deb", "--field", file);
