// Queries the running plugin over its socket, for the commands that show its answers.

import { existsSync } from "node:fs";
import type { PluginView } from "../telemetry/node-view.ts";
import { exitStatus, type Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";

/** How long the plugin may take to answer, in milliseconds: probes are frequent, and a late answer is a failure. */
export const answerLimits = { status: 10_000, probe: 3000, node: 3000 } as const;

/** How often a plugin that starts is queried until it answers, in milliseconds. */
const startupPeriod = 200;

/** Queries the first socket that has a listener; throws an error for the operator when no plugin answers in time. */
export async function ask(line: CommandLine, route: string, limit: number): Promise<Response> {
  const { statusSockets } = pathsOf(line);
  const reasons: string[] = [];
  for (const path of statusSockets.filter((each) => existsSync(each))) {
    try {
      return await fetch(`http://localhost${route}`, { unix: path, signal: AbortSignal.timeout(limit) });
    } catch (error) {
      const { name, code } = error as { name: string; code?: string };
      if (name === "TimeoutError")
        throw new Error(`the plugin did not answer at ${path} within ${limit / 1000} s`, { cause: error });
      reasons.push(`${path}: ${code ?? name}`);
    }
  }
  const why = reasons.length > 0 ? reasons.join("; ") : `there is no socket at ${statusSockets.join(" or ")}`;
  throw new Error(`cannot reach the plugin (${why}); is it running, and are you root?`);
}

/** Waits until the plugin answers a route with success, `limit` milliseconds at most; what it answers then is for the caller to ask. */
export async function waitForPlugin(line: CommandLine, route: string, limit: number): Promise<void> {
  const end = performance.now() + limit;
  while (performance.now() < end) {
    const response = await ask(line, route, answerLimits.probe).catch(() => null);
    if (response?.ok === true) return;
    await Bun.sleep(startupPeriod);
  }
}

/** The node as the running plugin has it, and its status; or why no plugin answers. */
export async function askNode(line: CommandLine): Promise<PluginView | string> {
  try {
    return JSON.parse(await askText(line, "/node", answerLimits.node)) as PluginView;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What the running plugin answers as text; throws, with an error for the operator, when it does not. */
export async function askText(line: CommandLine, route: string, limit: number): Promise<string> {
  const response = await ask(line, route, limit);
  const text = await response.text();
  if (!response.ok) throw new Error(`the plugin answers ${response.status}: ${text.trim()}`);
  return text;
}

/** The exit status of `run`; what it throws is printed, and a failure. */
export async function orFailure(output: Output, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    output.err(`sriovdp: ${(error as Error).message}\n`);
    return exitStatus.failure;
  }
}
