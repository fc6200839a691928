// `schema`: by what can an editor, CI or a program check a config file, or what a command prints as JSON?

import configSchema from "../../../docs/reference/config.schema.json" with { type: "json" };
import { outputSchemas } from "../output-schemas.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";

/** `schema`: prints the JSON Schema of the config file, which `npm run docs` makes, or of a command's output. */
export function printSchema({ operands: [name = "config"] }: CommandLine, { out }: Output): number {
  const schema = name === "config" ? configSchema : outputSchemas[name as keyof typeof outputSchemas];
  out(`${JSON.stringify(schema, null, 2)}\n`);
  return exitStatus.ok;
}
