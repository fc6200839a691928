// Which lines does the plugin log? One row per message: when it is logged, with which fields, and what it means. A message or field
// that has no row does not compile, and docs/reference/logs.md is made from the rows: programs may match messages and fields.

import { clientLogMessages } from "./client-log-messages.ts";
import { draLogMessages } from "./dra-log-messages.ts";
import type { Level, LogMessageRow } from "./log-message-row.ts";
import { nodeLogMessages } from "./node-log-messages.ts";

/** Messages by what they are about, in the order of the docs. */
export const logMessages = { ...nodeLogMessages, ...clientLogMessages, ...draLogMessages } as const satisfies Readonly<
  Record<string, LogMessageRow>
>;

/** Lines whose message says what it is about; capitals stand for what differs. */
export const logReports = {
  "FILE:LINE:COLUMN: error: PATH: PROBLEM": {
    levels: ["error", "warn"],
    fields: [],
    meaning:
      "A problem of the config file, as `sriovdp validate` prints it. A warning when the rest of the file is in use.",
  },
  "FILE:LINE:COLUMN: warning: PATH: PROBLEM": {
    levels: ["warn", "error"],
    fields: [],
    meaning: "A doubtful part of the config file. An error when it is listed with those that rejected the file.",
  },
  "sriovdp: REASON; nothing was started": {
    levels: ["error"],
    fields: [],
    meaning:
      "The config was rejected at start, and the exit status is 2. Without `--log-format=json` it is printed as plain text.",
  },
  "DEVICE is skipped: REASON": {
    levels: ["warn"],
    fields: [],
    meaning:
      "A device, or one fact about it, could not be read. Other devices are not affected. Logged once until it can be read.",
  },
  "needVhostNet: REASON": {
    levels: ["warn"],
    fields: [],
    meaning: "`/dev/vhost-net` or `/dev/net/tun` is missing or cannot be seen: load the modules `vhost_net` and `tun`.",
  },
  "METHOD was refused": {
    levels: ["warn"],
    fields: ["resource", "driver", "reason"],
    meaning:
      "The plugin refused a call, most often Allocate for a device that has just left. For Allocate the kubelet fails the pod with UnexpectedAdmissionError.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;

/** The type of a line of `logReports`. */
export type LogReport =
  | `${string}: ${"error" | "warning"}: ${string}`
  | `sriovdp: ${string}; nothing was started`
  | `${string} is skipped: ${string}`
  | `needVhostNet: ${string}`
  | `${string} was refused`;

/** All that may be logged. */
export type LogMessage = keyof typeof logMessages | LogReport;

/** The fields that a message may have. */
export type LogFields<M extends LogMessage> = M extends keyof typeof logMessages
  ? Readonly<Partial<Record<(typeof logMessages)[M]["fields"][number], unknown>>>
  : Readonly<Record<string, unknown>>;

/** Writes one line. */
export type WriteLog = <M extends LogMessage>(message: M, fields?: LogFields<M>) => void;

/** What can log at these levels. */
export type LogAt<L extends Level | "fatal"> = Readonly<Record<L, WriteLog>>;
