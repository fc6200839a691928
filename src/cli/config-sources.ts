// Which configs does the command line name? Files, standard input, and keys of the ConfigMaps in manifests.

import type { ManifestConfig } from "../config/manifest.ts";
import { formatProblem, type Problem, type ProblemLine } from "../config/problem.ts";
import { readText } from "../fs/read-text.ts";
import { limits } from "../limits.ts";
import { messageOf, oneLine } from "../text.ts";
import type { Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";

/** A config: a file's whole text, or a key of a ConfigMap in it. */
export interface ConfigSource {
  readonly file: string;
  readonly configMap: Pick<ManifestConfig, "configMap" | "namespace" | "key"> | null;
  /** null when it could not be read. */
  readonly text: string | null;
  readonly problems: readonly Problem[];
  /** Puts a problem of the text at its place in the file. */
  readonly place: (problem: Problem) => Problem;
}

/** The configs of the operands, or of --config-file where there are none. What can't be read is a problem of its source; never throws. */
export async function configSources(line: CommandLine, output: Output): Promise<ConfigSource[]> {
  const names = line.operands.length === 0 ? [pathsOf(line).configFile] : line.operands;
  const sources: ConfigSource[] = [];
  for (const name of names) sources.push(...(await sourcesOf(name, line, output)));
  return sources;
}

/** The ConfigMap as "NAMESPACE/NAME", and its key; null for a config that is a file. */
export const configNameOf = (
  configMap: ConfigSource["configMap"],
): { readonly configMap: string | null; readonly key: string | null } => ({
  configMap: configMap && [configMap.namespace, configMap.configMap].filter((each) => each !== null).join("/"),
  key: configMap && configMap.key,
});

/** A problem of a config on one line. That of a key names its ConfigMap: a manifest may have many. */
export function problemLine(
  { file, configMap, key }: { readonly file: string } & ReturnType<typeof configNameOf>,
  problem: Problem,
): ProblemLine {
  if (configMap === null) return formatProblem(file, problem);
  const path = [`${configMap}[${JSON.stringify(key)}]`, problem.path].filter((part) => part !== "").join(": ");
  return formatProblem(file, { ...problem, path });
}

const itself = (problem: Problem): Problem => problem;

const wholeFile = (message: string): Problem => ({ severity: "error", path: "", message, line: null, column: null });

/** How many bytes of a manifest are read: what a whole cluster's kustomize output has. */
const manifestBytes = 16 << 20;

/** The configs of a file, or of standard input. */
async function sourcesOf(name: string, line: CommandLine, output: Output): Promise<ConfigSource[]> {
  const file = name === "-" ? "standard input" : name;
  const unread = (message: string): ConfigSource[] => [
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
  const { isManifest, readManifest } = await import("../config/manifest.ts");
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
function ofSize(source: ConfigSource): ConfigSource {
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
