// `probe`: is the running plugin alive, is it ready?

import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { answerLimits, ask, orFailure, waitForPlugin } from "../plugin-socket.ts";

/** How long `probe startup` waits for the plugin, in milliseconds: less than timeoutSeconds of the manifests' start-up probe. */
const startupLimit = 50_000;

/**
 * `probe`: exit status 0 when the plugin says "ok"; else the reasons on standard error. `probe startup` checks what `probe liveness` checks,
 * once the plugin is ready or has had the time for it: the kubelet records an event for every probe that fails, readiness probes too.
 */
export async function probe(line: CommandLine, output: Output): Promise<number> {
  const route = line.operands[0] === "readiness" ? "/readyz" : "/livez";
  if (line.operands[0] === "startup") await waitForPlugin(line, "/readyz", startupLimit);
  return orFailure(output, async () => {
    const response = await ask(line, route, answerLimits.probe);
    const text = await response.text();
    if (response.ok) output.out(text);
    else output.err(text);
    return response.ok ? exitStatus.ok : exitStatus.failure;
  });
}
