// What is an option of the command line? The form of a row in the table of options.ts.

import type { Command } from "./command-table.ts";

/** One option. */
export interface Option {
  readonly kind: "text" | "flag" | "number" | "choice";
  /** Other spellings, without dashes. */
  readonly aliases?: readonly string[];
  readonly default: string | boolean | number | null;
  /** How its value is called in the help. */
  readonly value?: string;
  readonly help: string;
  /** The commands that take it; `run` alone when it is missing. For the others it is an error. */
  readonly for?: readonly Command[] | "all";
  /** Accepted for the upstream plugin's sake; the help says what it does here. */
  readonly legacy?: true;
  /** The smallest number allowed. */
  readonly least?: number;
  /** The largest number allowed. */
  readonly most?: number;
  /** All values of a choice. */
  readonly choices?: readonly string[];
  /** The option and the value that this flag is a short form of. */
  readonly means?: readonly [option: string, value: string];
  /** Words that a number may be given as. */
  readonly words?: Readonly<Record<string, number>>;
  /** What must be written in its place, for a text that won't do; null for one that will. */
  readonly expected?: (text: string) => string | null;
}
