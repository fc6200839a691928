// `validate`: what is wrong with config files, and what is doubtful about them on this node, on a captured one, or on any?

import { warnings } from "../../config/place.ts";
import { type Loaded, loadConfig } from "../../config/load.ts";
import { inFileOrder, type Problem } from "../../config/problem.ts";
import { counted, messageOf, oneLine } from "../../text.ts";
import { type ConfigWarning, warningsOnEveryNode, warningsOnNode } from "../../pools/config-warnings.ts";
import { assignPools } from "../../pools/assign.ts";
import type { Device } from "../../host/device.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";
import { loadOptionsOf, runningView, scan } from "../view.ts";
import { withCapturedNode } from "../captured-node.ts";
import { configNameOf, type ConfigSource, configSources, problemLine } from "../config-sources.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { table } from "../table.ts";

/** What was found out about a config. */
type Checked = ReturnType<typeof check>;

/**
 * `validate`: prints every problem of every config, and its pools with their devices on the node.
 *
 * The status is 2 when a file, or an entry of it, would be rejected, and 1 for warnings when they are to count (--strict).
 */
export async function validate(line: CommandLine, output: Output): Promise<number> {
  const sources = await configSources(line, output);
  const loaded = sources.map((source) => ({
    source,
    loaded: source.text === null ? null : loadConfig(source.text, loadOptionsOf(line)),
  }));
  const specs = loaded.flatMap((each) => each.loaded?.wellFormed ?? []);
  const node = await nodeFor(line, specs, output);
  if (node === "failed") return exitStatus.operatorMistake;
  const checked = loaded.map((each) => check(each.source, each.loaded, node));
  const valid = checked.every((each) => each.valid);
  const isText = line.options.output === "table" || line.options.output === "wide";
  if (isText)
    for (const each of checked) for (const problem of each.problems) output.err(`${problemLine(each, problem)}\n`);
  const data = { valid, node: node?.name ?? null, configs: checked };
  await print(output, line.options.output, data, () =>
    checked
      .filter((each) => each.valid)
      .map((each) => summary(each, line, output))
      .join("\n"),
  );
  if (!valid) return exitStatus.operatorMistake;
  const isDoubtful = checked.some(({ problems }) => problems.length > 0);
  return isDoubtful && line.options.strict ? exitStatus.failure : exitStatus.ok;
}

function check(
  { file, configMap, text, problems: before, place }: ConfigSource,
  loaded: Loaded | null,
  node: CheckedNode | null,
) {
  const pools = node && loaded ? assignPools(loaded.wellFormed, node.devices) : null;
  const found = loaded && text !== null ? [...loaded.problems, ...warningsOf(loaded, text, pools, node)] : [];
  const problems = [...before, ...found.toSorted(inFileOrder).map(place)];
  return {
    file,
    ...configNameOf(configMap),
    /** Whether it runs, all its entries included. */
    valid: problems.every(({ severity }) => severity === "warning"),
    pools: (loaded?.specs ?? []).map(({ resource, deviceType }, index) => ({
      resource,
      deviceType,
      devices: pools?.[index]?.claims.size ?? null,
    })),
    problems,
  };
}

function summary({ file, configMap, key, pools, problems }: Checked, line: CommandLine, output: Output): string {
  const warnings = problems.length > 0 ? `, ${counted(problems.length, "warning")}` : "";
  const hasCounts = pools.some(({ devices }) => devices !== null);
  const rows = pools.map(({ resource, deviceType, devices }) => [
    resource,
    deviceType,
    ...(devices === null ? [] : [String(devices)]),
  ]);
  const header = ["POOL", "TYPE", ...(hasCounts ? [line.options.node === null ? "DEVICES HERE" : "DEVICES"] : [])];
  const name = oneLine(configMap === null ? file : `${configMap}[${JSON.stringify(key)}] of ${file}`);
  const head = `${name} is valid: ${counted(pools.length, "pool")}${warnings}\n`;
  return head + (rows.length > 0 ? table(header, rows, styleOf(line, output)) : "");
}

/** The node that configs are checked against. */
interface CheckedNode {
  /** "this node", or the file of a captured one. */
  readonly name: string;
  readonly devices: readonly Device[];
}

/** The node to check against; null, with a note, where there is nothing that a pool could have, as on a CI machine. */
async function nodeFor(
  line: CommandLine,
  specs: readonly PoolSpec[],
  output: Output,
): Promise<CheckedNode | null | "failed"> {
  const captured = line.options.node;
  if (captured !== null) {
    try {
      const devices = await withCapturedNode(captured, (root) => devicesBelow(root, line, specs, output));
      return { name: captured, devices };
    } catch (error) {
      output.err(`sriovdp: --node ${oneLine(captured)}: ${oneLine(messageOf(error))}\n`);
      return "failed";
    }
  }
  if (line.options["no-node"]) return null;
  const note = (why: string) => output.err(`note: ${why}; checking only the file (--no-node omits this note)\n`);
  try {
    const devices = await devicesHere(line, specs, output);
    if (devices.length > 0) return { name: "this node", devices };
    note("this machine has no network function or accelerator");
  } catch (error) {
    note(`this machine can't be scanned: ${messageOf(error)}`);
  }
  return null;
}

const devicesBelow = async (
  root: string,
  line: CommandLine,
  specs: readonly PoolSpec[],
  output: Output,
): Promise<readonly Device[]> =>
  (await scan({ ...line, options: { ...line.options, root } }, specs, "", output)).devices;

async function devicesHere(line: CommandLine, specs: readonly PoolSpec[], output: Output): Promise<readonly Device[]> {
  const running = await runningView(line);
  if (typeof running !== "string") return running.devices;
  return (await scan(line, specs, running, output)).devices;
}

/** Warnings about entries that are well-formed, with their places. */
function warningsOf(
  { wellFormed, entries }: Loaded,
  text: string,
  pools: readonly Pool[] | null,
  node: CheckedNode | null,
): Problem[] {
  const warn = warnings(text);
  const found: ConfigWarning[] = pools && node ? warningsOnNode(pools, node.devices) : warningsOnEveryNode(wellFormed);
  return found.map(({ spec, selectorObject, value, message }) =>
    warn({ entry: entries[spec] ?? 0, selectorObject, value }, message),
  );
}
