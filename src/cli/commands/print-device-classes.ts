// `device-classes`: which DeviceClasses let pods request the pools of these configs by DRA? For kubectl or a repository; needs no cluster.

import { loadConfig } from "../../config/load.ts";
import { warnings } from "../../config/place.ts";
import { inFileOrder, type Problem } from "../../config/problem.ts";
import { resourceProblem } from "../../dra/api-names.ts";
import { type DeviceClass, deviceClassesOf } from "../../dra/device-classes.ts";
import type { PoolSpec } from "../../pools/pool.ts";
import { configNameOf, type ConfigSource, configSources, problemLine } from "../config-sources.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { loadOptionsOf } from "../view.ts";

/**
 * `device-classes`: prints the DeviceClass of each resource, once, in the order of the configs. The status is 2 when a config is rejected, and
 * then nothing is printed; and when an entry is skipped, or the name of its resource is too long for DRA: then all others are printed.
 */
export async function printDeviceClasses(line: CommandLine, output: Output): Promise<number> {
  const sources = await configSources(line, output);
  const read = sources.map((source) => readSource(source, line));
  const problems = read.flatMap((each) => each.problems);
  for (const { source, problems: found } of read)
    for (const problem of found)
      output.err(`${problemLine({ file: source.file, ...configNameOf(source.configMap) }, problem)}\n`);
  if (problems.some(({ severity }) => severity === "error")) return exitStatus.operatorMistake;
  // Nodes with configs of their own have resources in common.
  const specs = new Map(read.flatMap((each) => each.specs.map((spec) => [spec.resource, spec] as const)));
  const classes = deviceClassesOf([...specs.values()], line.options["dra-driver-name"]);
  if (classes.length === 0) output.err("note: no pool, so no DeviceClass\n");
  output.out(line.options.output === "json" ? listOf(classes) : await documentsOf(classes));
  return problems.some(({ severity }) => severity === "skip") ? exitStatus.operatorMistake : exitStatus.ok;
}

interface ReadSource {
  readonly source: ConfigSource;
  readonly specs: readonly PoolSpec[];
  readonly problems: readonly Problem[];
}

function readSource(source: ConfigSource, line: CommandLine): ReadSource {
  const { text, problems, place } = source;
  if (text === null) return { source, specs: [], problems };
  const { specs, entries, problems: found } = loadConfig(text, loadOptionsOf(line));
  const warn = warnings(text);
  const unpublished = (specs ?? []).flatMap(({ resource }, index): Problem[] => {
    const problem = resourceProblem(resource);
    if (problem === null) return [];
    const message = `${resource} ${problem}; shorten resourceName or resourcePrefix`;
    return [{ ...warn({ entry: entries[index] ?? 0 }, message), severity: "skip" }];
  });
  return { source, specs: specs ?? [], problems: [...found, ...unpublished].toSorted(inFileOrder).map(place) };
}

/** One YAML document a class. */
async function documentsOf(classes: readonly DeviceClass[]): Promise<string> {
  const { stringify } = await import("yaml");
  // YAML 1.1, as the readers of Kubernetes: it quotes what they would take for a number.
  return classes.map((each) => `---\n${stringify(each, { version: "1.1", lineWidth: 0 })}`).join("");
}

const listOf = (items: readonly DeviceClass[]): string =>
  `${JSON.stringify({ apiVersion: "v1", kind: "List", items }, null, 2)}\n`;
