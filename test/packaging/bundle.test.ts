// Does the bundle for air-gapped sites do what is promised: complete, checked, installed without any network, upgraded, removed?

import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { nativeArchitecture } from "../../scripts/build/architectures.ts";
import { version } from "../../scripts/build/checkout.ts";
import { commandIn } from "../../scripts/common/command.ts";
import { missingForPackages } from "../../scripts/image/debian.ts";
import { bundledPackages } from "../../scripts/release/bundled-packages.ts";
import { loadConfig } from "../../src/config/load.ts";
import { readPage } from "../docs/pages.ts";
import { contents } from "./folder-contents.ts";
import { missingPrograms, missingRoot, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const work = mkdtempSync(join(tmpdir(), "sriovdp-bundle-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const name = `sriovdp-${version}-${nativeArchitecture}`;
const bundle = join(work, name);
const missing = missingPrograms("npm", "tar", "sha256sum", "unshare") ?? missingForPackages();
const missingNamespace =
  missing ??
  missingRoot ??
  (Bun.spawnSync(["unshare", "-n", "true"]).success ? null : "no network namespace can be made here");

beforeAll(() => {
  if (missing !== null) return;
  run(process.execPath, "scripts/release/bundle.ts", "--any-glibc", "--folder", work);
  run("tar", "-xzf", `${bundle}.tar.gz`, "-C", work);
  const [image = ""] = readdirSync(join(bundle, "image"));
  tag = image.replace(/^sriovdp-(.*)\.tar$/, "$1");
});

/** The tag of the bundle's image. */
let tag = "";

const run = (program: string, ...args: readonly string[]): string => commandIn(root, program, ...args);

/** Runs a bundle's install.sh where there is no network at all. */
function install(from: string, ...args: readonly string[]): { status: number; said: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["unshare", "-n", "sh", `${from}/install.sh`, ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
  });
  return { status: exitCode, said: stdout.toString() + stderr.toString() };
}

/** A new, empty system to install into. */
const system = () => mkdtempSync(join(work, "system-"));

/** The bundle as an older version: without what is new in this one, with what is gone in this one. */
function older(): string {
  const folder = join(work, "older");
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  for (const part of ["install.sh", "bin", "systemd", "config", "share"])
    cpSync(join(bundle, part), join(folder, part), { recursive: true });
  mkdirSync(join(folder, "image"));
  writeFileSync(join(folder, "VERSION"), `0.0.1 ${nativeArchitecture}\n`);
  rmSync(join(folder, "share/doc/sriovdp/CHANGELOG.md"));
  writeFileSync(join(folder, "share/doc/sriovdp/gone.md"), "no longer shipped\n");
  appendFileSync(join(folder, "systemd/sriovdp.service"), "# as it was\n");
  const sums = Object.entries(contents(folder)).map(([path, hash]) => `${hash}  ${path}\n`);
  writeFileSync(join(folder, "SHA256SUMS"), sums.join(""));
  return folder;
}

const unit = "etc/systemd/system/sriovdp.service";
const config = "etc/pcidp/config.json";
const doc = "usr/local/share/doc/sriovdp";

describe("the bundle", () => {
  testWhere(missing, "has a right checksum of every file but the list itself", () => {
    const listed = readFileSync(join(bundle, "SHA256SUMS"), "utf8").trimEnd().split("\n");
    const { SHA256SUMS: _, ...found } = contents(bundle);
    expect(Object.fromEntries(listed.map((line) => line.split("  ").toReversed()))).toEqual(found);
  });

  testWhere(missing, "has the image, the manifests, the documents and the licenses", () => {
    for (const path of [
      `image/sriovdp-${tag}.tar`,
      "manifests/base/daemonset.yaml",
      "share/doc/sriovdp/LICENSE",
      "share/doc/sriovdp/CHANGELOG.md",
      "share/doc/sriovdp/docs/deploy/air-gap.md",
      "share/doc/sriovdp/docs/reference/config.schema.json",
      "share/man/man8/sriovdp.8",
      "share/bash-completion/completions/sriovdp",
    ])
      expect([path, existsSync(join(bundle, path))]).toEqual([path, true]);
  });

  testWhere(missing, "has the image that npm run image makes, byte for byte", () => {
    run(process.execPath, "scripts/image/image.ts", "--out", join(work, "again.tar"));
    const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
    expect(sha256(join(bundle, `image/sriovdp-${tag}.tar`))).toBe(sha256(join(work, "again.tar")));
    const inBundle = readFileSync(join(bundle, "share/doc/sriovdp/sbom.cdx.json"), "utf8");
    expect(inBundle).toBe(readFileSync(join(work, `again-${nativeArchitecture}.cdx.json`), "utf8"));
  });

  testWhere(missing, "has manifests that run the image that is beside them, and no other", () => {
    const manifests = join(bundle, "manifests");
    const text = (path: string) => readFileSync(join(manifests, path), "utf8");
    expect(text("base/daemonset.yaml")).toContain(`image: localhost/sriovdp:${tag}\n`);
    expect(text("helm/sriovdp/Chart.yaml")).toContain(`\nappVersion: ${tag}\n`);
    const named = Object.keys(contents(manifests)).flatMap(
      (path) => text(path).match(/localhost\/sriovdp:[\w.-]+/g) ?? [],
    );
    expect(new Set(named)).toEqual(new Set([`localhost/sriovdp:${tag}`]));
  });

  testWhere(missing, "has documents whose links all lead to a file of it", () => {
    const folder = join(bundle, "share/doc/sriovdp");
    const pages = Object.keys(contents(folder)).filter((path) => path.endsWith(".md"));
    const dead = pages.flatMap((page) =>
      readPage(readFileSync(join(folder, page), "utf8"))
        .links.filter((link) => !/^(https?:|mailto:|#)/.test(link))
        .map((link) => [page, link.replace(/#.*$/, "")] as const)
        .filter(([, link]) => !existsSync(join(folder, dirname(page), link)))
        .map(([page, link]) => `${page}: ${link}`),
    );
    expect(pages.length).toBeGreaterThan(20);
    expect(dead).toEqual([]);
  });

  testWhere(
    missing,
    "names every package of which code is in the executable, with its license, and Bun's parts",
    async () => {
      const notices = readFileSync(join(bundle, "share/doc/sriovdp/THIRD-PARTY-NOTICES"), "utf8");
      const bom = JSON.parse(readFileSync(join(bundle, "share/doc/sriovdp/sbom.cdx.json"), "utf8"));
      const packages = await bundledPackages();
      expect(packages.map(({ name }) => name)).toContain("@bufbuild/protobuf");
      const libraries = bom.components.filter(({ purl }: { purl: string }) => purl.startsWith("pkg:npm/"));
      expect(libraries).toHaveLength(packages.length);
      for (const { name, version, license, texts } of packages) {
        expect(notices).toContain(`\n${name} ${version} (${license})\n`);
        for (const text of texts.values()) expect(notices).toContain(text);
        const component = bom.components.find((each: { name: string }) => each.name === name);
        expect(component).toMatchObject({
          version,
          purl: expect.stringContaining("pkg:npm/"),
          hashes: [{ alg: "SHA-512" }],
        });
      }
      const bun = bom.components.find((each: { name: string }) => each.name === "bun");
      expect(bun.version).toBe(Bun.version);
      expect(bun.components.map((part: { name: string }) => part.name)).toContain("boringssl");
      for (const text of ["GNU LESSER GENERAL PUBLIC LICENSE", "GNU LIBRARY GENERAL PUBLIC LICENSE", "bun-v1.4.5"])
        expect(notices).toContain(text);
    },
  );

  testWhere(
    missing,
    "has an SBOM of exactly its executable, valid, in which every reference leads somewhere",
    async () => {
      const text = readFileSync(join(bundle, "share/doc/sriovdp/sbom.cdx.json"), "utf8");
      expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot5).validate(text)).toBeNull();
      const bom = JSON.parse(text);
      const hash = createHash("sha256")
        .update(readFileSync(join(bundle, "bin/sriovdp")))
        .digest("hex");
      expect(bom.metadata.component.hashes).toEqual([{ alg: "SHA-256", content: hash }]);
      type Part = { "bom-ref": string; components?: Part[] };
      const refsOf = (parts: Part[]): string[] =>
        parts.flatMap((part) => [part["bom-ref"], ...refsOf(part.components ?? [])]);
      const refs = refsOf([bom.metadata.component, ...bom.components]);
      expect(new Set(refs).size).toBe(refs.length);
      for (const { ref, dependsOn } of bom.dependencies)
        for (const each of [ref, ...dependsOn]) expect(refs).toContain(each);
      expect(text).not.toContain(root);
    },
  );

  test("its sample config offers nothing, without a warning", () => {
    const text = readFileSync(join(root, "scripts/release/bundle/config.json"), "utf8");
    const loaded = loadConfig(text, { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 60 });
    expect([loaded.problems, loaded.specs]).toEqual([[], []]);
  });
});

describe("install.sh, without a network", () => {
  testWhere(missingNamespace, "installs what runs, and says what comes next", () => {
    const into = system();
    const { status, said } = install(bundle, "--root", into, "install");
    expect([status, said]).toEqual([0, expect.stringContaining(`the bundle is complete: sriovdp ${version}`)]);
    expect(said).toContain("systemctl enable --now sriovdp");
    expect(run(join(into, "usr/local/bin/sriovdp"), "version")).toStartWith(`sriovdp ${version} `);
    expect(readFileSync(join(into, unit), "utf8")).toContain("ExecStart=/usr/local/bin/sriovdp ");
    for (const path of [config, `${doc}/THIRD-PARTY-NOTICES`, `${doc}/sbom.cdx.json`])
      expect(existsSync(join(into, path))).toBeTrue();
    expect(run(join(into, "usr/local/bin/sriovdp"), "validate", "--config-file", join(into, config))).toContain(
      "is valid: 0 pools",
    );
  });

  testWhere(missingNamespace, "takes a relative root from where it is called", () => {
    const into = system();
    expect(install(bundle, "--root", relative(process.cwd(), into), "install").status).toBe(0);
    expect(existsSync(join(into, "usr/local/bin/sriovdp"))).toBeTrue();
  });

  testWhere(missingNamespace, "puts everything below another prefix, the unit's path included", () => {
    const into = system();
    expect(install(bundle, "--prefix=/opt/sriovdp", "--root", into, "install").status).toBe(0);
    expect(existsSync(join(into, "opt/sriovdp/bin/sriovdp"))).toBeTrue();
    expect(existsSync(join(into, "usr"))).toBeFalse();
    expect(readFileSync(join(into, unit), "utf8")).toContain("ExecStart=/opt/sriovdp/bin/sriovdp ");
  });

  testWhere(missingNamespace, "changes nothing the second time", () => {
    const into = system();
    install(bundle, "--root", into, "install");
    const before = contents(into);
    const { status, said } = install(bundle, "--root", into, "install");
    expect([status, said]).toEqual([0, expect.not.stringMatching(/^(write|remove) /m)]);
    expect(contents(into)).toEqual(before);
  });

  testWhere(missingNamespace, "does nothing with --dry-run, but says all that it would do", () => {
    const into = system();
    const { status, said } = install(bundle, "--dry-run", "--root", into, "install");
    expect([status, said]).toEqual([0, expect.stringContaining(`would write ${into}/usr/local/bin/sriovdp`)]);
    expect(said).toContain("nothing was done");
    expect(contents(into)).toEqual({});
    install(bundle, "--root", into, "install");
    const before = contents(into);
    for (const command of ["upgrade", "uninstall"]) {
      expect(install(bundle, "--dry-run", "--root", into, command).status).toBe(0);
      expect(contents(into)).toEqual(before);
    }
  });

  testWhere(missingNamespace, "refuses a bundle of which a byte is another one, or a file is missing", () => {
    const damaged = older();
    const document = join(damaged, "share/doc/sriovdp/docs/reference/health-and-exclusions.md");
    const content = readFileSync(document, "utf8");
    const into = system();
    for (const damage of [() => writeFileSync(document, `${content} `), () => rmSync(document)]) {
      damage();
      const { status, said } = install(damaged, "--root", into, "install");
      expect([status, said]).toEqual([
        1,
        expect.stringMatching(/health-and-exclusions\.md[^]*the bundle is damaged or incomplete/),
      ]);
    }
    writeFileSync(document, content);
    expect(contents(into)).toEqual({});
  });

  testWhere(
    missingNamespace,
    "upgrades from an older version: new files come, old ones go, what was edited stays",
    () => {
      const into = system();
      expect(install(older(), "--root", into, "install").status).toBe(0);
      const edited = '{ "resourceList": [{ "resourceName": "mine", "selectors": {} }] }\n';
      writeFileSync(join(into, config), edited);
      expect(install(bundle, "--root", into, "install")).toEqual({
        status: 1,
        said: expect.stringContaining("sriovdp 0.0.1 is installed: use upgrade"),
      });
      const { status, said } = install(bundle, "--root", into, "upgrade");
      expect([status, said]).toEqual([0, expect.stringContaining(`upgrading from 0.0.1 to ${version}`)]);
      expect(readFileSync(join(into, config), "utf8")).toBe(edited);
      expect(existsSync(join(into, doc, "gone.md"))).toBeFalse();
      expect(existsSync(join(into, doc, "CHANGELOG.md"))).toBeTrue();
      expect(readFileSync(join(into, unit), "utf8")).not.toContain("# as it was");
      // And back, with a unit that the operator has edited meanwhile.
      appendFileSync(join(into, unit), "# edited\n");
      expect(install(older(), "--root", into, "upgrade").status).toBe(0);
      expect(readFileSync(join(into, unit), "utf8")).toEndWith("# edited\n");
      expect(readFileSync(join(into, `${unit}.new`), "utf8")).toEndWith("# as it was\n");
      expect(existsSync(join(into, doc, "gone.md"))).toBeTrue();
    },
  );

  testWhere(missingNamespace, "upgrades nothing when the new version rejects the config file, unless forced to", () => {
    const into = system();
    install(older(), "--root", into, "install");
    writeFileSync(join(into, config), '{ "resourceList": [{ "resourceName": "a b" }] }');
    const before = contents(into);
    const { status, said } = install(bundle, "--root", into, "upgrade");
    expect([status, said]).toEqual([1, expect.stringContaining("rejects the config file; nothing was changed")]);
    expect(said).toContain("resourceList[0]");
    expect(contents(into)).toEqual(before);
    expect(install(bundle, "--force", "--root", into, "upgrade").status).toBe(0);
  });

  testWhere(missingNamespace, "removes all that it has installed, and no file of the operator's", () => {
    const into = system();
    install(bundle, "--root", into, "install");
    mkdirSync(dirname(join(into, doc, "notes/mine.md")), { recursive: true });
    writeFileSync(join(into, doc, "notes/mine.md"), "mine");
    appendFileSync(join(into, unit), "# edited\n");
    const { status, said } = install(bundle, "--root", into, "uninstall");
    expect([status, said]).toEqual([0, expect.stringContaining(`keeping ${into}/${unit}, which was edited`)]);
    expect(Object.keys(contents(into))).toEqual([config, unit, `${doc}/notes/mine.md`]);
    expect(install(bundle, "--root", into, "uninstall")).toEqual({
      status: 1,
      said: expect.stringContaining("nothing is installed"),
    });
  });

  testWhere(missingNamespace, "removes the config file too with --purge", () => {
    const into = system();
    install(bundle, "--root", into, "install");
    expect(install(bundle, "--purge", "--root", into, "uninstall").status).toBe(0);
    expect(contents(into)).toEqual({});
  });

  testWhere(missing, "reports wrong arguments", () => {
    for (const [args, said] of [
      [[], "Usage: "],
      [["install", "upgrade"], "one command at a time"],
      [["--prefix"], "--prefix needs a folder"],
      [["--prefix=opt", "install"], '--prefix is an absolute path, not "opt"'],
      [["deploy"], "unknown argument deploy"],
    ] as const)
      expect(install(bundle, ...args)).toEqual({ status: 1, said: expect.stringContaining(said) });
    expect(install(bundle, "--help").status).toBe(0);
  });
});
