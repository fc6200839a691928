// Which code runs a command? One file each, loaded when it runs: the plugin itself needs none of them.

import type { Command } from "./command-table.ts";
import type { Output } from "./output.ts";
import type { CommandLine } from "./parse.ts";

/** Runs a command and returns its exit status. */
export type Run = (line: CommandLine, output: Output) => number | Promise<number>;

/** Every command but `run`. */
export const runs: Readonly<Record<Exclude<Command, "run">, () => Promise<Run>>> = {
  discover: async () => (await import("./commands/discover.ts")).discover,
  explain: async () => (await import("./commands/explain.ts")).explainCommand,
  validate: async () => (await import("./commands/validate.ts")).validate,
  "device-classes": async () => (await import("./commands/print-device-classes.ts")).printDeviceClasses,
  help: async () => (await import("./commands/help.ts")).printHelp,
  report: async () => (await import("./commands/report.ts")).report,
  schema: async () => (await import("./commands/schema.ts")).printSchema,
  status: async () => (await import("./commands/status.ts")).status,
  probe: async () => (await import("./commands/probe.ts")).probe,
  completion: async () => (await import("./commands/completion.ts")).printCompletion,
  man: async () => (await import("./commands/man.ts")).printManual,
  capture: async () => (await import("./commands/capture.ts")).capture,
  version: async () => (await import("./commands/version.ts")).printVersion,
};
