// Builds dist/sriovdp: one self-contained executable, compiled to bytecode, version and commit stamped in.

import { architectureNamed, architectures, bunOf, nativeArchitecture } from "./architectures.ts";
import { argumentsOf } from "../common/arguments.ts";
import { commit, version } from "./checkout.ts";

const { values } = argumentsOf("npm run build -- [--arch amd64|arm64] [--outfile FILE] [--executable-path BUN]", {
  options: {
    arch: { type: "string" },
    outfile: { type: "string", default: "dist/sriovdp" },
    // The Bun that becomes the plugin, one for --arch; without either, it is that which runs this.
    "executable-path": { type: "string" },
  },
});
const root = `${import.meta.dir}/../..`;

const stamp = commit();
const architecture = architectureNamed(values.arch ?? nativeArchitecture);
const base = values["executable-path"] ?? (values.arch === undefined ? process.execPath : bunOf(architecture));

const build = Bun.spawnSync(
  [
    process.execPath,
    // The thread that scans the node is a program of its own.
    ...[
      "build",
      `${root}/src/main.ts`,
      `${root}/src/host/scan-worker.ts`,
      "--compile",
      "--minify",
      "--bytecode",
      "--sourcemap",
    ],
    // A file named .env or bunfig.toml in the working folder must not change what the plugin does.
    ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
    ...["--define", 'process.env.NODE_ENV="production"'],
    ...["--define", `SRIOVDP_VERSION=${JSON.stringify(version)}`],
    ...["--define", `SRIOVDP_COMMIT=${JSON.stringify(stamp)}`],
    // grpc-js looks for files that we don't use where it was installed: the same sources give the same bytes in any folder.
    ...["--define", '__dirname="/"'],
    // Entry points are below their common folder, src/.
    ...["--define", `SRIOVDP_SCAN_WORKER="/$bunfs/root/host/scan-worker.js"`],
    `--target=${architectures[architecture].target}`,
    `--compile-executable-path=${base}`,
    ...["--outfile", values.outfile],
  ],
  { stdout: "ignore", stderr: "pipe" },
);
if (!build.success) {
  process.stderr.write(build.stderr);
  process.exit(1);
}
console.log(`built ${values.outfile}: sriovdp ${version} (${stamp})`);
