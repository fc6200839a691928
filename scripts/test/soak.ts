// Days of running in minutes. Two nodes at once, one a way of registration; figures go to
// test-results/soak/figures.json, one test per invariant to test-results/soak/junit.xml. The same seed gives the same events.

import { mkdirSync, writeFileSync } from "node:fs";
import { invariants, type Invariant, soak } from "../../test/soak/soak.ts";
import { formatJUnit, type TestResult } from "../../test/vm/junit.ts";
import { argumentsOf, numberOf } from "../common/arguments.ts";
import { startProgress } from "../common/progress.ts";
import { summaryLine } from "./summary.ts";

const { values } = argumentsOf("npm run soak -- [--minutes N] [--seed N]", {
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [minutes, seed] = [numberOf("minutes", values.minutes), numberOf("seed", values.seed)];
const results = `${import.meta.dir}/../../test-results/soak`;
mkdirSync(results, { recursive: true });
console.log(`soak: ${minutes} minutes, seed ${seed}; again with: npm run soak -- --minutes ${minutes} --seed ${seed}`);

const nodes = [
  { mode: "watcher", cdi: true },
  { mode: "legacy", cdi: false },
] as const;
const began = performance.now();
const progress = startProgress(() => {
  const percent = Math.min(100, ((performance.now() - began) / (minutes * 60_000)) * 100);
  return `soak: ${percent.toFixed(0)} % of ${minutes} minutes`;
});
const outcomes = await Promise.all(
  nodes.map((node, index) => soak({ ...node, minutes, seed: seed + index, say: progress.say })),
);
progress.stop();
const found = outcomes.flatMap(({ failures, figures }, index): TestResult[] =>
  (Object.keys(invariants) as Invariant[]).map((invariant) => {
    const message = failures.get(invariant)?.join("\n");
    return {
      file: "scripts/test/soak.ts",
      name: `${nodes[index]?.mode}, seed ${seed + index}: ${invariants[invariant]}`,
      outcome: message === undefined ? "passed" : "failed",
      seconds: index === 0 && invariant === "lists" ? Number(figures["minutes"]) * 60 : 0,
      ...(message !== undefined && { message }),
    };
  }),
);
writeFileSync(
  `${results}/figures.json`,
  `${JSON.stringify(
    outcomes.map(({ figures }) => figures),
    null,
    2,
  )}\n`,
);
writeFileSync(`${results}/junit.xml`, formatJUnit(found));
console.log(
  JSON.stringify(
    outcomes.map(({ figures }) => figures),
    null,
    2,
  ),
);
console.log(summaryLine(found));
process.exit(found.some(({ outcome }) => outcome === "failed") ? 1 : 0);
