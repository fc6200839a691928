// The options and commands of the command line in one table, from which parser, help and documentation are made.
// It has the flags of the upstream plugin's executable, the arguments of its image's entrypoint, and those of sriovdp alone.

import { cdiModes } from "../allocation/cdi.ts";
import { verbosities } from "../process/verbosity.ts";
import { parseAddress } from "../telemetry/addresses.ts";
import type { Option } from "./option.ts";

/** Commands that read the config file, that query the running plugin, and that print their result in the format of --output. */
const readsConfig = ["run", "discover", "explain", "validate", "completion"] as const;
const asksPlugin = ["run", "discover", "explain", "validate", "status", "probe", "completion", "report"] as const;
const prints = ["discover", "explain", "validate", "status", "report"] as const;

/** The documents that have a JSON Schema. */
export const schemaNames = ["config", "discover", "explain", "report", "status", "validate"] as const;

export const options = {
  "config-file": {
    kind: "text",
    for: [...readsConfig, "report"],
    default: "/etc/pcidp/config.json",
    value: "FILE",
    help: "Config file with the pools; JSON, comments allowed",
  },
  "resource-prefix": {
    kind: "text",
    for: readsConfig,
    default: "intel.com",
    value: "PREFIX",
    help: "Prefix of entries without resourcePrefix",
  },
  "use-cdi": {
    kind: "flag",
    for: readsConfig,
    default: false,
    help: "Pass devices to the container runtime through CDI",
  },
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
    for: asksPlugin,
    default: "/var/lib/kubelet",
    value: "DIR",
    help: "The kubelet's --root-dir",
  },
  "status-socket": {
    kind: "text",
    for: asksPlugin,
    default: null,
    value: "PATH",
    help: "Socket for status, probes and metrics (default: /run/sriovdp)",
  },
  "metrics-address": {
    kind: "text",
    default: null,
    value: "HOST:PORT",
    help: "Also serve metrics and probes at this address; off by default",
    expected: (text) => (parseAddress(text) === null ? "HOST:PORT or [IPV6]:PORT" : null),
  },
  "pod-device-metrics": {
    kind: "flag",
    default: false,
    help: "Add a metric for each allocated device, with its pod",
  },
  root: {
    kind: "text",
    for: [...asksPlugin, "capture"],
    default: "/",
    value: "DIR",
    help: "Root of the node's files, for example a recorded tree",
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
    help: "List every device separately, and all auxiliary devices",
  },
  pool: { kind: "text", for: ["status"], default: null, value: "RESOURCE", help: "Show only this pool" },
  unhealthy: { kind: "flag", for: ["status"], default: false, help: "Show only Unhealthy devices" },
  watch: { kind: "flag", for: ["status"], default: false, help: "Print again whenever something changes" },
  "no-node": {
    kind: "flag",
    for: ["validate"],
    default: false,
    help: "Check only the file, not what it selects on this node",
  },
  node: {
    kind: "text",
    for: ["validate"],
    default: null,
    value: "FILE",
    help: "Check against the node that sriovdp capture wrote to FILE",
  },
  key: {
    kind: "text",
    for: ["validate"],
    default: null,
    value: "KEY",
    help: "Check only this key of a ConfigMap",
  },
  check: {
    kind: "flag",
    for: ["report"],
    default: false,
    help: "Print what the archive would contain, and write nothing",
  },
  strict: { kind: "flag", for: ["validate"], default: false, help: "Exit 1 if there are warnings" },
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
    help: "Log format: text, or one JSON object per line",
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
  help: { kind: "flag", for: "all", aliases: ["h"], default: false, help: "Print help" },
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
  /** Arguments and what they show. */
  readonly examples: readonly (readonly [args: string, what: string])[];
  /** Its operands; a command without them takes none. */
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
  run: {
    help: "Serve the pools to the kubelet and follow the node (the default)",
    examples: [
      ["run --config-file pools.json", "Serve the pools of a file"],
      ["run --metrics-address :9808 --log-format json", "Serve metrics too, and log JSON"],
    ],
  },
  discover: {
    help: "Print the node's devices and their pools",
    examples: [
      ["discover", "PFs with their VFs and SFs, and the pools of all"],
      ["discover --config-file pools.json", "The pools that this file would put them into"],
    ],
  },
  explain: {
    help: "Explain why devices are in their pools or in none, or what is in pools",
    operands: { form: "[DEVICE|RANGE|RESOURCE|NAMESPACE/POD]...", most: Infinity },
    examples: [
      ["explain ens1f0v3", "Why is this VF in its pool, or in none?"],
      ["explain intel.com/sriov_net_A", "What is in this pool, and why is nothing else?"],
      ["explain default/app", "Which devices does this pod have?"],
    ],
  },
  validate: {
    help: "Check the config file, other FILEs or standard input; exit 2 on errors",
    operands: { form: "[FILE|-]...", most: Infinity },
    examples: [
      ["validate configmap.yaml", "Check every config in a manifest"],
      ["validate --strict --node worker.host pools.json", "Check against a captured node, as CI can"],
    ],
  },
  status: {
    help: "Print the running plugin's pools, their devices, and the pods that have them",
    examples: [
      ["status --pool intel.com/sriov_net_A", "One pool: what is free, and who has the rest?"],
      ["status --unhealthy --watch", "Follow what is Unhealthy, and why"],
    ],
  },
  probe: {
    help: "Check whether the running plugin is alive or ready; exit 1 if not",
    operands: { form: "startup|liveness|readiness", least: 1, most: 1, choices: ["startup", "liveness", "readiness"] },
    examples: [
      ["probe readiness", "Is every pool registered?"],
      ["probe liveness", "Does the plugin make progress?"],
    ],
  },
  report: {
    help: "Write a redacted archive for a bug report to FILE or standard output",
    operands: { form: "[FILE|-]", most: 1 },
    examples: [
      ["report --check", "Show what it would contain"],
      ["report report.tar.gz", "Write it"],
    ],
  },
  schema: {
    help: "Print the JSON Schema of the config file or of a command's JSON output",
    operands: { form: "[config|discover|explain|report|status|validate]", most: 1, choices: schemaNames },
    examples: [
      ["schema", "For editors and CI that check config files"],
      ["schema status", "For programs that read status -o json"],
    ],
  },
  completion: {
    help: "Print the completion script of a shell, or the names that explain takes",
    operands: { form: "bash|zsh|fish|names", least: 1, most: 1, choices: ["bash", "zsh", "fish", "names"] },
    examples: [
      ["completion bash", "Load it in bash: source <(sriovdp completion bash)"],
      ["completion names", "All names of devices, pools and pods"],
    ],
  },
  man: {
    help: "Print the manual page",
    examples: [
      ["man | man -l -", "Read it"],
      ["man >/usr/share/man/man8/sriovdp.8", "Install it"],
    ],
  },
  capture: {
    help: "Print the node as text for a bug report, with MACs and GUIDs replaced",
    examples: [
      ["capture >node.host", "Capture this node"],
      ["capture --root /mnt/sysroot", "Capture a node that is mounted elsewhere"],
    ],
  },
  help: {
    help: "Print this help, or the help of a command",
    operands: { form: "[COMMAND]", most: 1 },
    examples: [
      ["help status", "The same as status --help"],
      ["help run", "All options of the plugin"],
    ],
  },
  version: {
    help: "Print the version",
    examples: [
      ["version", "One line"],
      ["--version", "The same"],
    ],
  },
} as const satisfies Record<string, CommandRow>;

export type Command = keyof typeof commands;

/** The options that apply to a command; those of the upstream plugin's logger only with `legacy`. */
export const optionsOf = (command: Command, legacy = false): readonly (readonly [OptionName, Option])[] =>
  (Object.entries(options) as [OptionName, Option][]).filter(
    ([, option]) =>
      (legacy || option.legacy !== true) && (option.for === "all" || (option.for ?? ["run"]).includes(command)),
  );
