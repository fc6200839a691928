// Are the dependencies pinned, and may they be redistributed? Every version exact, every package with a checksum and a license that is
// known to us. Does npm install it without a warning? Prints what does not hold, and fails.

import { readFileSync } from "node:fs";
import manifest from "../../package.json" with { type: "json" };

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly link?: boolean;
  readonly engines?: { readonly node?: string };
  readonly hasInstallScript?: boolean;
}

/** Licenses of packages that may be part of the executable or of its making; another one is to be read before it is added here. */
const known: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
]);

/** What is wrong with a manifest and its lock, one sentence a finding. */
export function findings(
  direct: Readonly<Record<string, string>>,
  locked: Readonly<Record<string, Locked>>,
): readonly string[] {
  const inexact = Object.entries(direct).flatMap(([name, version]) =>
    /^\d+\.\d+\.\d+$/.test(version) ? [] : [`${name} is required as "${version}"; pin one version`],
  );
  const packages = Object.entries(locked).filter(([path]) => path !== "");
  const unlocked = packages.flatMap(([path, { integrity }]) => (integrity ? [] : [`${path} has no checksum`]));
  const unlicensed = packages.flatMap(([path, { license = "" }]) => {
    const parts = license.replaceAll(/[()]/g, "").split(/ (?:AND|OR) /);
    return parts.every((part) => known.has(part)) ? [] : [`${path} has the license "${license}", which is not known`];
  });
  return [...inexact, ...unlocked, ...unlicensed];
}

/** The oldest Node.js whose npm is to install everything: that of "engines" in package.json. */
const oldestNode = "20.19.0";

/** What npm would warn of when it installs a lock's packages, one sentence a finding. */
export function npmWarnings(
  locked: Readonly<Record<string, Locked>>,
  allowScripts: Readonly<Record<string, boolean>>,
): readonly string[] {
  return Object.entries(locked).flatMap(([path, { engines, hasInstallScript }]) => {
    const name = path.replace(/^.*node_modules\//, "");
    const range = engines?.node ?? "*";
    return [
      ...(Bun.semver.satisfies(oldestNode, range)
        ? []
        : [`${path || "package.json"} requires Node ${range}; take a version for ${oldestNode}`]),
      ...(hasInstallScript && !(name in allowScripts)
        ? [`${path} has an install script; allow or deny it in allowScripts of package.json`]
        : []),
    ];
  });
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync(`${import.meta.dir}/../../package-lock.json`, "utf8")) as {
    packages: Record<string, Locked>;
  };
  const found = [
    ...findings({ ...manifest.dependencies, ...manifest.devDependencies }, lock.packages),
    ...npmWarnings(lock.packages, manifest.allowScripts),
  ];
  for (const finding of found) console.error(finding);
  process.exit(found.length > 0 ? 1 : 0);
}
