// Searches for inputs that break something: what is found is printed with the command that does it again; with --path that one
// input is tried.

import * as fc from "fast-check";
import { type TargetName, targets } from "../../test/fuzz/targets.ts";
import { startProgress } from "../common/progress.ts";
import { argumentsOf, misused, numberOf } from "../common/arguments.ts";

const { values } = argumentsOf("npm run fuzz -- [--minutes M] [--seed N] [--target NAME] [--path P]", {
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    target: { type: "string" },
    path: { type: "string" },
  },
});
const known = Object.keys(targets) as TargetName[];
const chosen = known.filter((name) => values.target === undefined || values.target === name);
if (chosen.length === 0) misused(`no target is named ${values.target}; there are ${known.join(", ")}`);
const seed = numberOf("seed", values.seed);
const each = (numberOf("minutes", values.minutes) * 60_000) / chosen.length;
console.log(`fuzz: ${values.minutes} minutes, seed ${seed}`);
let failed = 0;
const progress = startProgress(() => "fuzz");
for (const [index, name] of chosen.entries()) {
  progress.step(`${index + 1} of ${chosen.length}: ${name}`);
  const report = await fc.check(targets[name].property, {
    seed,
    ...(values.path === undefined
      ? { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: each }
      : { path: values.path, numRuns: 1 }),
  });
  const broken = report.failed && !report.interrupted ? true : report.counterexample !== null;
  progress.say(`${broken ? "FAILED" : "ok    "} ${name}: ${targets[name].what} (${report.numRuns} inputs)`);
  if (!broken) continue;
  failed++;
  progress.say(`again with: npm run fuzz -- --target ${name} --seed ${seed} --path ${report.counterexamplePath}`);
  console.log(fc.defaultReportMessage(report), report.errorInstance);
}
progress.stop();
process.exit(failed > 0 ? 1 : 0);
