// `status`: what does the running plugin say of itself, its pools and their devices?

import { didYouMean } from "../../config/problem.ts";
import { oneLine } from "../../text.ts";
import type { FullStatus } from "../../telemetry/plugin-status.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { answerLimits, askText, orFailure } from "../plugin-socket.ts";
import { statusReport } from "../status-report.ts";

/** How often --watch queries the plugin, in milliseconds. */
const watchEvery = 1000;

/** `status`: prints what the plugin says of itself; with --watch again whenever that changes, until a signal ends it. */
export async function status(line: CommandLine, output: Output): Promise<number> {
  if (!line.options.watch) return ask(line, output, (seen) => show(line, output, seen));
  let before = "";
  for (;;) {
    let failure = "";
    const seeing = { ...output, err: (text: string) => void (failure += text) };
    await ask(line, seeing, async (seen) => {
      const now = JSON.stringify(lasting(seen));
      if (now === before) return exitStatus.ok;
      before = now;
      output.out(startOfScreen(output));
      return show(line, output, seen);
    });
    // The plugin may be restarted meanwhile: what is wrong is printed once.
    if (failure !== "" && failure !== before) output.err(failure);
    if (failure !== "") before = failure;
    await Bun.sleep(watchEvery);
  }
}

const ask = (line: CommandLine, output: Output, use: (seen: FullStatus) => Promise<number>): Promise<number> =>
  orFailure(output, async () => use(JSON.parse(await askText(line, "/status", answerLimits.status)) as FullStatus));

/** A screen of its own for each state, where there is a screen (ECMA-48 ED and CUP). */
const startOfScreen = ({ columns }: Output): string => (columns === null ? "" : "\x1b[H\x1b[2J");

/** What is worth another print: not how often the node was scanned. */
function lasting({ scans, ...status }: FullStatus) {
  return { ...status, scans: { failure: scans.failure, reading: scans.stalled?.reading } };
}

async function show(line: CommandLine, output: Output, seen: FullStatus): Promise<number> {
  const { pool, unhealthy } = line.options;
  const resources = seen.pools.map(({ resource }) => resource);
  const selected = resources.find((resource) => resource === pool || resource.endsWith(`/${pool}`)) ?? null;
  if (pool !== null && selected === null) {
    const near = didYouMean(pool, resources);
    const hint = near === null ? `; pools: ${resources.join(", ") || "none"}` : `; did you mean ${near}?`;
    output.err(`sriovdp: ${oneLine(`no pool is named ${JSON.stringify(pool)}${hint}`)}\n`);
    return exitStatus.failure;
  }
  const shown = filtered(seen, selected, unhealthy);
  const style = { ...styleOf(line, output), isFiltered: selected !== null || unhealthy };
  await print(output, line.options.output, shown, () => statusReport(shown, style));
  return exitStatus.ok;
}

/** The status of one pool, of Unhealthy devices, or of both. Counts stay those of whole pools. */
function filtered(status: FullStatus, resource: string | null, unhealthy: boolean): FullStatus {
  const ofPool = resource === null ? status.pools : status.pools.filter((pool) => pool.resource === resource);
  const pools = unhealthy
    ? ofPool.map((pool) => ({ ...pool, devices: pool.devices.filter(({ health }) => health === "Unhealthy") }))
    : ofPool;
  if (resource === null) return { ...status, pools };
  return {
    ...status,
    pools,
    allocated: status.allocated?.filter((each) => each.resource === resource) ?? null,
    retentions: status.retentions.filter((each) => each.resource === resource || each.nextPool === resource),
  };
}
