// How much is logged? The upstream plugin's numbers, of which 0 is its least, and names for what lies around them.

import { LogLevels } from "consola/core";

/** The verbosity from which on debug lines are written. */
export const debugVerbosity = 5;

/** Levels by name, as verbosities. */
export const verbosities = { debug: debugVerbosity, info: 0, warn: -100, error: -200 } as const;

/** The level of consola from which on lines are left out. */
export function levelOf(verbosity: number): number {
  if (verbosity >= debugVerbosity) return LogLevels.debug;
  if (verbosity > verbosities.warn) return LogLevels.info;
  return verbosity > verbosities.error ? LogLevels.warn : LogLevels.error;
}
