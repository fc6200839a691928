// How is `bun test` run on some files, so that nothing of it gets lost? What passed is in its JUnit report; what is printed
// is what somebody must read; an end without a report is a failed test.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { parseJUnit, type TestResult } from "../../test/vm/junit.ts";

const root = `${import.meta.dir}/../..`;

/** Runs the tests whose file names contain one of `paths`, each at most `timeout` milliseconds; `report` is where Bun's own report goes. */
export async function runTests(paths: readonly string[], report: string, timeout: number): Promise<TestResult[]> {
  rmSync(report, { force: true });
  const runner = Bun.spawn(
    [process.execPath, "test", `--timeout=${timeout}`, "--reporter=junit", `--reporter-outfile=${report}`, ...paths],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  const printed = await Promise.all([new Response(runner.stdout).text(), new Response(runner.stderr).text()]);
  const status = await runner.exited;
  process.stdout.write(printed.join("").replaceAll(/^\(pass\).*\n/gm, ""));
  const found = existsSync(report) ? parseJUnit(readFileSync(report, "utf8"), "bun test") : [];
  if (status !== 0 && !found.some(({ outcome }) => outcome === "failed")) {
    const name = `tests of ${paths.join(", ")} end without an error`;
    found.push({ file: "bun test", name, outcome: "failed", seconds: 0, message: `exit status ${status}` });
  }
  return found;
}
