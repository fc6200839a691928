// run.ts [--containerd RELEASE] [NAME…]: boots the lab's guest and runs the guest tests (test/vm/guest/*.vm.ts) in it, all or those whose name
// contains a NAME. The executable under test, dist/sriovdp, is also what runs them: with BUN_BE_BUN=1 it is bun itself.
// Results: test-results/vm/, a folder a boot, and junit.xml over all of them.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { argumentsOf, oneOf } from "../../scripts/common/arguments.ts";
import { boot, type BootResult } from "./boot.ts";
import { count, formatJUnit, parseJUnit, type TestResult } from "./junit.ts";
import {
  containerdReleases,
  parseProfile,
  planBoots,
  testNames,
  type Boot,
  type GuestTest,
  type Profile,
} from "./profiles.ts";

const here = import.meta.dir;
const root = join(here, "../..");
const results = join(root, "test-results/vm");
const executable = process.env["SRIOVDP_EXECUTABLE"] ?? join(root, "dist/sriovdp");

const { values, positionals } = argumentsOf("npm run test:vm -- [--containerd 1.7|2] [NAME…]", {
  options: { containerd: { type: "string" } },
  allowPositionals: true,
});
const containerd =
  values.containerd === undefined ? null : oneOf("--containerd", values.containerd, containerdReleases);

async function main(parts: readonly string[]): Promise<number> {
  const tests = readGuestTests().filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)));
  if (tests.length === 0) throw new Error(`no guest test is named like ${parts.join(", ")}`);
  const found: TestResult[] = [];
  const add = (some: readonly TestResult[]) => {
    some.forEach(print);
    found.push(...some);
  };

  for (const disk of ["none", "node"] as const) {
    const ofDisk = tests.filter(({ profile }) => profile.disk === disk);
    if (ofDisk.length === 0) continue;
    const lab = await makeLab(ofDisk.map(({ profile }) => profile));
    if (lab === "made") {
      if (!existsSync(executable)) throw new Error(`there is no ${executable}: build it first (npm run build)`);
      for (const each of planBoots(ofDisk)) add(await runBoot(each));
    } else {
      const outcome = lab === "impossible" ? "skipped" : "failed";
      const message = lab === "impossible" ? "this machine can't have the lab" : "the lab could not be made";
      add(ofDisk.flatMap((test) => withoutRun(test, outcome, message)));
    }
  }

  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, "junit.xml"), formatJUnit(found));
  const { passed, failed, skipped } = count(found);
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return failed > 0 ? 1 : 0;
}

function readGuestTests(): GuestTest[] {
  const folder = join(here, "guest");
  return readdirSync(folder)
    .filter((name) => name.endsWith(".vm.ts"))
    .sort()
    .map((name) => {
      const path = join(folder, name);
      const source = readFileSync(path, "utf8");
      try {
        const written = parseProfile(source);
        const profile = written.disk === "node" && containerd !== null ? { ...written, containerd } : written;
        return { name: basename(name, ".vm.ts"), path, profile, tests: testNames(source) };
      } catch (cause) {
        throw new Error(`${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    });
}

async function makeLab(profiles: readonly Profile[]): Promise<"made" | "impossible" | "failed"> {
  const words = [
    profiles.some(({ disk }) => disk === "node") ? "node" : "base",
    ...(profiles.some((profile) => profile.containerd === "2") ? ["containerd-2"] : []),
  ];
  const make = Bun.spawn([join(here, "lab/make.sh"), ...words], { stdio: ["ignore", "inherit", "inherit"] });
  const status = await make.exited;
  return status === 0 ? "made" : status === 77 ? "impossible" : "failed";
}

function withoutRun({ name, tests }: GuestTest, outcome: "failed" | "skipped", message: string): TestResult[] {
  const names = tests.length > 0 ? tests : ["(tests of this file)"];
  return names.map((test) => ({ file: `${name}.vm.ts`, name: test, outcome, seconds: 0, message }));
}

/**
 * Boots and runs the boot's files. The emulated kernel hangs now and then, before init or later in a driver: files that left
 * no report are run once more, in a boot of their own.
 */
async function runBoot(planned: Boot, again = false): Promise<TestResult[]> {
  const folder = join(results, planned.name);
  const payload = mkdtempSync(join(tmpdir(), "sriovdp-payload-"));
  let found: Map<GuestTest, TestResult[]>;
  try {
    const reason = await fillPayload(planned, join(payload, "payload"));
    if (reason !== null) return planned.tests.flatMap((test) => withoutRun(test, "failed", reason));
    const limit = 120 + planned.tests.reduce((sum, { profile }) => sum + profile.limit, 0);
    console.log(`boot ${planned.name}: ${planned.tests.map(({ name }) => name).join(", ")}`);
    const result = await boot(planned.profile, join(payload, "payload"), folder, limit);
    found = new Map(planned.tests.map((test) => [test, resultsOf(test, folder, result)]));
    console.log(`boot ${planned.name}: ${result.seconds.toFixed(0)} s, ${describeEnd(result)}`);
  } finally {
    rmSync(payload, { recursive: true, force: true });
  }
  const silent = planned.tests.filter((test) => found.get(test)?.some(({ message }) => message?.startsWith(noReport)));
  if (silent.length > 0) console.log(consoleTail(folder));
  if (silent.length > 0 && !again) {
    console.log(`boot ${planned.name}: no report of ${silent.map(({ name }) => name).join(", ")}; once more`);
    const second = await runBoot({ ...planned, name: `${planned.name}-again`, tests: silent }, true);
    for (const test of silent) {
      const file = `${test.name}.vm.ts`;
      found.set(
        test,
        second.filter((each) => each.file === file),
      );
    }
  }
  return [...found.values()].flat();
}

const describeEnd = ({ status, timedOut }: BootResult): string =>
  timedOut ? "hung" : status === null ? "the guest ended without a status" : "the guest ended by itself";

const noReport = "no report from the guest";

function resultsOf(test: GuestTest, folder: string, { timedOut }: BootResult): TestResult[] {
  const file = `${test.name}.vm.ts`;
  const report = join(folder, `${test.name}.xml`);
  const statusFile = join(folder, `${test.name}.status`);
  const status = existsSync(statusFile) ? Number(readFileSync(statusFile, "utf8")) : null;
  if (!existsSync(report)) {
    // busybox's timeout ends what it runs by SIGKILL: 128 + 9.
    const reason =
      timedOut && status === null
        ? "the boot hung"
        : status === 137
          ? `longer than ${test.profile.limit} s`
          : `exit status ${status ?? "unknown"}`;
    return withoutRun(test, "failed", `${noReport}: ${reason}`);
  }
  const found = parseJUnit(readFileSync(report, "utf8"), file);
  // For instance a hook that failed, or an error between tests.
  if (status !== 0 && !found.some(({ outcome }) => outcome === "failed"))
    found.push({
      file,
      name: "(whole file)",
      outcome: "failed",
      seconds: 0,
      message: `exit status ${status ?? "unknown"}; see console.log`,
    });
  if (found.length === 0)
    found.push({ file, name: "(whole file)", outcome: "failed", seconds: 0, message: "ran no test" });
  return found;
}

/** Returns what is wrong with the test files when they can't be bundled. */
async function fillPayload({ tests }: Boot, payload: string): Promise<string | null> {
  mkdirSync(payload);
  copyFileSync(executable, join(payload, "sriovdp"));
  if (tests.some(({ profile }) => profile.needs === "image")) {
    // Under the name that the DaemonSet has.
    const named = ["--tag", `localhost/sriovdp:${manifest.version}`];
    const image = ["scripts/image/image.ts", "--executable", executable, ...named, "--out", join(payload, "image.tar")];
    const made = Bun.spawnSync([process.execPath, ...image], { cwd: root, stdout: "inherit", stderr: "pipe" });
    if (!made.success) return `the container image can't be made: ${made.stderr.toString()}`;
  }
  // For docs.vm.ts, which runs the commands in them.
  cpSync(join(root, "docs"), join(payload, "docs"), {
    recursive: true,
    filter: (path) => !extname(path) || extname(path) === ".md",
  });
  cpSync(join(root, "deployments"), join(payload, "deployments"), { recursive: true });
  cpSync(join(root, "scripts/release/bundle"), join(payload, "bundle"), { recursive: true });
  const programs = join(here, "guest/programs");
  const bundle = await Bun.build({
    entrypoints: [
      ...tests.map(({ path }) => path),
      ...(existsSync(programs) ? readdirSync(programs).map((name) => join(programs, name)) : []),
    ],
    target: "bun",
    outdir: payload,
    naming: "[name].js",
    external: ["bun:test"],
    sourcemap: "inline",
    throw: false,
  });
  if (!bundle.success) return ["the test files of this boot can't be bundled", ...bundle.logs.map(String)].join("\n");
  // A process a file: one that crashes or hangs takes no other along.
  const lines = tests.map(
    ({ name, profile: { limit } }) =>
      `echo "lab: ${name}"\n` +
      `SRIOVDP_PATIENCE=3 BUN_BE_BUN=1 timeout -s KILL ${limit} ./sriovdp test --timeout ${limit * 1000} --reporter=junit --reporter-outfile=/share/${name}.xml ./${name}.vm.js\n` +
      `status=$?; echo $status >/share/${name}.status\n` +
      // What was killed may have left the kernel stuck; the files after it are run in another boot.
      `[ $status = 137 ] && exit 0\n`,
  );
  writeFileSync(join(payload, "run"), `${lines.join("")}exit 0\n`);
  return null;
}

function consoleTail(folder: string): string {
  const log = join(folder, "console.log");
  const qemu = join(folder, "qemu.log");
  const lines = (path: string) =>
    existsSync(path) && statSync(path).size > 0 ? readFileSync(path, "utf8").trimEnd().split(/\r?\n/) : [];
  return [...lines(log), ...lines(qemu)]
    .slice(-40)
    .map((line) => `    | ${line}`)
    .join("\n");
}

function print({ file, name, outcome, seconds, message }: TestResult): void {
  console.log(`${outcome.padEnd(7)} ${file}: ${name}${outcome === "passed" ? ` (${seconds.toFixed(1)} s)` : ""}`);
  if (outcome !== "passed" && message) console.log(message.replace(/^/gm, "        "));
}

main(positionals).then(
  (status) => process.exit(status),
  (error) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  },
);
