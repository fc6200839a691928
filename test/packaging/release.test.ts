// Does the release script do what it says, and do the same sources give the same bytes in any folder?

import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Architecture, architectureNames } from "../../scripts/build/architectures.ts";
import { version } from "../../scripts/build/checkout.ts";
import { edits, type Release, released } from "../../scripts/release/edits.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const work = mkdtempSync(join(tmpdir(), "sriovdp-release-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const texts = (): Record<string, string> =>
  Object.fromEntries(Object.keys(edits).map((file) => [file, readFileSync(join(root, file), "utf8")]));
const digest = `sha256:${"a1".repeat(32)}`;
const release: Release = { version: "9.8.7", previous: version, date: "2030-01-02", digests: { DEBIAN: digest } };

describe("a release", () => {
  test("changes the version wherever it is named, and nothing else", () => {
    const before = texts();
    const after = released(before, { ...release, digests: {} });
    for (const [file, text] of Object.entries(after)) {
      const old = (before[file] ?? "").split("\n");
      const changed = text.split("\n").filter((line) => !old.includes(line));
      for (const line of changed) expect([file, line]).toEqual([file, expect.stringContaining("9.8.7")]);
      expect([file, changed.length > 0]).toEqual([file, file !== "Dockerfile"]);
    }
    expect(JSON.parse(after["package.json"] ?? "").version).toBe("9.8.7");
    const lock = JSON.parse(after["package-lock.json"] ?? "");
    expect([lock.version, lock.packages[""].version]).toEqual(["9.8.7", "9.8.7"]);
  });

  test("moves the unreleased notes to the version, and leaves an empty section", () => {
    const changelog = released(texts(), release)["CHANGELOG.md"] ?? "";
    expect(changelog).toContain("## [Unreleased]\n\n## [9.8.7] - 2030-01-02\n\n### Added\n");
    expect(() => released({ ...texts(), "CHANGELOG.md": changelog }, { ...release, version: "9.8.8" })).toThrow(
      'CHANGELOG.md: "Unreleased" says nothing',
    );
  });

  test("fills the digests of the Dockerfile's bases, behind their tags, and again with others", () => {
    const dockerfile = released(texts(), release)["Dockerfile"] ?? "";
    expect(dockerfile).toMatch(new RegExp(`^ARG DEBIAN=debian:[\\d.]+-slim@${digest}$`, "m"));
    expect(dockerfile).toMatch(/^ARG BUN=[^@]+$/m);
    const other = digest.replace("a1", "b2");
    const again = released({ ...texts(), Dockerfile: dockerfile }, { ...release, digests: { DEBIAN: other } })[
      "Dockerfile"
    ];
    expect(again).toBe(dockerfile.replace(digest, other));
  });

  test("refuses versions that don't follow, invalid digests, and files that are not as they should be", () => {
    for (const [change, message] of [
      [{ version }, "does not follow"],
      [{ version: "0.0.1" }, "does not follow"],
      [{ version: "next" }, "next is no version"],
      [{ digests: { DEBIAN: "sha256:12" } }, "Dockerfile: a digest is"],
      [{ digests: { ALPINE: digest } }, "Dockerfile: there is no base ALPINE"],
    ] as const)
      expect(() => released(texts(), { ...release, ...change })).toThrow(message);
    expect(() => released({ ...texts(), "deployments/base/daemonset.yaml": "" }, release)).toThrow(
      "deployments/base/daemonset.yaml: there is no",
    );
  });

  test("prepared as a dry run says what it would change, and changes nothing", () => {
    const before = texts();
    const { exitCode, stdout } = Bun.spawnSync(
      [process.execPath, "scripts/release/release.ts", "prepare", "9.8.7", "--digest", `BUN=${digest}`, "--dry-run"],
      { cwd: root, stdout: "pipe", stderr: "inherit" },
    );
    expect([exitCode, stdout.toString()]).toEqual([0, expect.stringContaining("would change CHANGELOG.md\n")]);
    for (const file of Object.keys(edits)) expect(stdout.toString()).toContain(`would change ${file}\n`);
    expect(texts()).toEqual(before);
  });

  test("is not built from a checkout with changes", () => {
    const { exitCode, stderr } = Bun.spawnSync(
      [process.execPath, "scripts/release/release.ts", "build", "--folder", join(work, "none")],
      {
        cwd: root,
        env: { ...process.env, SRIOVDP_COMMIT: "0123456789ab-dirty" },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    expect([exitCode, stderr.toString()]).toEqual([1, expect.stringContaining("is built from a commit")]);
  });
});

describe("the same sources give the same bytes", () => {
  const commit = { SRIOVDP_COMMIT: "0123456789ab" };

  function executable(folder: string, architecture: Architecture): Buffer {
    const out = join(folder, "dist/reproduced", architecture, "sriovdp");
    const { success, stderr } = Bun.spawnSync(
      [process.execPath, "scripts/build/executable.ts", "--arch", architecture, "--outfile", out],
      {
        cwd: folder,
        env: { ...process.env, ...commit },
        stdout: "ignore",
        stderr: "pipe",
      },
    );
    if (!success) throw new Error(stderr.toString());
    const bytes = readFileSync(out);
    rmSync(join(folder, "dist/reproduced", architecture), { recursive: true });
    return bytes;
  }

  for (const architecture of architectureNames) {
    testWhere(
      missingPrograms("npm", "tar"),
      `in two folders, for ${architecture}, and these are not named in them`,
      () => {
        const copy = mkdtempSync(join(work, "another-place-"));
        for (const name of [
          "src",
          "docs",
          "native",
          "scripts",
          "proto",
          "package.json",
          "package-lock.json",
          "tsconfig.json",
          "bunfig.toml",
          "node_modules",
        ])
          cpSync(join(root, name), join(copy, name), { recursive: true, verbatimSymlinks: true });
        const here = executable(root, architecture);
        const there = executable(copy, architecture);
        expect(Bun.hash(there)).toBe(Bun.hash(here));
        expect(there.equals(here)).toBeTrue();
        for (const folder of [root, copy]) expect(here.includes(folder)).toBeFalse();
        rmSync(copy, { recursive: true });
      },
    );
  }
});
