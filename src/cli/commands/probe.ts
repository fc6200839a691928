// `probe`: does the running plugin live, does it serve?

import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { answered, answerLimits } from "../plugin-socket.ts";

/** `probe`: exit status 0 when the plugin says "ok"; else the reasons on standard error. */
export function probe(line: CommandLine, output: Output): Promise<number> {
  const route = line.operands[0] === "liveness" ? "/livez" : "/readyz";
  return answered(line, output, route, answerLimits.probe, async (response) => {
    const text = await response.text();
    if (response.ok) output.out(text);
    else output.err(text);
    return response.ok ? exitStatus.ok : exitStatus.failure;
  });
}
