// `schema`: by what can an editor, or CI, check a config file?

import schema from "../../../docs/reference/config.schema.json" with { type: "json" };
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";

/** `schema`: prints the JSON Schema of the config file, which `npm run docs` makes. */
export function printSchema(_: CommandLine, { out }: Output): number {
  out(`${JSON.stringify(schema, null, 2)}\n`);
  return exitStatus.ok;
}
