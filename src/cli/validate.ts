import { loadConfigFile } from "./look.ts";
import { exitStatus, type Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";
export function validate(line: CommandLine, output: Output): number {
  const loaded = loadConfigFile(line, output);
  if (!loaded.specs || loaded.problems.some(({ severity }) => severity !== "warning"))
    return exitStatus.operatorMistake;
  output.out(`${pathsOf(line).configFile} is valid: ${loaded.specs.length} pools\n`);
  return exitStatus.ok;
}
