// `validate`: what is wrong with config files, and what is doubtful about them on this node, on a captured one, or on any?

import { warnings } from "../../config/place.ts";
import { readText } from "../../fs/read-text.ts";
import { type Loaded, loadConfig } from "../../config/load.ts";
import type { ManifestConfig } from "../../config/manifest.ts";
import { formatProblem, inFileOrder, type Problem } from "../../config/problem.ts";
import { limits } from "../../limits.ts";
import { counted, messageOf, oneLine } from "../../text.ts";
import { type ConfigWarning, warningsOnEveryNode, warningsOnNode } from "../../pools/config-warnings.ts";
import { assignPools } from "../../pools/assign.ts";
import type { Device } from "../../host/device.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";
import { loadOptionsOf, runningView, scan } from "../view.ts";
import { withCapturedNode } from "../captured-node.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";
import { table } from "../table.ts";

/** A config to check: a file's whole text, or a key of a ConfigMap in it. */
interface Source {
  readonly file: string;
  readonly configMap: Pick<ManifestConfig, "configMap" | "namespace" | "key"> | null;
  /** null when it could not be read. */
  readonly text: string | null;
  readonly problems: readonly Problem[];
  readonly place: (problem: Problem) => Problem;
}

/** What was found out about a config. */
type Checked = ReturnType<typeof check>;

/**
 * `validate`: prints every problem of every config, and its pools with their devices on the node.
 *
 * The status is 2 when a file, or an entry of it, would be refused, and 1 for warnings when they are to count (--strict).
 */
export async function validate(line: CommandLine, output: Output): Promise<number> {
  const names = line.operands.length === 0 ? [pathsOf(line).configFile] : line.operands;
  const sources: Source[] = [];
  for (const name of names) sources.push(...(await sourcesOf(name, line, output)));
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
    for (const { file, key, configMap, problems } of checked)
      for (const problem of problems) output.err(`${formatProblem(file, named(problem, configMap, key))}\n`);
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

/** A problem of a key says of which ConfigMap: a manifest may have many. */
const named = (problem: Problem, configMap: string | null, key: string | null): Problem =>
  configMap === null
    ? problem
    : {
        ...problem,
        path: [`${configMap}[${JSON.stringify(key)}]`, problem.path].filter((part) => part !== "").join(": "),
      };

function check(
  { file, configMap, text, problems: before, place }: Source,
  loaded: Loaded | null,
  node: CheckedNode | null,
) {
  const pools = node && loaded ? assignPools(loaded.wellFormed, node.devices) : null;
  const found = loaded && text !== null ? [...loaded.problems, ...warningsOf(loaded, text, pools, node)] : [];
  const problems = [...before, ...found.toSorted(inFileOrder).map(place)];
  return {
    file,
    configMap: configMap && [configMap.namespace, configMap.configMap].filter((each) => each !== null).join("/"),
    key: configMap && configMap.key,
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

const itself = (problem: Problem): Problem => problem;

const wholeFile = (message: string): Problem => ({ severity: "error", path: "", message, line: null, column: null });

/** How many bytes of a manifest are read: what a whole cluster's kustomize output has. */
const manifestBytes = 16 << 20;

/** The configs of a file, or of standard input. */
async function sourcesOf(name: string, line: CommandLine, output: Output): Promise<Source[]> {
  const file = name === "-" ? "standard input" : name;
  const unread = (message: string): Source[] => [
    { file, configMap: null, text: null, problems: [wholeFile(message)], place: itself },
  ];
  let text: string;
  try {
    text = name === "-" ? await standardInput() : readText(name, manifestBytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      return unread(line.operands.length === 0 ? "no such file; set --config-file" : "no such file");
    return unread(`cannot read the file: ${messageOf(error)}`);
  }
  const { isManifest, readManifest } = await import("../../config/manifest.ts");
  if (!isManifest(text)) return [ofSize({ file, configMap: null, text, problems: [], place: itself })];
  const { configs, problems, others } = readManifest(text, line.options.key);
  if (others.length > 0)
    output.err(`note: ${oneLine(file)}: ConfigMaps without a config are left out: ${oneLine(others.join(", "))}\n`);
  const none =
    line.options.key === null
      ? "no ConfigMap of this manifest has a config: a key that names resourceList; --key names another"
      : `no ConfigMap of this manifest has the key ${JSON.stringify(line.options.key)}`;
  const missing = configs.length === 0 && problems.length === 0 ? [wholeFile(none)] : [];
  const broken = [...problems, ...missing];
  return [
    ...(broken.length > 0 ? [{ file, configMap: null, text: null, problems: broken, place: itself }] : []),
    ...configs.map(({ text: value, place, ...configMap }) =>
      ofSize({ file, configMap, text: value, problems: [], place }),
    ),
  ];
}

/** A config that is larger than the plugin reads is not read here either. */
function ofSize(source: Source): Source {
  if (Buffer.byteLength(source.text ?? "") <= limits.configBytes.max) return source;
  const problem = wholeFile(`too large: at most ${limits.configBytes.max} bytes are read`);
  return { ...source, text: null, problems: [source.place(problem)] };
}

/** The text of standard input; throws when it is longer than a manifest may be. */
async function standardInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > manifestBytes) throw new Error(`too large: at most ${manifestBytes} bytes are read`);
  }
  return Buffer.concat(chunks).toString("utf8");
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
  const note = (why: string) =>
    output.err(`note: ${why}; the file is checked by itself (--no-node says so beforehand)\n`);
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
