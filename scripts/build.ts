// Builds dist/sriovdp: one self-contained executable, compiled to bytecode, version and commit stamped in.
// Usage: bun scripts/build.ts [--outfile FILE] [--executable-path BUN] (another architecture's Bun, for cross-compiling)

import { $ } from "bun";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };

const { values } = parseArgs({
  options: { outfile: { type: "string", default: "dist/sriovdp" }, "executable-path": { type: "string" } },
});
const root = `${import.meta.dir}/..`;

/** Asks git; "" where there is no checkout. */
const git = async (...args: string[]) => (await $`git -C ${root} ${args}`.quiet().nothrow()).stdout.toString().trim();

const head = process.env["SRIOVDP_COMMIT"] ?? (await git("rev-parse", "--short=12", "HEAD"));
const dirty = head !== "" && process.env["SRIOVDP_COMMIT"] === undefined && (await git("status", "--porcelain")) !== "";
const commit = head === "" ? "unknown" : head + (dirty ? "-dirty" : "");

const build = Bun.spawnSync(
  [
    process.execPath,
    ...["build", `${root}/src/main.ts`, "--compile", "--minify", "--bytecode", "--sourcemap"],
    // A file named .env or bunfig.toml in the working folder must not change what the plugin does.
    ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
    ...["--define", 'process.env.NODE_ENV="production"'],
    ...["--define", `SRIOVDP_VERSION=${JSON.stringify(manifest.version)}`],
    ...["--define", `SRIOVDP_COMMIT=${JSON.stringify(commit)}`],
    ...(values["executable-path"] === undefined ? [] : [`--compile-executable-path=${values["executable-path"]}`]),
    ...["--outfile", values.outfile],
  ],
  { stdout: "ignore", stderr: "pipe" },
);
if (!build.success) {
  process.stderr.write(build.stderr);
  process.exit(1);
}
console.log(`built ${values.outfile}: sriovdp ${manifest.version} (${commit})`);
