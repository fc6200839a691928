// Does the executable of each architecture do its work on that processor? Under QEMU's user mode, which translates its instructions and
// hands its system calls to this kernel: with the contract tests, on recorded nodes. Netlink is not emulated there.

import { afterAll, beforeAll, expect } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Architecture, architectures, packagingCache } from "../../scripts/build/architectures.ts";
import { commandIn } from "../../scripts/common/command.ts";
import { downloadPackage, missingForPackages } from "../../scripts/image/debian.ts";
import { count, parseJUnit } from "../vm/junit.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const work = mkdtempSync(join(tmpdir(), "sriovdp-arch-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Oldest processor of each that Bun, and so the executable, is made for. */
const processors = { amd64: ["qemu-x86_64", "Nehalem"], arm64: ["qemu-aarch64", "cortex-a53"] } as const;

const missing =
  process.arch === "x64"
    ? (missingPrograms("npm", "tar") ?? missingForPackages())
    : "QEMU is taken for an x86-64 machine";

/** Debian's QEMU, whose programs of the user mode are static. */
function qemu(program: string): string {
  const folder = join(packagingCache, "qemu-user");
  if (!existsSync(folder)) {
    mkdirSync(packagingCache, { recursive: true });
    const archive = downloadPackage("qemu-user", "trixie", "amd64", packagingCache);
    run("dpkg-deb", "-x", archive, join(work, "qemu-user"));
    renameSync(join(work, "qemu-user/usr/bin"), folder);
    rmSync(archive);
  }
  return join(folder, program);
}

const run = (program: string, ...args: readonly string[]): string => commandIn(root, program, ...args);

/** A program that runs the architecture's executable, in the image's own file system, as contract tests run theirs. */
function emulated(architecture: Architecture): string {
  const [program, processor] = processors[architecture];
  const wrapper = join(work, architecture);
  if (existsSync(wrapper)) return wrapper;
  const parts = join(work, `${architecture}.parts`);
  const image = join(work, `${architecture}.image`);
  run(process.execPath, "scripts/build/executable.ts", "--arch", architecture, "--outfile", join(parts, "sriovdp"));
  run(
    process.execPath,
    "scripts/image/image.ts",
    "--arch",
    architecture,
    "--executable",
    join(parts, "sriovdp"),
    "--folder",
    image,
  );
  writeFileSync(
    wrapper,
    `#!/bin/sh\nexec ${qemu(program)} -cpu ${processor} -L ${image} ${image}/usr/bin/sriovdp "$@"\n`,
  );
  chmodSync(wrapper, 0o755);
  return wrapper;
}

/** Runs tests of the fast suite with another executable, few at once and with more patience; returns what came of them. */
function contracts(architecture: Architecture, ...selection: readonly string[]): ReturnType<typeof count> {
  const report = join(work, `${architecture}.xml`);
  const { stdout, stderr } = Bun.spawnSync(
    [
      process.execPath,
      "test",
      "--max-concurrency=2",
      "--timeout=120000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...selection,
    ],
    {
      cwd: root,
      env: { ...process.env, SRIOVDP: emulated(architecture), SRIOVDP_PATIENCE: "6" },
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const results = parseJUnit(readFileSync(report, "utf8"), "bun test").filter(({ outcome }) => outcome !== "skipped");
  const said = (stdout.toString() + stderr.toString()).replaceAll(/^\((pass|skip)\).*\n/gm, "");
  if (results.some(({ outcome }) => outcome === "failed")) console.log(said);
  return count(results);
}

beforeAll(() => {
  if (missing === null) for (const architecture of ["amd64", "arm64"] as const) emulated(architecture);
});

for (const architecture of ["amd64", "arm64"] as const) {
  testWhere(
    missing,
    `the executable for ${architecture} runs on ${processors[architecture][1]}, and reports its architecture`,
    () => {
      const elf = readFileSync(join(work, `${architecture}.parts/sriovdp`)).readUInt16LE(18);
      expect(elf).toBe(architectures[architecture].machine);
      const arch = { amd64: "x64", arm64: "arm64" }[architecture];
      expect(run(emulated(architecture), "version").trimEnd()).toEndWith(`linux/${arch}`);
    },
  );
}

testWhere(missing, "the executable for arm64 gives pods what the one that the fast tests run gives them", () => {
  const { passed, failed } = contracts("arm64", "test/contract/golden.test.ts");
  console.log(`arm64: ${passed} contract tests of golden.test.ts passed, ${failed} failed`);
  expect(failed).toBe(0);
  expect(passed).toBeGreaterThan(30);
});

testWhere(missing, "the executable for arm64 follows its node and its kubelet while it runs", () => {
  const { passed, failed } = contracts(
    "arm64",
    "test/contract/registration.test.ts",
    "test/contract/pool-servers.test.ts",
    "test/contract/service-manager.test.ts",
    "-t",
    "watcher|service manager",
  );
  console.log(`arm64: ${passed} contract tests of a running plugin passed, ${failed} failed`);
  expect(failed).toBe(0);
  expect(passed).toBeGreaterThan(10);
});

testWhere(missing, "the executable for amd64 does its work on the oldest processor that it is made for", () => {
  const { passed, failed } = contracts("amd64", "test/contract/golden.test.ts", "-t", "vfio-vfs|rdma-vfs, by");
  console.log(`amd64 on Nehalem: ${passed} contract tests passed, ${failed} failed`);
  expect(failed).toBe(0);
  expect(passed).toBeGreaterThan(3);
});
