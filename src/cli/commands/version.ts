// `version`: which program is this?

import { commit, version } from "../../process/build-info.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";

/** `version` and --version: one line. */
export function printVersion(_: CommandLine, { out }: Output): number {
  out(`sriovdp ${version} (${commit}), Bun ${Bun.version}, ${process.platform}/${process.arch}\n`);
  return exitStatus.ok;
}
