// Builds dist/sriovdp: one self-contained executable, compiled to bytecode, version and commit stamped in.
// Usage: bun scripts/build.ts [--outfile FILE] [--executable-path BUN] (another architecture's Bun, for cross-compiling)

import { parseArgs } from "node:util";
import { commit, version } from "./checkout.ts";

const { values } = parseArgs({
  options: { outfile: { type: "string", default: "dist/sriovdp" }, "executable-path": { type: "string" } },
});
const root = `${import.meta.dir}/..`;

const stamp = commit();

const build = Bun.spawnSync(
  [
    process.execPath,
    ...["build", `${root}/src/main.ts`, "--compile", "--minify", "--bytecode", "--sourcemap"],
    // A file named .env or bunfig.toml in the working folder must not change what the plugin does.
    ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
    ...["--define", 'process.env.NODE_ENV="production"'],
    ...["--define", `SRIOVDP_VERSION=${JSON.stringify(version)}`],
    ...["--define", `SRIOVDP_COMMIT=${JSON.stringify(stamp)}`],
    ...(values["executable-path"] === undefined ? [] : [`--compile-executable-path=${values["executable-path"]}`]),
    ...["--outfile", values.outfile],
  ],
  { stdout: "ignore", stderr: "pipe" },
);
if (!build.success) {
  process.stderr.write(build.stderr);
  process.exit(1);
}
console.log(`built ${values.outfile}: sriovdp ${version} (${stamp})`);
