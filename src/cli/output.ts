// Where does a command print, and in which form? What it found goes to standard output, what is wrong to standard error.

import type { Options } from "./options.ts";
import type { Style } from "./table.ts";

/** Exit statuses. */
export const exitStatus = { ok: 0, failure: 1, operatorMistake: 2 } as const;

/** Where a command prints. */
export interface Output extends Style {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** What is to be known of a stream to decide about colours. */
interface Stream {
  readonly isTTY?: boolean;
}

/** Whether a stream takes colours: a terminal does, unless NO_COLOR is set or TERM is "dumb". */
export function takesColour({ isTTY }: Stream, environment: Readonly<Record<string, string | undefined>>): boolean {
  return isTTY === true && (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
}

/** The process's own streams. */
export const output: Output = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  get colour() {
    return takesColour(process.stdout, process.env);
  },
  get columns() {
    return process.stdout.columns ?? null;
  },
};

/** Prints `data` as JSON or YAML, or what `text` makes of it for a person. */
export async function print(
  { out }: Output,
  format: Options["output"],
  data: unknown,
  text: () => string,
): Promise<void> {
  if (format === "table") out(text());
  else if (format === "json") out(`${JSON.stringify(data, null, 2)}\n`);
  else {
    const { stringify } = await import("yaml");
    // As in JSON, all that is said twice is written twice; YAML 1.1 quotes what its readers would take for a number.
    out(stringify(data, { version: "1.1", aliasDuplicateObjects: false, lineWidth: 0 }));
  }
}
