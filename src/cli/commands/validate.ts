// `validate`: what is wrong with a config file, and what is doubtful about it on this node?

import { warnings } from "../../config/place.ts";
import { readConfigFile } from "../../config/file.ts";
import { type Loaded, loadConfig } from "../../config/load.ts";
import { formatProblem, type Problem } from "../../config/problem.ts";
import { limits } from "../../limits.ts";
import { counted, messageOf } from "../../text.ts";
import { type ConfigWarning, warningsOnEveryNode, warningsOnNode } from "../../pools/config-warnings.ts";
import type { PoolSpec } from "../../pools/pool.ts";
import { loadOptionsOf, look, type View } from "../view.ts";
import { exitStatus, type Output, print } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";
import { table } from "../table.ts";

/**
 * `validate`: prints every problem, and the pools with their devices on this node.
 *
 * The status is 2 when the file, or an entry of it, would be refused, and 1 for warnings when they are to count (--strict).
 */
export async function validate(line: CommandLine, output: Output): Promise<number> {
  const [operand] = line.operands;
  const file = operand === "-" ? "standard input" : (operand ?? pathsOf(line).configFile);
  const loaded =
    operand === "-" ? loadStandardInput(await standardInput(), line) : readConfigFile(file, loadOptionsOf(line));
  const view = loaded.specs && !line.options["no-node"] ? await lookIfThereIsANode(line, loaded.specs, output) : null;
  const problems = [...loaded.problems, ...doubtful(loaded, view)].toSorted(
    (a, b) => a.line - b.line || a.column - b.column,
  );
  const refused = problems.some(({ severity }) => severity !== "warning");
  const pools = (loaded.specs ?? []).map(({ resource, deviceType }, index) => ({
    resource,
    deviceType,
    devices: view?.pools[index]?.claims.size ?? null,
  }));
  if (line.options.output === "table") for (const problem of problems) output.err(`${formatProblem(file, problem)}\n`);
  await print(output, line.options.output, { file, valid: !refused, pools, problems }, () => {
    if (refused) return "";
    const doubts = problems.length > 0 ? `, ${counted(problems.length, "warning")}` : "";
    const rows = pools.map(({ resource, deviceType, devices }) => [
      resource,
      deviceType,
      ...(devices === null ? [] : [String(devices)]),
    ]);
    const header = ["POOL", "TYPE", ...(view ? ["DEVICES HERE"] : [])];
    return `${file} is valid: ${counted(pools.length, "pool")}${doubts}\n${rows.length > 0 ? table(header, rows, output) : ""}`;
  });
  if (refused) return exitStatus.operatorMistake;
  return problems.length > 0 && line.options.strict ? exitStatus.failure : exitStatus.ok;
}

/** The text of standard input; null when it is longer than a config file may be. */
async function standardInput(): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > limits.configBytes.max) return null;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function loadStandardInput(text: string | null, line: CommandLine): Loaded & { readonly text: string | null } {
  if (text !== null) return { ...loadConfig(text, loadOptionsOf(line)), text };
  const message = `too large: at most ${limits.configBytes.max} bytes are read`;
  const problem: Problem = { severity: "error", path: "", message, line: 1, column: 1 };
  return { specs: null, problems: [problem], skipped: [], entries: [], text };
}

/** Looks at this node; null, with a note, where there is nothing that a pool could have, as on a CI machine. */
async function lookIfThereIsANode(line: CommandLine, specs: readonly PoolSpec[], output: Output): Promise<View | null> {
  const note = (why: string) =>
    output.err(`note: ${why}; the file is checked by itself (--no-node says so beforehand)\n`);
  try {
    const view = await look(line, specs, output);
    if (view.devices.length > 0) return view;
    note("this machine has no network function or accelerator");
  } catch (error) {
    note(`this machine can't be looked at: ${messageOf(error)}`);
  }
  return null;
}

/** Doubts about entries that are well-formed, as warnings with their places. */
function doubtful({ specs, entries, text }: Loaded & { readonly text: string | null }, view: View | null): Problem[] {
  if (!specs || text === null) return [];
  const warn = warnings(text);
  const doubts: ConfigWarning[] = view ? warningsOnNode(view.pools, view.devices) : warningsOnEveryNode(specs);
  return doubts.map(({ spec, wanted, value, message }) => warn({ entry: entries[spec] ?? 0, wanted, value }, message));
}
