// What does each command do besides running? They look once, print, and leave.

import { release } from "node:os";
import { readConfigFile } from "../config/file.ts";
import { formatProblem, oneLine } from "../config/problem.ts";
import { captureNode } from "../host/capture.ts";
import { lookAtNode } from "../host/look.ts";
import { limits } from "../limits.ts";
import { askedBy } from "../pools/asked.ts";
import { assignPools } from "../pools/assign.ts";
import { explain } from "../pools/explain.ts";
import type { PoolSpec } from "../pools/pool.ts";
import { commit, version } from "../version.ts";
import { exitStatus, type Output, print } from "./output.ts";
import type { CommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";
import { deviceTable, explanation } from "./report.ts";

/** Loads the config file and prints its problems; null when it is refused. */
function load(line: CommandLine, { err }: Output): { specs: readonly PoolSpec[]; clean: boolean } | null {
  const { configFile, kubeletRoot } = pathsOf(line);
  const loaded = readConfigFile(configFile, {
    resourcePrefix: line.options["resource-prefix"],
    useCdi: line.options["use-cdi"],
    socketNameLimit: limits.socketPath.most - Buffer.byteLength(`${kubeletRoot}/plugins_registry/`),
  });
  for (const problem of loaded.problems) err(`${formatProblem(configFile, problem)}\n`);
  const clean = loaded.problems.every(({ severity }) => severity === "warning");
  return loaded.specs && { specs: loaded.specs, clean };
}

/** `validate`: prints every problem of the config file. */
export function validate(line: CommandLine, output: Output): number {
  const loaded = load(line, output);
  if (!loaded?.clean) return exitStatus.operatorMistake;
  output.out(`${pathsOf(line).configFile} is valid: ${loaded.specs.length} pools\n`);
  return exitStatus.ok;
}

/** `discover` and `explain`: print devices, pools and reasons as they are now. */
export async function inspect(line: CommandLine, output: Output): Promise<number> {
  const loaded = load(line, output);
  if (!loaded && line.command === "explain") return exitStatus.operatorMistake;
  const specs = loaded?.specs ?? [];
  const { devices, troubles } = await lookAtNode(pathsOf(line).root, askedBy(specs), null);
  const pools = assignPools(specs, devices);
  for (const { message } of troubles) output.err(`warning: ${oneLine(message)}\n`);
  if (line.command === "discover") {
    const placed = devices.map((device) => ({
      ...device,
      pool: pools.find(({ claims }) => claims.has(device.id))?.spec.resource ?? null,
    }));
    await print(output, line.options.output, placed, () =>
      devices.length === 0 ? "no network or accelerator function was found\n" : deviceTable(devices, pools, output),
    );
    return exitStatus.ok;
  }
  const known = new Set(devices.map(({ id }) => id));
  const strangers = line.operands.filter((id) => !known.has(id));
  for (const id of strangers) output.err(`device ${id} is not on this node; "sriovdp discover" lists those that are\n`);
  const shown = line.operands.length === 0 ? devices : devices.filter(({ id }) => line.operands.includes(id));
  const explained = shown.map((device) => ({ device, verdicts: explain(device, pools) }));
  await print(
    output,
    line.options.output,
    explained.map(({ device, verdicts }) => ({ device: device.id, verdicts })),
    () => explained.map(({ device, verdicts }) => explanation(device, verdicts)).join("\n"),
  );
  return strangers.length > 0 ? exitStatus.failure : exitStatus.ok;
}

/** `capture`: prints the node as a text from which a test can be made; of the config file it tells nothing. */
export async function capture(line: CommandLine, output: Output): Promise<number> {
  const { text, troubles } = await captureNode(pathsOf(line).root);
  output.out(`# Captured by sriovdp ${version} (${commit}) on Linux ${release()}\n\n${text}`);
  for (const { message } of troubles) output.err(`warning: ${message}\n`);
  return exitStatus.ok;
}
