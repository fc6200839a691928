// What is delivered, tested as it is delivered: the heavy checks that `npm test` leaves out (other architectures, bundles, images,
// systemd's own verdict). Without arguments all of test/packaging/.
// Results are left in test-results/packaging/ as JUnit; what a machine can't run is counted as skipped and named.

import { mkdirSync, writeFileSync } from "node:fs";
import { formatJUnit } from "../../test/vm/junit.ts";
import { argumentsOf } from "../common/arguments.ts";
import { runTests } from "./run-tests.ts";
import { summaryLine } from "./summary.ts";

const results = `${import.meta.dir}/../../test-results/packaging`;
const folder = "test/packaging/";

/** A test here builds and unpacks a hundred megabytes several times over, perhaps under an emulator. */
const timeout = 300_000;

const { positionals: parts } = argumentsOf("npm run test:packaging -- [PART-OF-A-FILE-NAME…]", {
  allowPositionals: true,
});
mkdirSync(results, { recursive: true });
const found = await runTests({
  paths: parts.length === 0 ? [folder] : parts.map((name) => `${folder}${name}`),
  report: `${results}/bun.xml`,
  timeout,
});
writeFileSync(`${results}/junit.xml`, formatJUnit(found));
for (const { name } of found.filter(({ outcome }) => outcome === "skipped")) console.log(`skipped: ${name}`);
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
