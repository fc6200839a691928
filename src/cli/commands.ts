// Which code runs a command? One file each, loaded when it is asked for: the plugin itself needs none of them.

import type { Command } from "./options.ts";
import type { Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";

/** Runs a command and gives its exit status. */
export type Run = (line: CommandLine, output: Output) => number | Promise<number>;

/** Every command but `run`. */
export const runs: Readonly<Record<Exclude<Command, "run">, () => Promise<Run>>> = {
  discover: async () => (await import("./discover.ts")).discover,
  explain: async () => (await import("./explain.ts")).explainCommand,
  validate: async () => (await import("./validate.ts")).validate,
  schema: async () => (await import("./schema.ts")).printSchema,
  status: async () => (await import("./ask.ts")).status,
  probe: async () => (await import("./ask.ts")).probe,
  completion: async () => (await import("./completion.ts")).printCompletion,
  man: async () => (await import("./man.ts")).printManual,
  capture: async () => (await import("./capture.ts")).capture,
  version: async () => (await import("./version.ts")).printVersion,
};
