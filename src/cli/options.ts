// The options of the command line in one table, from which parser, help and documentation are made, as from the commands in command-table.ts.
// It has the flags of the upstream plugin's executable, the arguments of its image's entrypoint, and those of sriovdp alone.

import { cdiModes } from "../allocation/cdi.ts";
import { driverNameProblem } from "../dra/api-names.ts";
import { attributeSets } from "../dra/attributes.ts";
import { verbosities } from "../process/verbosity.ts";
import { allocators } from "../roles/role.ts";
import { parseAddress } from "../telemetry/addresses.ts";
import { type Command, type CommandRow, commands } from "./command-table.ts";
import type { Option } from "./option.ts";

/** Commands that read the config file, that query the running plugin, and that print their result in the format of --output. */
const readsConfig = ["run", "discover", "explain", "validate", "completion"] as const;
const asksPlugin = ["run", "discover", "explain", "validate", "status", "probe", "completion", "report"] as const;
const prints = ["discover", "explain", "validate", "status", "report", "device-classes"] as const;

/** What the name of a DRA driver must be, for one that won't do. */
function draDriverName(text: string): string | null {
  const problem = driverNameProblem(text);
  return problem === null ? null : problem.replace(/^must have/, "a name with").replace(/^must be /, "");
}

export const options = {
  "config-file": {
    kind: "text",
    for: [...readsConfig, "report", "device-classes"],
    default: "/etc/pcidp/config.json",
    value: "FILE",
    help: "Config file with the pools; JSON, comments allowed",
  },
  "resource-prefix": {
    kind: "text",
    for: [...readsConfig, "device-classes"],
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
  allocator: {
    kind: "choice",
    default: "device-plugin",
    choices: allocators,
    value: "ROLE",
    help: "Who allocates devices: device-plugin (the kubelet) or dra (the scheduler)",
  },
  "dra-driver-name": {
    kind: "text",
    for: ["run", "device-classes"],
    default: "dra.sriovdp.io",
    value: "NAME",
    help: "Name of the DRA driver, the same on all nodes",
    expected: draDriverName,
  },
  "dra-attributes": {
    kind: "choice",
    default: "default",
    choices: attributeSets,
    value: "SET",
    help: "Attributes in ResourceSlices: default or extended",
  },
  "node-name": {
    kind: "text",
    default: null,
    value: "NAME",
    help: "With --allocator=dra: name of the Node (default: the host name)",
  },
  "pod-uid": {
    kind: "text",
    default: "",
    value: "UID",
    help: "With --allocator=dra: UID of the plugin's pod, so that updates can overlap",
  },
  kubeconfig: {
    kind: "text",
    default: null,
    value: "FILE",
    help: "With --allocator=dra: access to the API server (default: the pod's)",
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
    for: ["validate", "device-classes"],
    default: null,
    value: "KEY",
    help: "Read only this key of a ConfigMap",
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
    help: "debug, info, warn or error; or a number: debug from 5 on, info below",
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

/** An option as a command takes it: --output has only the formats of the command. */
export function optionFor(command: Command, name: OptionName): Option {
  const option: Option = options[name];
  const { formats }: CommandRow = commands[command];
  if (name !== "output" || formats === undefined) return option;
  return { ...option, choices: formats, default: formats[0] ?? null, help: `Output format: ${formats.join(" or ")}` };
}

/** The options that apply to a command; those of the upstream plugin's logger only with `legacy`. */
export const optionsOf = (command: Command, legacy = false): readonly (readonly [OptionName, Option])[] =>
  (Object.entries(options) as [OptionName, Option][])
    .filter(
      ([, option]) =>
        (legacy || option.legacy !== true) && (option.for === "all" || (option.for ?? ["run"]).includes(command)),
    )
    .map(([name]) => [name, optionFor(command, name)] as const);
