// `capture`: what does a bug report need? The node as a text from which a test can be made.

import { release } from "node:os";
import { oneLine } from "../../text.ts";
import { captureNode } from "../../host/node-capture.ts";
import { commit, version } from "../../process/build-info.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";

/** `capture`: prints the node, without the config file. */
export async function capture(line: CommandLine, output: Output): Promise<number> {
  const { text, problems } = await captureNode(pathsOf(line).root);
  output.out(`# Captured by sriovdp ${version} (${commit}) on Linux ${release()}\n\n${text}`);
  for (const { message } of problems) output.err(`warning: ${oneLine(message)}\n`);
  return exitStatus.ok;
}
