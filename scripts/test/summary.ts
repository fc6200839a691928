// One line over several JUnit reports. Usage: bun scripts/test/summary.ts FILE…; a missing file counts as a failed test.

import { existsSync, readFileSync } from "node:fs";
import { count, parseJUnit, type TestResult } from "../../test/vm/junit.ts";

/** "N passed, N failed", and the skipped where there are any. */
export function summaryLine(results: readonly TestResult[]): string {
  const { passed, failed, skipped } = count(results);
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

if (import.meta.main) {
  const results = process.argv
    .slice(2)
    .flatMap((file): TestResult[] =>
      existsSync(file)
        ? parseJUnit(readFileSync(file, "utf8"), file)
        : [{ file, name: "there is a report", outcome: "failed", seconds: 0 }],
    );
  for (const { name, message } of results.filter(({ outcome }) => outcome === "failed")) {
    console.log(`failed: ${name}${message ? `\n  ${message.split("\n").slice(0, 40).join("\n  ")}` : ""}`);
  }
  for (const { name } of results.filter(({ outcome }) => outcome === "skipped")) console.log(`skipped: ${name}`);
  console.log(summaryLine(results));
  process.exit(results.some(({ outcome }) => outcome === "failed") ? 1 : 0);
}
