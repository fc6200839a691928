// How much is logged? The upstream plugin's numbers, of which 0 is the lowest, and names for levels.

import { LogLevels } from "consola/core";

/** The lowest verbosity at which debug lines are written. */
export const debugVerbosity = 5;

/** Levels by name, as verbosities. */
export const verbosities = { debug: debugVerbosity, info: 0, warn: -100, error: -200 } as const;

/** The highest level of consola that is logged. */
export function levelOf(verbosity: number): number {
  if (verbosity >= debugVerbosity) return LogLevels.debug;
  if (verbosity > verbosities.warn) return LogLevels.info;
  return verbosity > verbosities.error ? LogLevels.warn : LogLevels.error;
}
