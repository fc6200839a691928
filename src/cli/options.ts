// What can be said on the command line? One table: parser, help and documentation follow it.
// It holds the upstream plugin's binary's flags, its image's entrypoint arguments, and ours.

import { cdiModes } from "../allocation/cdi.ts";
import { verbosities } from "../process/verbosity.ts";
import { parseAddress } from "../telemetry/addresses.ts";

/** One option. */
export interface Option {
  readonly kind: "text" | "flag" | "number" | "choice";
  /** Other spellings, without dashes. */
  readonly aliases?: readonly string[];
  readonly default: string | boolean | number | null;
  /** How its value is called in the help. */
  readonly value?: string;
  readonly help: string;
  /** The commands that heed it; `run` alone when it is missing. The others ignore it. */
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

/** Commands that read the config file, and commands that print what they found in the form that is asked for. */
const readsConfig = ["run", "discover", "explain", "validate", "completion"] as const;
const prints = ["discover", "explain", "validate", "status"] as const;

export const options = {
  "config-file": {
    kind: "text",
    for: readsConfig,
    default: "/etc/pcidp/config.json",
    value: "FILE",
    help: "The pools: JSON, comments allowed",
  },
  "resource-prefix": {
    kind: "text",
    for: readsConfig,
    default: "intel.com",
    value: "PREFIX",
    help: "Prefix of entries without resourcePrefix",
  },
  "use-cdi": { kind: "flag", for: readsConfig, default: false, help: "Hand devices to the container runtime by CDI" },
  "cdi-mode": {
    kind: "choice",
    default: "cdi-devices",
    choices: cdiModes,
    value: "MODE",
    help: "With --use-cdi: cdi-devices or annotations",
  },
  "link-health": {
    kind: "flag",
    for: ["run", "discover", "explain"],
    default: true,
    help: "Report devices whose link is down as Unhealthy",
  },
  "resync-interval": {
    kind: "number",
    default: 300,
    least: 1,
    // A timer takes no more milliseconds than a signed 32-bit number holds.
    most: 2_147_483,
    value: "SECONDS",
    help: "Maximum interval between full rescans",
  },
  "kubelet-root-dir": {
    kind: "text",
    for: ["run", "validate", "status", "probe"],
    default: "/var/lib/kubelet",
    value: "DIR",
    help: "The kubelet's --root-dir",
  },
  "status-socket": {
    kind: "text",
    for: ["run", "discover", "explain", "validate", "status", "probe"],
    default: null,
    value: "PATH",
    help: "Socket for status, probes and metrics (default: /run/sriovdp)",
  },
  "metrics-address": {
    kind: "text",
    default: null,
    value: "HOST:PORT",
    help: "Also serve metrics and probes there; off by default",
    expected: (text) => (parseAddress(text) === null ? "HOST:PORT or [IPV6]:PORT" : null),
  },
  "pod-device-metrics": {
    kind: "flag",
    default: false,
    help: "Add a metric for each allocated device, with its pod",
  },
  root: {
    kind: "text",
    for: ["run", "discover", "explain", "validate", "status", "probe", "completion", "capture"],
    default: "/",
    value: "DIR",
    help: "Read and write the node below DIR: a recorded tree",
  },
  output: {
    kind: "choice",
    for: prints,
    aliases: ["o"],
    default: "table",
    choices: ["table", "wide", "json", "yaml"],
    value: "FORMAT",
    help: "Output format: table, wide, json or yaml",
  },
  json: { kind: "flag", for: prints, default: false, help: "The same as --output=json", means: ["output", "json"] },
  all: {
    kind: "flag",
    for: ["discover", "explain"],
    default: false,
    help: "Fold nothing, and show every auxiliary device",
  },
  pool: { kind: "text", for: ["status"], default: null, value: "RESOURCE", help: "Show this pool alone" },
  unhealthy: { kind: "flag", for: ["status"], default: false, help: "Show only devices that are Unhealthy" },
  watch: { kind: "flag", for: ["status"], default: false, help: "Print again whenever something changes" },
  "no-node": {
    kind: "flag",
    for: ["validate"],
    default: false,
    help: "Check the file alone, not what it selects on this node",
  },
  strict: { kind: "flag", for: ["validate"], default: false, help: "Exit 1 when there are warnings" },
  "log-level": {
    kind: "number",
    aliases: ["v"],
    default: 0,
    value: "LEVEL",
    help: "debug, info, warn, error or a number; debug from 5 on",
    words: verbosities,
  },
  "log-format": {
    kind: "choice",
    default: "text",
    choices: ["text", "json"],
    value: "FORMAT",
    help: "One line an event, as text or as a JSON object",
  },
  "log-dir": {
    kind: "text",
    default: null,
    value: "NAME",
    help: "Log to files in /var/log/NAME, and to standard error",
  },
  log_dir: {
    kind: "text",
    default: null,
    value: "DIR",
    help: "Log to files in DIR, and errors to standard error",
    legacy: true,
  },
  logtostderr: { kind: "flag", default: false, help: "Log to standard error only", legacy: true },
  alsologtostderr: {
    kind: "flag",
    default: false,
    help: "With log_dir: log everything to standard error too",
    legacy: true,
  },
  stderrthreshold: {
    kind: "text",
    default: null,
    value: "LEVEL",
    help: "Accepted; has no effect",
    legacy: true,
  },
  vmodule: { kind: "text", default: null, value: "LIST", help: "Accepted; has no effect", legacy: true },
  log_backtrace_at: {
    kind: "text",
    default: null,
    value: "FILE:LINE",
    help: "Accepted; has no effect",
    legacy: true,
  },
  help: { kind: "flag", for: "all", aliases: ["h"], default: false, help: "Print this help" },
  version: { kind: "flag", for: "all", default: false, help: "Print the version" },
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof options;

type Value<O extends Option> = O["kind"] extends "flag"
  ? boolean
  : O["kind"] extends "number"
    ? number
    : O extends { readonly choices: readonly (infer C)[] }
      ? C
      : O["default"] extends null
        ? string | null
        : string;

/** The values of all options. */
export type Options = { readonly [K in OptionName]: Value<(typeof options)[K]> };

/** A command. */
export interface CommandRow {
  readonly help: string;
  /** What may stand behind its name; a command without takes nothing. */
  readonly operands?: {
    /** As the help and errors call them. */
    readonly form: string;
    readonly most: number;
    /** How many must be given; none when it is missing. */
    readonly least?: number;
    /** All words that are taken, where they are known. */
    readonly choices?: readonly string[];
  };
}

export const commands = {
  run: { help: "Offer the devices to the kubelet and follow the node (the default)" },
  discover: { help: "Print the node's devices and the pool that each one is in" },
  explain: {
    help: "Print why a device is in its pool, or what is in a pool",
    operands: { form: "[DEVICE|RESOURCE]…", most: Infinity },
  },
  validate: {
    help: "Check the config file, or FILE, or standard input; exit 2 for errors",
    operands: { form: "[FILE|-]", most: 1 },
  },
  status: { help: "Print what the running plugin says of itself and its pools" },
  probe: {
    help: "Ask the running plugin whether it is alive, or ready; exit 1 when not",
    operands: { form: "liveness|readiness", least: 1, most: 1, choices: ["liveness", "readiness"] },
  },
  schema: { help: "Print the JSON Schema of the config file, for editors and CI" },
  completion: {
    help: "Print the completions for a shell, or the names that explain takes",
    operands: { form: "bash|zsh|fish|names", least: 1, most: 1, choices: ["bash", "zsh", "fish", "names"] },
  },
  man: { help: "Print the manual page; see it by: sriovdp man | man -l -" },
  capture: { help: "Print the node as text for a bug report, MACs and GUIDs replaced" },
  version: { help: "Print the version" },
} as const satisfies Record<string, CommandRow>;

export type Command = keyof typeof commands;

/** The options that a command heeds; those of the upstream plugin's logger only where they are asked for. */
export const optionsOf = (command: Command, legacy = false): readonly (readonly [OptionName, Option])[] =>
  (Object.entries(options) as [OptionName, Option][]).filter(
    ([, option]) =>
      (legacy || option.legacy !== true) && (option.for === "all" || (option.for ?? ["run"]).includes(command)),
  );
