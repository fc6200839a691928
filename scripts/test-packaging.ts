// What is delivered, tested as it is delivered: the heavy checks that `npm test` leaves out (other architectures, bundles, images,
// systemd's own verdict). Usage: bun scripts/test-packaging.ts [PART-OF-A-FILE-NAME…]; without arguments all of test/packaging/.
// Results are left in test-results/packaging/ as JUnit; what a machine can't run is counted as skipped and named.

import { mkdirSync, writeFileSync } from "node:fs";
import { formatJUnit } from "../test/vm/junit.ts";
import { runTests } from "./run-tests.ts";
import { summaryLine } from "./summary.ts";

const results = `${import.meta.dir}/../test-results/packaging`;
const folder = "test/packaging/";

/** A test here builds and unpacks a hundred megabytes several times over, perhaps under an emulator. */
const timeout = 300_000;

mkdirSync(results, { recursive: true });
const wanted = process.argv.slice(2);
const found = await runTests(
  wanted.length === 0 ? [folder] : wanted.map((name) => `${folder}${name}`),
  `${results}/bun.xml`,
  timeout,
);
writeFileSync(`${results}/junit.xml`, formatJUnit(found));
for (const { name } of found.filter(({ outcome }) => outcome === "skipped")) console.log(`skipped: ${name}`);
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
