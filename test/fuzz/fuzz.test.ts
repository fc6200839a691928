import * as fc from "fast-check";
import { expect, setDefaultTimeout, test } from "bun:test";
import { targets } from "./targets.ts";

setDefaultTimeout(60_000);

/** The same every day; `npm run fuzz` goes further. */
const seed = 20_261_124;

for (const [name, { what, runs, property }] of Object.entries(targets)) {
  test(what, async () => {
    const report = await fc.check(property, { seed, numRuns: runs });
    expect(
      report.failed
        ? `npm run fuzz -- --target ${name} --seed ${seed} --path ${report.counterexamplePath}\n${fc.defaultReportMessage(report)}\n${String(report.errorInstance)}`
        : "",
    ).toBe("");
  });
}
