// How is `bun test` run on some files, so that nothing of it gets lost? What passed is in its JUnit report; what is printed
// is what a person must read; an end without a report is a failed test.

import { existsSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { parseJUnit, type TestResult } from "../../test/vm/junit.ts";

const root = `${import.meta.dir}/../..`;

export interface TestRun {
  /** Parts of the paths of test files. */
  readonly paths: readonly string[];
  /** Where Bun's own report goes. */
  readonly report: string;
  /** What a test may take at most, in milliseconds. */
  readonly timeout: number;
  /** Further arguments of `bun test`. */
  readonly args?: readonly string[];
  /** Where tests make their temporary folders; by default where the machine has them. */
  readonly temporary?: string | null;
  /** Further variables of the environment. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Ends the tests. */
  readonly signal?: AbortSignal;
}

/**
 * Runs tests to their end; returns their results, and a failed one more where Bun fails without naming a test. The tests end with this
 * process.
 */
export async function runTests({
  paths,
  report,
  timeout,
  args = [],
  temporary = null,
  variables = {},
  signal,
}: TestRun): Promise<TestResult[]> {
  rmSync(report, { force: true });
  const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
  const runner = Bun.spawn([process.execPath, "test", `--timeout=${timeout}`, ...reporter, ...args, ...paths], {
    cwd: root,
    env: { ...process.env, ...variables, ...(temporary !== null && { TMPDIR: temporary }) },
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal && { signal, killSignal: "SIGKILL" }),
  });
  const end = () => runner.kill("SIGKILL");
  process.once("exit", end);
  const printed = await Promise.all([new Response(runner.stdout).text(), new Response(runner.stderr).text()]);
  const status = await runner.exited;
  process.off("exit", end);
  process.stdout.write(printed.join("").replaceAll(/^\(pass\).*\n/gm, ""));
  const found = existsSync(report) ? parseJUnit(readFileSync(report, "utf8"), "bun test") : [];
  if (status !== 0 && !found.some(({ outcome }) => outcome === "failed")) {
    const name = `tests of ${paths.join(", ")} end without an error`;
    found.push({ file: "bun test", name, outcome: "failed", seconds: 0, message: `exit status ${status}` });
  }
  return found;
}

/**
 * A folder in memory for the thousands of small trees that tests make and remove; null where there is no room, or no program
 * can be started from it. ext4 searches all inodes that were freed in the last seconds for each new one
 * (fs/ext4/ialloc.c, recently_deleted): on it these trees take more processor time than all else in the tests.
 */
export function memoryFolder(): string | null {
  const folder = "/dev/shm";
  const options = new RegExp(`^\\S+ ${folder} tmpfs (\\S+) `, "m").exec(readFileSync("/proc/mounts", "utf8"))?.[1];
  if (options === undefined || options.split(",").some((option) => option === "noexec" || option === "ro")) return null;
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize > 1 << 30 ? folder : null;
}
