// How quick and how small is it? Figures of the compiled executable on simulated nodes: compare them only with figures of the same
// machine and the same hour.

import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname } from "node:path";
import { executable } from "../../test/support/plugin.ts";
import { argumentsOf, misused, numberOf } from "../common/arguments.ts";
import { type Figures, measure } from "./measure.ts";
import { measureDra } from "./measure-dra.ts";
import { measurePaired } from "./paired.ts";
import { nameOf, shapes } from "./shapes.ts";
import { pairedTable } from "./targets.ts";
import { comparison, growth, publishedTable, shapeTable } from "./table.ts";
import { commit } from "../build/checkout.ts";

const { values } = argumentsOf(
  "npm run bench -- [--shapes 256/16,…] [--repeat N] [--idle SECONDS] [--out FILE] [--compare FILE] [--peer FILE] [--dra]",
  {
    options: {
      shapes: { type: "string" },
      repeat: { type: "string", default: "1" },
      idle: { type: "string", default: "0" },
      out: { type: "string" },
      compare: { type: "string" },
      peer: { type: "string" },
      dra: { type: "boolean", default: false },
    },
  },
);
const repeats = numberOf("repeat", values.repeat, 1);
const idle = numberOf("idle", values.idle);
const wanted = values.shapes?.split(",");
const unknown = wanted?.filter((name) => !shapes.some((shape) => nameOf(shape) === name)) ?? [];
if (unknown.length > 0) misused(`no such shape: ${unknown.join(", ")}; there are ${shapes.map(nameOf).join(", ")}`);
const earlier = values.compare === undefined ? null : (JSON.parse(readFileSync(values.compare, "utf8")) as Run);

if (values.peer !== undefined) {
  if (!existsSync(values.peer)) misused(`no such file: ${values.peer}`);
  const sizes = shapes.filter((shape) => (wanted ?? ["8/1", "256/16"]).includes(nameOf(shape)));
  const paired = await measurePaired(sizes, values.peer, { repeats, settleMs: 30_000, idleSeconds: idle });
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(paired, null, 2)}\n`);
  console.log(`${machineName()}\n\n${pairedTable(paired)}`);
  process.exit(0);
}

/** What is left of a run. */
interface Run {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
  readonly figures: Figures;
}

function machineName(): string {
  const [{ model = "unknown processor" } = {}] = cpus();
  return `${cpus().length} × ${model}, Linux ${release()}`;
}

const machine = machineName();
console.log(`${machine}; executable ${(statSync(executable).size / 1e6).toFixed(1)} MB`);
if (Bun.which("strace") === null) console.log("there is no strace here: system calls are not counted");

const runs: Figures[] = [];
for (let run = 0; run < repeats; run++) {
  const figures: Record<string, number> = {};
  for (const shape of shapes.filter((shape) => wanted?.includes(nameOf(shape)) ?? true)) {
    // The load is measured once, where the published figure was; idle CPU where it is asked.
    const load = nameOf(shape) === "64/4";
    const idleSeconds = shape.pools >= 16 ? idle : 0;
    console.log(`measuring ${nameOf(shape)}`);
    if (values.dra) {
      Object.assign(figures, await measureDra(shape));
      continue;
    }
    Object.assign(figures, await measure(shape, { load, idleSeconds }));
  }
  runs.push(figures);
}
const figures = Object.fromEntries(
  Object.keys(runs[0] ?? {}).map((name) => {
    const sorted = runs.map((run) => run[name] ?? Number.NaN).toSorted((a, b) => a - b);
    return [name, sorted[sorted.length >> 1] ?? Number.NaN];
  }),
);
const run: Run = { date: new Date().toISOString(), commit: commit(), machine, figures };
const out = values.out ?? `${import.meta.dir}/../../test-results/bench/${run.date.replaceAll(/[:.]/g, "-")}.json`;
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, `${JSON.stringify(run, null, 2)}\n`);

console.log(`\n${shapeTable(figures)}`);
if (!values.dra) console.log(`\nBeside the upstream plugin's published figures:\n\n${publishedTable(figures)}`);
if (figures["1024/16 ready ms"] !== undefined && figures["4096/64 ready ms"] !== undefined)
  console.log(`\nFour times the node:\n\n${growth(figures, "1024/16", "4096/64")}`);
if (earlier) console.log(`\nThen is ${earlier.commit} of ${earlier.date}:\n\n${comparison(figures, earlier.figures)}`);
console.log(`\nwritten: ${out}`);
process.exit(0);
