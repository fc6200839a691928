// Every test that needs no virtual machine: the checks, the build, the unit tests, the contract tests on the executable.
// Results are left in test-results/ as JUnit.

import { mkdirSync, writeFileSync } from "node:fs";
import { formatJUnit, type TestResult } from "../../test/vm/junit.ts";
import { argumentsOf } from "../common/arguments.ts";
import { checks, runQuietly } from "../check/check.ts";
import { runTests } from "./run-tests.ts";
import { summaryLine } from "./summary.ts";

argumentsOf("npm test -- [ARGUMENTS OF bun test]", { strict: false, allowPositionals: true });

const root = `${import.meta.dir}/../..`;
const results = `${root}/test-results`;
const report = `${results}/junit.xml`;
mkdirSync(results, { recursive: true });

const steps = [
  ...checks,
  { name: "the executable builds", command: [process.execPath, "scripts/build/executable.ts"] },
];
const found: TestResult[] = steps.map(({ name, command }) => {
  const started = performance.now();
  const outcome = runQuietly(command) ? "passed" : "failed";
  console.log(`${outcome === "passed" ? "ok    " : "FAILED"} ${name}`);
  return { file: "scripts/check/check.ts", name, outcome, seconds: (performance.now() - started) / 1000 };
});

/** More processes than two cores need, since live tests mostly wait; what each prints is kept together. */
const groups =
  process.argv.length > 2
    ? [process.argv.slice(2)]
    : [
        contracts((name) => /^live-[a-g]/.test(name)),
        contracts((name) => /^live-[h-z]/.test(name)),
        [
          "src/",
          "native/",
          "scripts/",
          "test/support/",
          "test/docs/",
          "test/vm/",
          "test/netlink/",
          "test/fuzz/",
          ...contracts((name) => !name.startsWith("live-")),
        ],
      ];

/** Contract tests by the names of their files: bun test selects files by parts of their paths. */
function contracts(isWanted: (name: string) => boolean): string[] {
  const files = [...new Bun.Glob("*.test.ts").scanSync(`${root}/test/contract`)].toSorted();
  return files.filter(isWanted).map((name) => `test/contract/${name}`);
}

await Promise.all(
  groups.map(async (paths, index) => found.push(...(await runTests(paths, `${results}/bun-${index}.xml`, 60_000)))),
);
writeFileSync(report, formatJUnit(found));
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
