// The commands of the command line in one table, from which parser, help and documentation are made.

/** The documents that have a JSON Schema. */
export const schemaNames = ["config", "discover", "explain", "report", "status", "validate"] as const;

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
  /** The formats of its output, the first by default; those of --output when it is missing. */
  readonly formats?: readonly string[];
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
  "device-classes": {
    help: "Print the DeviceClasses of the pools in the config file, FILEs or standard input",
    operands: { form: "[FILE|-]...", most: Infinity },
    formats: ["yaml", "json"],
    examples: [
      ["device-classes configmap.yaml | kubectl apply -f -", "Create those of every config in a manifest"],
      ["device-classes --config-file pools.json >device-classes.yaml", "Write them to a file, for a repository"],
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
