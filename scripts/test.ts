// Every test that needs no virtual machine: the checks, the build, the unit tests, the contract tests on the executable.
// Usage: bun scripts/test.ts [bun test's arguments]; results are left in test-results/ as JUnit.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { formatJUnit, parseJUnit, type TestResult } from "../test/vm/junit.ts";
import { checks, runQuietly } from "./check.ts";
import { summaryLine } from "./summary.ts";

const root = `${import.meta.dir}/..`;
const results = `${root}/test-results`;
const bunReport = `${results}/bun.xml`;
const report = `${results}/junit.xml`;
mkdirSync(results, { recursive: true });
rmSync(bunReport, { force: true });

const steps = [...checks, { name: "the executable builds", command: [process.execPath, "scripts/build.ts"] }];
const found: TestResult[] = steps.map(({ name, command }) => {
  const started = performance.now();
  const outcome = runQuietly(command) ? "passed" : "failed";
  console.log(`${outcome === "passed" ? "ok    " : "FAILED"} ${name}`);
  return { file: "scripts/check.ts", name, outcome, seconds: (performance.now() - started) / 1000 };
});

const tests = Bun.spawnSync(
  [
    ...[process.execPath, "test", "--timeout=60000", "--reporter=junit", `--reporter-outfile=${bunReport}`],
    ...(process.argv.length > 2 ? process.argv.slice(2) : ["src/", "native/", "test/"]),
  ],
  { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
);
const own = existsSync(bunReport) ? parseJUnit(readFileSync(bunReport, "utf8"), "bun test") : [];
found.push(...own);
if (!tests.success && !own.some(({ outcome }) => outcome === "failed")) {
  found.push({ file: "bun test", name: "bun test ends without an error", outcome: "failed", seconds: 0 });
}
writeFileSync(report, formatJUnit(found));
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
