// `status`: what does the running plugin say of itself?

import type { FullStatus } from "../../telemetry/plugin-status.ts";
import { exitStatus, type Output, print } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { answered, answerLimits } from "../plugin-socket.ts";
import { statusReport } from "../status-report.ts";

/** `status`: prints what the plugin says of itself. */
export function status(line: CommandLine, output: Output): Promise<number> {
  return answered(line, output, "/status", answerLimits.status, async (response) => {
    if (!response.ok) throw new Error(`the plugin answers ${response.status}: ${await response.text()}`);
    const told = (await response.json()) as FullStatus;
    await print(output, line.options.output, told, () => statusReport(told, output));
    return exitStatus.ok;
  });
}
