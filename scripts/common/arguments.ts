// Parses the options of a script; a wrong call ends it with status 2 and the reason.

import { parseArgs, type ParseArgsConfig } from "node:util";
import { messageOf } from "../../src/text.ts";

type Parsed<T extends ParseArgsConfig> = ReturnType<typeof parseArgs<T>>;

/** Reads the script's arguments; --help prints the usage and ends the script. */
export function argumentsOf<const T extends ParseArgsConfig>(usage: string, config: T): Parsed<T> {
  if (process.argv.includes("--help")) {
    console.log(`usage: ${usage}`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    return misused(messageOf(error), usage);
  }
}

/** Reads the number of at least `least` that an option has. */
export function numberOf(option: string, text: string, least = 0): number {
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) && number >= least
    ? number
    : misused(`--${option} takes a number of at least ${least}, not ${JSON.stringify(text)}`);
}

/** The value of an option that has one of these values. */
export function oneOf<const T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  return found ?? misused(`${option} takes one of ${choices.join(", ")}, not ${JSON.stringify(text)}`);
}

/** Ends a script that cannot do what was requested. */
export function misused(reason: string, usage?: string): never {
  console.error(usage === undefined ? reason : `${reason}\nusage: ${usage}`);
  process.exit(2);
}
