// Makes a release, in two steps with a commit between them. It never commits, tags or sends anything anywhere.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { architectureNames } from "../build/architectures.ts";
import { argumentsOf, misused } from "../common/arguments.ts";
import { commit, version } from "../build/checkout.ts";
import { edits, released } from "./edits.ts";

const root = join(import.meta.dir, "../..");

const usage = `bun scripts/release/release.ts prepare VERSION [--digest NAME=sha256:…]… [--dry-run]
         the version in all files that name it, the changelog's section, digests of the Dockerfile's bases (DEBIAN, BUN)
       bun scripts/release/release.ts build [--folder DIR] [--any-glibc]
         the image with SBOMs and provenance, bundles of all architectures and SHA256SUMS, from a checkout without changes`;
const { values, positionals } = argumentsOf(usage, {
  allowPositionals: true,
  options: {
    digest: { type: "string", multiple: true, default: [] },
    "dry-run": { type: "boolean", default: false },
    folder: { type: "string" },
    "any-glibc": { type: "boolean", default: false },
  },
});

function prepare(next: string | undefined): void {
  if (next === undefined) throw new Error("which version? bun scripts/release/release.ts prepare VERSION");
  const texts = Object.fromEntries(Object.keys(edits).map((file) => [file, readFileSync(join(root, file), "utf8")]));
  const digests = Object.fromEntries(
    values.digest.map((given) => [given.slice(0, given.indexOf("=")), given.slice(given.indexOf("=") + 1)]),
  );
  const date = new Date().toISOString().slice(0, 10);
  const changed = Object.entries(released(texts, { version: next, previous: version, date, digests })).filter(
    ([file, text]) => text !== texts[file],
  );
  for (const [file, text] of changed) {
    console.log(`${values["dry-run"] ? "would change" : "changed"} ${file}`);
    if (!values["dry-run"]) writeFileSync(join(root, file), text);
  }
  if (Object.keys(digests).length === 0)
    console.log("the Dockerfile's bases stay pinned by their tags: no --digest was given");
  console.log(
    `next: review the changes, commit them, tag the commit v${next}, then: bun scripts/release/release.ts build`,
  );
}

function build(): void {
  const stamp = commit();
  if (stamp === "unknown" || stamp.endsWith("-dirty")) {
    throw new Error(`a release is built from a commit, and this checkout is ${stamp}: commit, or set SRIOVDP_COMMIT`);
  }
  const folder = resolve(values.folder ?? join(root, `dist/release-${version}`));
  mkdirSync(folder, { recursive: true });
  const flags = values["any-glibc"] ? [] : ["--locked"];
  const image = `sriovdp-${version}-image.tar`;
  const run = (path: string, ...args: readonly string[]): void => {
    const { success } = Bun.spawnSync([process.execPath, join(root, "scripts", path), ...args], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (!success) throw new Error(`${path} ${args.join(" ")} failed`);
  };
  run("image/image.ts", "--release", "--out", join(folder, image), ...flags);
  const bundles = architectureNames.map((architecture) => {
    const name = `sriovdp-${version}-${architecture}`;
    const anyGlibc = values["any-glibc"] ? ["--any-glibc"] : [];
    run("release/bundle.ts", "--arch", architecture, "--folder", folder, "--image", join(folder, image), ...anyGlibc);
    rmSync(join(folder, `${name}.parts`), { recursive: true });
    return `${name}.tar.gz`;
  });
  const stem = image.replace(/\.tar$/, "");
  const beside = [
    ...architectureNames.map((architecture) => `${stem}-${architecture}.cdx.json`),
    `${stem}.provenance.json`,
  ];
  const sums = [...bundles, image, ...beside].map((file) => {
    const hash = createHash("sha256").update(readFileSync(join(folder, file)));
    return `${hash.digest("hex")}  ${file}\n`;
  });
  writeFileSync(join(folder, "SHA256SUMS"), sums.join(""));
  console.log(`sriovdp ${version} (${stamp}) is in ${folder}:\n${sums.join("")}`);
}

try {
  const [command, next] = positionals;
  if (command === "prepare") prepare(next);
  else if (command === "build") build();
  else misused("prepare or build?", usage);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
