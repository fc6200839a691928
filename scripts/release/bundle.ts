// Makes the archive for air-gapped sites: executable, systemd's unit, manifests, container image, sample config, documents, SBOM,
// licenses, checksums, and install.sh, which needs nothing else. One archive per architecture; the same commit gives the same bytes.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unpackTar } from "modern-tar";
import { architectureNamed, nativeArchitecture } from "../build/architectures.ts";
import { argumentsOf } from "../common/arguments.ts";
import { startProgress } from "../common/progress.ts";
import { thirdPartyNotices } from "./notices.ts";
import { bundledPackages } from "./bundled-packages.ts";
import { sbom } from "./sbom.ts";
import { sourceDate, version } from "../build/checkout.ts";
import { gzip, tarOf } from "../image/archive.ts";
import { type Entry, inOrder } from "../image/files.ts";
import { glibcOfPackage } from "../image/glibc.ts";

const root = join(import.meta.dir, "../..");

const { values } = argumentsOf(
  "npm run bundle -- [--arch amd64|arm64] [--folder DIR] [--image FILE] [--release] [--any-glibc]",
  {
    options: {
      arch: { type: "string", default: nativeArchitecture },
      folder: { type: "string", default: join(root, "dist") },
      // The archive that "npm run image" has made of the same commit; made now where none is given.
      image: { type: "string" },
      // The image is called by its version, as image.ts --release does it.
      release: { type: "boolean", default: false },
      // Take Debian's newest glibc, not only the pinned one.
      "any-glibc": { type: "boolean", default: false },
    },
  },
);

/** Runs another of our scripts by its path in scripts/; its output goes to standard error. */
function script(path: string, ...args: readonly string[]): void {
  const { success } = Bun.spawnSync([process.execPath, join(root, "scripts", path), ...args], {
    stdio: ["ignore", process.stderr.fd, process.stderr.fd],
  });
  if (!success) throw new Error(`${path} ${args.join(" ")} failed`);
}

/** The files below a folder as paths of the bundle, by the path that they have there. */
function tree(from: string, to: string): [string, Uint8Array][] {
  return (readdirSync(from, { recursive: true }) as string[])
    .filter((path) => statSync(join(from, path)).isFile())
    .map((path) => [`${to}/${path}`, new Uint8Array(readFileSync(join(from, path)))]);
}

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function main(): Promise<void> {
  const architecture = architectureNamed(values.arch);
  const name = `sriovdp-${version}-${architecture}`;
  // The executable contains the last part of the name that it was built under.
  const work = join(values.folder, `${name}.parts`);
  mkdirSync(work, { recursive: true });
  const part = (file: string) => join(work, file);
  const read = (path: string) => new Uint8Array(readFileSync(path));

  const progress = startProgress(() => "bundle");
  progress.step("bundle: the executable (1 of 3)");
  script("build/executable.ts", "--arch", architecture, "--outfile", part("sriovdp"));
  const packages = await bundledPackages();
  const executable = read(part("sriovdp"));
  const time = sourceDate();
  // The one that image.ts takes; it warns of another than the pinned one.
  const glibc = (await glibcOfPackage(architecture, !values["any-glibc"], () => {})).version;
  writeFileSync(part("THIRD-PARTY-NOTICES"), thirdPartyNotices(packages, glibc));
  writeFileSync(part("sbom.cdx.json"), sbom({ architecture, executable, packages, glibc, time }));
  progress.step("bundle: the image (2 of 3)");
  const image = values.image ?? part("image.tar");
  if (values.image === undefined) {
    const options = [...(values["any-glibc"] ? [] : ["--locked"]), ...(values.release ? ["--release"] : [])];
    script("image/image.ts", "--out", image, ...options);
  }
  const archive = read(image);
  const imageName = await nameIn(archive);
  // What is applied runs the image that is beside it.
  const manifests = tree(join(root, "deployments"), "").map(
    ([path, bytes]) => [path, path.endsWith(".yaml") ? namingImage(bytes, imageName) : bytes] as const,
  );

  const doc = "share/doc/sriovdp";
  const files = new Map<string, Uint8Array>([
    ["VERSION", Buffer.from(`${version} ${architecture}\n`)],
    ["install.sh", read(join(import.meta.dir, "bundle/install.sh"))],
    ["bin/sriovdp", executable],
    ["systemd/sriovdp.service", read(join(root, "deployments/sriovdp.service"))],
    ["config/config.json", read(join(import.meta.dir, "bundle/config.json"))],
    [`image/sriovdp-${imageName.replace(/^.*:/, "")}.tar`, archive],
    ...manifests
      .filter(([path]) => !path.endsWith(".service"))
      .map(([path, bytes]) => [`manifests${path}`, bytes] as const),
    // The documents lie as in the checkout, so that their links lead to what they mean, here and where they are installed.
    ...manifests.map(([path, bytes]) => [`${doc}/deployments${path}`, bytes] as const),
    ...tree(join(root, "docs"), `${doc}/docs`),
    ...["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Dockerfile"].map(
      (file) => [`${doc}/${file}`, read(join(root, file))] as const,
    ),
    ...["THIRD-PARTY-NOTICES", "sbom.cdx.json"].map((file) => [`${doc}/${file}`, read(part(file))] as const),
    ...extras(),
  ]);
  const sums = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([path, bytes]) => `${hash(bytes)}  ${path}\n`);
  files.set("SHA256SUMS", Buffer.from(sums.join("")));

  const entries: Entry[] = [...files].map(([path, content]) => ({
    path: `${name}/${path}`,
    content,
    mode: path === "install.sh" || path.startsWith("bin/") ? 0o755 : 0o644,
  }));
  progress.step("bundle: packing (3 of 3)");
  const bundle = gzip(await tarOf(inOrder(entries), time));
  const out = join(values.folder, `${name}.tar.gz`);
  writeFileSync(out, bundle);
  progress.stop();
  console.log(`built ${out}: ${(bundle.length / 2 ** 20).toFixed(1)} MiB, sha256 ${hash(bundle)}`);
}

/** The name under which an OCI archive is imported. */
async function nameIn(archive: Uint8Array): Promise<string> {
  const [entry] = await unpackTar(archive, { filter: ({ name }) => name === "index.json" });
  const index = JSON.parse(Buffer.from(entry?.data ?? []).toString() || "{}") as {
    manifests?: { annotations?: Record<string, string> }[];
  };
  const name = index.manifests?.[0]?.annotations?.["io.containerd.image.name"];
  if (name === undefined) throw new Error("the image's archive has no name (index.json, io.containerd.image.name)");
  return name;
}

/** A manifest that names this image in place of the release's; of the Helm chart it is the application's version. */
function namingImage(bytes: Uint8Array, image: string): Uint8Array {
  const text = Buffer.from(bytes)
    .toString()
    .replaceAll(`localhost/sriovdp:${version}`, image)
    .replace(`\nappVersion: ${version}\n`, `\nappVersion: ${image.replace(/^.*:/, "")}\n`);
  return Buffer.from(text);
}

/** What the command line makes for man and shells, from source, since an executable of another architecture does not run here. */
function extras(): [string, Uint8Array][] {
  const printed = (...args: readonly string[]) => {
    const stamped = ["--define", `SRIOVDP_VERSION=${JSON.stringify(version)}`, join(root, "src/main.ts")];
    const { success, stdout } = Bun.spawnSync([process.execPath, ...stamped, ...args], { stderr: "inherit" });
    if (!success) throw new Error(`sriovdp ${args.join(" ")} failed`);
    return new Uint8Array(stdout);
  };
  return [
    ["share/man/man8/sriovdp.8", printed("man")],
    ["share/bash-completion/completions/sriovdp", printed("completion", "bash")],
    ["share/zsh/site-functions/_sriovdp", printed("completion", "zsh")],
    ["share/fish/vendor_completions.d/sriovdp.fish", printed("completion", "fish")],
  ];
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
