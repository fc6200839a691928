// Where does a tool of the Go ecosystem come from? Its module is in a folder beside this file, or elsewhere in test/; it is built once for
// each state of that folder, outside the checkout, and kept.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { packagingCache } from "../../scripts/build/architectures.ts";

/** Further words for `go build`. */
interface Build {
  /** The package to build; the module's own by default. */
  readonly package?: string;
  /** Build tags, commas between them. */
  readonly tags?: string;
}

/**
 * The executable of the Go module in test/packaging/FOLDER, or what is missing for it, as a phrase. Takes up to minutes the first time; one process
 * of low priority, since other tests run beside it. Throws when the module is there and does not compile.
 */
export function goProgram(
  folder: string,
  { package: name = ".", tags = "" }: Build = {},
): { path: string; missing: null } | { path: null; missing: string } {
  if (Bun.which("go") === null) return { path: null, missing: "there is no go here" };
  const source = join(import.meta.dir, folder);
  const hash = createHash("sha256");
  for (const file of readdirSync(source).toSorted()) hash.update(file).update(readFileSync(join(source, file)));
  hash.update(name).update(tags).update(goVersion());
  const path = join(packagingCache, `${basename(folder)}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(path)) return { path, missing: null };
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly" };
  const go = (...args: readonly string[]) =>
    Bun.spawnSync(["nice", "-n", "10", "go", ...args], { cwd: source, env, stdout: "ignore", stderr: "pipe" });
  const fetched = go("list", "-deps", `-tags=${tags}`, name);
  if (!fetched.success) {
    const [reason] = fetched.stderr.toString().trim().split("\n").slice(-1);
    return { path: null, missing: `go can't fetch the modules of ${folder}: ${reason}` };
  }
  mkdirSync(packagingCache, { recursive: true });
  const partial = `${path}.${process.pid}`;
  const built = go("build", "-p", "1", "-trimpath", `-tags=${tags}`, "-ldflags=-s -w", "-o", partial, name);
  if (!built.success) {
    rmSync(partial, { force: true });
    throw new Error(`go build in test/packaging/${folder}: ${built.stderr}`);
  }
  renameSync(partial, path);
  return { path, missing: null };
}

const goVersion = (): string => Bun.spawnSync(["go", "version"]).stdout.toString();
