// Does a registry take the image, with everything that is attached to it? A registry on loopback (Debian's docker-registry), and the tools that
// docs/deploy/images.md names: ORAS, and skopeo's library.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { architectureNames, nativeArchitecture, packagingCache } from "../../scripts/build/architectures.ts";
import { commandIn } from "../../scripts/common/command.ts";
import { downloadPackage, missingForPackages } from "../../scripts/image/debian.ts";
import { messageOf } from "../../src/text.ts";
import { until } from "../support/until.ts";
import manifest from "../../package.json" with { type: "json" };
import { goProgram } from "./go-program.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const work = mkdtempSync(join(tmpdir(), "sriovdp-registry-"));

/** Debian's registry: one program, taken out of its package. */
function findRegistry(): { path: string; missing: null } | { path: null; missing: string } {
  const found = Bun.which("docker-registry") ?? join(packagingCache, "docker-registry");
  if (existsSync(found)) return { path: found, missing: null };
  const missing = missingForPackages();
  if (missing !== null) return { path: null, missing };
  try {
    mkdirSync(packagingCache, { recursive: true });
    const archive = downloadPackage("docker-registry", "trixie", nativeArchitecture, work);
    commandIn(work, "dpkg-deb", "-x", archive, join(work, "package"));
    renameSync(join(work, "package/usr/bin/docker-registry"), found);
    return { path: found, missing: null };
  } catch (error) {
    return { path: null, missing: `there is no docker-registry: ${messageOf(error).split("\n")[0]}` };
  }
}

const oras = goProgram("oras", { package: "oras.land/oras/cmd/oras" });
// What podman, CRI-O and skopeo read images with; without cgo, as far as archives and registries go.
const library = goProgram("containers-image", {
  tags: "containers_image_openpgp,containers_image_storage_stub,containers_image_docker_daemon_stub",
});
const helm = goProgram("helm", { package: "helm.sh/helm/v4/cmd/helm" });
const registry = findRegistry();
const missing = oras.missing ?? registry.missing ?? missingPrograms("npm", "tar");

const tag = "0.0.1-test";
const archive = join(work, "image.tar");
let server: Bun.Subprocess | null = null;
let address = "";

/** A port of loopback that is free now. */
function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

beforeAll(async () => {
  if (missing !== null) return;
  commandIn(root, process.execPath, "scripts/image/image.ts", "--tag", `localhost/sriovdp:${tag}`, "--out", archive);
  address = `127.0.0.1:${freePort()}`;
  const config = {
    version: "0.1",
    log: { level: "error" },
    storage: { filesystem: { rootdirectory: join(work, "storage") } },
  };
  writeFileSync(join(work, "registry.json"), JSON.stringify({ ...config, http: { addr: address } }));
  server = Bun.spawn([registry.path ?? "", "serve", join(work, "registry.json")], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const answers = async () => (await fetch(`http://${address}/v2/`).catch(() => null))?.ok === true;
  await until("the registry answers", answers, { found: () => `exit code ${server?.exitCode}` });
});
afterAll(async () => {
  server?.kill();
  await server?.exited;
  rmSync(work, { recursive: true, force: true });
});

/** Runs ORAS with a home of its own; returns what it printed. */
function runOras(...args: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([oras.path ?? "oras", ...args], {
    cwd: work,
    env: { HOME: work },
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!success) throw new Error(`oras ${args.join(" ")}: ${stderr}`);
  return stdout.toString();
}

interface Index {
  readonly manifests: readonly {
    readonly digest: string;
    readonly artifactType?: string;
    readonly platform: { readonly architecture: string; readonly os: string };
  }[];
}

/** Requests an index or a manifest from the registry itself, by tag or digest. */
const manifestOf = (name: string, reference: string): Promise<Response> =>
  fetch(`http://${address}/v2/${name}/manifests/${reference}`, {
    headers: { accept: "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json" },
  });

const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const repository = () => `${address}/sriovdp`;
const inLayout = (path: string) => commandIn(work, "tar", "-xOf", archive, path);

describe("a registry on loopback", () => {
  testWhere(
    missing,
    "takes the index with the images of all architectures, and gives the digests that the build printed",
    async () => {
      runOras("cp", "--from-oci-layout", `${archive}:${tag}`, "--to-plain-http", `${repository()}:${tag}`);
      const accept = "application/vnd.oci.image.index.v1+json";
      const answer = await fetch(`http://${address}/v2/sriovdp/manifests/${tag}`, { headers: { accept } });
      const text = await answer.text();
      const [entry] = (JSON.parse(inLayout("index.json")) as Index).manifests;
      expect([answer.status, sha256(text)]).toEqual([200, entry?.digest ?? ""]);
      const { manifests } = JSON.parse(text) as Index;
      expect(manifests.map(({ platform }) => `${platform.os}/${platform.architecture}`)).toEqual(
        architectureNames.map((name) => `linux/${name}`),
      );
      for (const { digest } of manifests) {
        const manifest = await manifestOf("sriovdp", digest);
        expect([digest, manifest.status, sha256(await manifest.text())]).toEqual([digest, 200, digest]);
      }
    },
  );

  testWhere(missing, "gives each node the image of its architecture", () => {
    for (const architecture of architectureNames) {
      const config = runOras(
        "manifest",
        "fetch-config",
        "--plain-http",
        "--platform",
        `linux/${architecture}`,
        `${repository()}:${tag}`,
      );
      expect(JSON.parse(config)).toMatchObject({
        architecture,
        config: { Labels: { "org.opencontainers.image.version": tag, "org.opencontainers.image.title": "sriovdp" } },
      });
    }
  });

  testWhere(missing, "keeps SBOM and provenance as referrers of what they are about", () => {
    const index = JSON.parse(runOras("manifest", "fetch", "--plain-http", `${repository()}:${tag}`)) as Index;
    const attached = (subject: string, type: string, file: string) => {
      runOras("attach", "--plain-http", "--artifact-type", type, subject, `${basename(file)}:${type}`);
      const { referrers = [] } = JSON.parse(
        runOras("discover", "--plain-http", "--format", "json", "--artifact-type", type, subject),
      ) as { referrers?: { reference: string; artifactType: string }[] };
      expect(referrers.map(({ artifactType }) => artifactType)).toEqual([type]);
      runOras("pull", "--plain-http", "--output", join(work, "pulled"), referrers[0]?.reference ?? "");
      expect(readFileSync(join(work, "pulled", basename(file)), "utf8")).toBe(readFileSync(file, "utf8"));
    };
    for (const { digest, platform } of index.manifests)
      attached(
        `${repository()}@${digest}`,
        "application/vnd.cyclonedx+json",
        join(work, `image-${platform.architecture}.cdx.json`),
      );
    attached(`${repository()}:${tag}`, "application/vnd.in-toto+json", join(work, "image.provenance.json"));
  });

  testWhere(missing, "gives the SBOM that is in the image, and a provenance that names the image's digest", () => {
    const index = JSON.parse(runOras("manifest", "fetch", "--plain-http", `${repository()}:${tag}`)) as Index;
    const statement = JSON.parse(readFileSync(join(work, "image.provenance.json"), "utf8")) as {
      subject: { digest: { sha256: string } }[];
    };
    const [entry] = (JSON.parse(inLayout("index.json")) as Index).manifests;
    expect(statement.subject.map(({ digest }) => `sha256:${digest.sha256}`)).toEqual([
      entry?.digest ?? "",
      ...index.manifests.map(({ digest }) => digest),
    ]);
    for (const { digest, platform } of index.manifests) {
      const { layers } = JSON.parse(inLayout(`blobs/${digest.replace(":", "/")}`)) as { layers: { digest: string }[] };
      const layer = join(work, "layer.tar.gz");
      runOras("blob", "fetch", "--plain-http", "--output", layer, `${repository()}@${layers.at(-1)?.digest}`);
      const inImage = commandIn(work, "tar", "-xzOf", layer, "usr/share/doc/sriovdp/sbom.cdx.json");
      expect(inImage).toBe(readFileSync(join(work, `image-${platform.architecture}.cdx.json`), "utf8"));
    }
  });

  testWhere(missing ?? library.missing, "takes it from skopeo's library as well, with the same digest", async () => {
    const digest = commandIn(
      work,
      library.path ?? "",
      `oci-archive:${archive}:${tag}`,
      `docker://${address}/by-skopeo:${tag}`,
    );
    const [entry] = (JSON.parse(inLayout("index.json")) as Index).manifests;
    expect(digest.trim()).toBe(entry?.digest ?? "");
    expect(sha256(await (await manifestOf("by-skopeo", tag)).text())).toBe(entry?.digest ?? "");
  });
});

testWhere(
  missing ?? helm.missing,
  "the chart goes into the registry beside the image, and is installed from there",
  () => {
    const chart = join(root, "deployments/helm/sriovdp");
    const run = (...args: readonly string[]) => {
      const { success, stdout, stderr } = Bun.spawnSync([helm.path ?? "helm", ...args], {
        cwd: work,
        env: { HOME: work },
      });
      if (!success) throw new Error(`helm ${args.join(" ")}: ${stderr}`);
      return stdout.toString();
    };
    run("package", chart);
    run("push", "--plain-http", `sriovdp-${manifest.version}.tgz`, `oci://${address}/charts`);
    const values = ["--set", "existingConfigMap=sriovdp-config", "--namespace", "kube-system"];
    const pulled = ["--plain-http", "--version", manifest.version, `oci://${address}/charts/sriovdp`];
    expect(run("template", "test", ...pulled, ...values)).toBe(run("template", "test", chart, ...values));
  },
);

describe("a node without a registry", () => {
  for (const architecture of architectureNames) {
    testWhere(
      missing ?? library.missing,
      `takes its image out of the archive, as podman load does, on ${architecture}`,
      () => {
        const [entry] = (JSON.parse(inLayout("index.json")) as Index).manifests;
        const index = JSON.parse(inLayout(`blobs/${entry?.digest.replace(":", "/")}`)) as Index;
        const expected = index.manifests.find(({ platform }) => platform.architecture === architecture);
        // Without a tag: podman load names none, and takes an archive of one entry alone.
        const folder = join(work, `on-${architecture}`);
        const digest = commandIn(work, library.path ?? "", `oci-archive:${archive}`, `dir:${folder}`, architecture);
        expect(digest.trim()).toBe(expected?.digest ?? "");
        expect(sha256(readFileSync(join(folder, "manifest.json")))).toBe(expected?.digest ?? "");
      },
    );
  }
});
