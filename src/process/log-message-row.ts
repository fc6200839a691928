// What is documented of a log message beside its text.

/** The level of a line, as `--log-level` names it. */
export type Level = "debug" | "info" | "warn" | "error";

/** What the docs say of a message. */
export interface LogMessageRow {
  /** The usual level first; a second one where it depends: repeats of a failure are debug lines. */
  readonly levels: readonly Level[];
  readonly fields: readonly string[];
  /** What happened and, where there is something to do, what to do. */
  readonly meaning: string;
}
