// Every test that needs no virtual machine: the checks, the build, the unit tests, the contract tests on the executable.
// Usage: bun scripts/test.ts [bun test's arguments]; results are left in test-results/ as JUnit.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { formatJUnit, parseJUnit, type TestResult } from "../test/vm/junit.ts";
import { checks, runQuietly } from "./check.ts";
import { summaryLine } from "./summary.ts";

const root = `${import.meta.dir}/..`;
const results = `${root}/test-results`;
const report = `${results}/junit.xml`;
mkdirSync(results, { recursive: true });

const steps = [...checks, { name: "the executable builds", command: [process.execPath, "scripts/build.ts"] }];
const found: TestResult[] = steps.map(({ name, command }) => {
  const started = performance.now();
  const outcome = runQuietly(command) ? "passed" : "failed";
  console.log(`${outcome === "passed" ? "ok    " : "FAILED"} ${name}`);
  return { file: "scripts/check.ts", name, outcome, seconds: (performance.now() - started) / 1000 };
});

/** Two processes, for two cores; what they print is kept together. */
const halves =
  process.argv.length > 2
    ? [process.argv.slice(2)]
    : [["test/contract/live-"], ["src/", "native/", "test/support/", "test/vm/", "test/netlink/", ...otherContracts()]];

/** Contract tests of a node that does not change, by file: bun test selects files by parts of their paths. */
function otherContracts(): string[] {
  const files = [...new Bun.Glob("test/contract/*.test.ts").scanSync(root)];
  return files.filter((file) => !file.startsWith("test/contract/live-"));
}

async function runTests(paths: readonly string[], index: number): Promise<void> {
  const bunReport = `${results}/bun-${index}.xml`;
  rmSync(bunReport, { force: true });
  const runner = Bun.spawn(
    [process.execPath, "test", "--timeout=60000", "--reporter=junit", `--reporter-outfile=${bunReport}`, ...paths],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  const printed = await Promise.all([new Response(runner.stdout).text(), new Response(runner.stderr).text()]);
  const status = await runner.exited;
  // What passed is in the report; what is printed is what somebody must read.
  process.stdout.write(printed.join("").replaceAll(/^\(pass\).*\n/gm, ""));
  const own = existsSync(bunReport) ? parseJUnit(readFileSync(bunReport, "utf8"), "bun test") : [];
  found.push(...own);
  if (status !== 0 && !own.some(({ outcome }) => outcome === "failed")) {
    const message = `exit status ${status}`;
    found.push({
      file: "bun test",
      name: `tests of ${paths.join(", ")} end without an error`,
      outcome: "failed",
      seconds: 0,
      message,
    });
  }
}

await Promise.all(halves.map(runTests));
writeFileSync(report, formatJUnit(found));
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
