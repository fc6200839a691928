import { expect, test } from "bun:test";
import { findings, npmWarnings } from "../../scripts/check/dependencies.ts";

const good = { integrity: "sha512-x", license: "MIT" };

test("exact versions with checksums and known licenses are all right", () => {
  expect(
    findings(
      { a: "1.2.3" },
      { "": {}, "node_modules/a": good, "node_modules/b": { ...good, license: "(MIT OR Apache-2.0)" } },
    ),
  ).toEqual([]);
});

test.each(["^1.2.3", "~1.2.3", "*", "latest", "1.x", ">=1.0.0", "git+ssh://x", "file:../x"])(
  "a version of %p is reported",
  (version) => {
    expect(findings({ a: version }, {})).toEqual([expect.stringContaining(version)]);
  },
);

test("a missing checksum, and a license that is missing or unknown, are reported", () => {
  const locked = {
    "node_modules/a": { license: "MIT" },
    "node_modules/b": { integrity: "x" },
    "node_modules/c": { ...good, license: "MIT AND GPL-3.0-only" },
  };
  expect(findings({}, locked)).toEqual([
    "node_modules/a has no checksum",
    expect.stringContaining("node_modules/b has the license"),
    expect.stringContaining("GPL-3.0-only"),
  ]);
});

test("packages that npm would warn of are found", () => {
  const locked = {
    "": { engines: { node: ">=20" } },
    "node_modules/old": { engines: { node: "^14.18.0 || >=16.10.0" } },
    "node_modules/new": { engines: { node: ">=22" } },
    "node_modules/either": { engines: { node: "^20.19.0 || >=22.12.0" }, hasInstallScript: true },
    "node_modules/@a/b": { hasInstallScript: true },
    "node_modules/a/node_modules/c": { hasInstallScript: true },
  };
  expect(npmWarnings(locked, { either: true, c: false })).toEqual([
    "node_modules/new requires Node >=22; take a version for 20.19.0",
    "node_modules/@a/b has an install script; allow or deny it in allowScripts of package.json",
  ]);
});
