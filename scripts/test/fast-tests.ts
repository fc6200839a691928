// Every test that needs no virtual machine: the checks, the build, the unit tests, the contract tests on the executable.
// Results are left in test-results/ as JUnit.

import { mkdirSync, writeFileSync } from "node:fs";
import { formatJUnit, type TestResult } from "../../test/vm/junit.ts";
import { argumentsOf } from "../common/arguments.ts";
import { checks, runQuietly } from "../check/check.ts";
import { memoryFolder, runTests } from "./run-tests.ts";
import { summaryLine } from "./summary.ts";

argumentsOf("npm test -- [ARGUMENTS OF bun test]", { strict: false, allowPositionals: true });

const root = `${import.meta.dir}/../..`;
const results = `${root}/test-results`;
const report = `${results}/junit.xml`;
mkdirSync(results, { recursive: true });

/** Runs one of the project's commands to its end while others go on; returns its result as a test's. */
async function step(name: string, command: readonly string[]): Promise<TestResult> {
  const started = performance.now();
  const outcome = (await runQuietly(command)) ? "passed" : "failed";
  console.log(`${outcome === "passed" ? "ok    " : "FAILED"} ${name}`);
  return { file: "scripts/check/check.ts", name, outcome, seconds: (performance.now() - started) / 1000 };
}

async function checksInTurn(): Promise<TestResult[]> {
  const outcomes: TestResult[] = [];
  for (const { name, command } of checks) outcomes.push(await step(name, command));
  return outcomes;
}

const given = process.argv.slice(2);
const folders = ["src/", "native/", "scripts/"];
const testFolders = ["contract/", "docs/", "fuzz/", "netlink/", "support/", "vm/"].map((name) => `test/${name}`);

/**
 * More processes than two cores need, since live tests mostly wait. A process takes the next file when it is done with one, those
 * that took longest first: test/durations.json has them, rewritten by `npm test -- --update-timings`.
 */
const parallel = ["--parallel=6", "--no-isolate", "--parallel-delay=0", "--timings=test/durations.json"];

const built = await step("the executable builds", [process.execPath, "scripts/build/executable.ts"]);
const outcomes = await Promise.all([
  runTests({
    paths: given.some((argument) => !argument.startsWith("-")) ? given : [...given, ...folders, ...testFolders],
    report: `${results}/bun.xml`,
    timeout: 60_000,
    args: parallel,
    temporary: memoryFolder(),
  }),
  checksInTurn(),
]);
const found = [built, ...outcomes.flat()];
writeFileSync(report, formatJUnit(found));
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
