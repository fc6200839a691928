// Which lines does the plugin log? One row a message: when it is logged, with which fields, and what it means. A message or field
// that has no row does not compile, and docs/reference/logs.md is made from the rows: programs may match messages and fields.

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

/** Messages by what they are about, in the order of the docs. */
export const logMessages = {
  // The process
  starting: { levels: ["info"], fields: ["version", "commit"], meaning: "The process started." },
  "waiting for the kubelet's folders": {
    levels: ["warn"],
    fields: ["root"],
    meaning:
      "Neither `plugins_registry` nor `device-plugins` exists below `root`. Check `--kubelet-root-dir` and, in a container, the mounts.",
  },
  ready: {
    levels: ["info"],
    fields: ["pools", "devices", "mode", "ms"],
    meaning:
      "The initial scan is complete and every pool with devices has its socket. `mode` is how pools register: `watcher` or `legacy`.",
  },
  "reload requested": {
    levels: ["info"],
    fields: [],
    meaning: "SIGHUP was received: the config is read and the node scanned again.",
  },
  exiting: { levels: ["info"], fields: ["signal"], meaning: "The process exits because of this signal." },
  "exiting on an unexpected error; please report it": {
    levels: ["error"],
    fields: ["reason", "stack"],
    meaning: "A defect. Sockets are removed and the exit status is 1; Kubernetes or systemd restarts the plugin.",
  },
  "--cdi-mode has no effect without --use-cdi": {
    levels: ["warn"],
    fields: [],
    meaning: "Add `--use-cdi`, or remove `--cdi-mode`.",
  },
  "cannot notify systemd": {
    levels: ["warn"],
    fields: ["reason"],
    meaning: "The service manager's socket cannot be written to. With a watchdog, systemd will restart the unit.",
  },
  "memory released": {
    levels: ["debug"],
    fields: ["from", "to"],
    meaning: "The plugin is idle and returned memory to the kernel; resident sizes before and after.",
  },
  "standard error was not read; lines dropped": {
    levels: ["warn"],
    fields: ["lines"],
    meaning: "The reader of standard error was too slow; `lines` are missing before this one.",
  },
  "cannot write to the log folder; logging to standard error": {
    levels: ["warn"],
    fields: ["folder", "reason"],
    meaning: "The folder of `--log-dir` is missing, read-only or full. File logging resumes after a restart.",
  },

  // The config
  "config loaded": { levels: ["info"], fields: ["file", "pools"], meaning: "The config file was read and is in use." },
  "config rejected; the previous config stays active": {
    levels: ["error"],
    fields: ["file", "problems"],
    meaning: "The changed file has errors; the lines before this one list them. Pools stay as they are.",
  },
  "config warning": {
    levels: ["warn"],
    fields: ["resource", "selector", "warning"],
    meaning: "Something in the config is doubtful on this node, for example a selector that matches nothing.",
  },

  // Scans
  "scanned the node": {
    levels: ["debug"],
    fields: ["stale", "devices", "effects", "ms"],
    meaning: "A scan is complete: what was read again, how many devices were found, and what changed.",
  },
  "node scan failed; retrying": {
    levels: ["error"],
    fields: ["reason"],
    meaning: "The node could not be scanned as a whole; device lists stay as they are. Retried every 5 s.",
  },
  "node scan stalled: a driver does not answer; device lists stay as they are": {
    levels: ["error"],
    fields: ["reading"],
    meaning: "A read has not returned for 5 s; `reading` is what was being read. `dmesg` usually names the driver.",
  },
  "node scans complete again": { levels: ["info"], fields: [], meaning: "The driver answers again." },
  "kernel events were lost; rescanning": {
    levels: ["debug"],
    fields: ["reason"],
    meaning: "The kernel's event queue overflowed, so the whole node is scanned.",
  },
  "device excluded": {
    levels: ["info"],
    fields: ["device", "reason", "until"],
    meaning: "The host needs the device, so no pool offers it; see [exclusions](health-and-exclusions.md#exclusions).",
  },
  "device no longer excluded": {
    levels: ["info"],
    fields: ["device", "reason"],
    meaning: "The reason of an exclusion is gone; pools may offer the device.",
  },

  // Pools
  "serving the pool": {
    levels: ["info"],
    fields: ["resource", "devices", "unhealthy"],
    meaning: "The pool has a socket and will be registered with the kubelet.",
  },
  'devices start as Unhealthy; "linkHealth": false in the entry or --link-health=false turns the link part off': {
    levels: ["warn"],
    fields: ["resource", "reason", "functions"],
    meaning: "Some devices of a new pool are Unhealthy; one line for each reason.",
  },
  "the pool's devices changed": {
    levels: ["info"],
    fields: ["resource", "added", "removed", "devices"],
    meaning: "Devices were added to or removed from the pool; `devices` is their number now.",
  },
  "devices are Unhealthy": {
    levels: ["warn"],
    fields: ["resource", "reason", "devices"],
    meaning: "Devices became Unhealthy, or the reason changed. The kubelet allocates none of them.",
  },
  "devices are Healthy again": {
    levels: ["info"],
    fields: ["resource", "devices"],
    meaning: "The kubelet may allocate these devices again.",
  },
  "the pool has more devices than a list can hold; split it": {
    levels: ["error"],
    fields: ["resource", "devices", "offered"],
    meaning: "Only `offered` of the pool's devices are in the kubelet's list; see [limits](limits.md).",
  },
  "cannot update the pool; retrying": {
    levels: ["error"],
    fields: ["resource", "reason"],
    meaning:
      "A change of the pool failed, for example because its socket could not be made. Other pools are not affected.",
  },
  "stopped serving the pool: it left the config": {
    levels: ["info"],
    fields: ["resource"],
    meaning: "The pool's entry was removed, so its socket is gone and the resource will disappear from the node.",
  },

  // The kubelet
  "kubelet is missing; pools are registered when it appears": {
    levels: ["warn"],
    fields: ["path", "hint"],
    meaning: "There has been no kubelet for 10 s. Is it running, and is its folder mounted?",
  },
  "waiting for the kubelet's folder": {
    levels: ["debug"],
    fields: ["resource", "folder"],
    meaning: "The folder for the pool's socket does not exist yet.",
  },
  "waiting for the kubelet's socket": {
    levels: ["debug"],
    fields: ["resource", "socket"],
    meaning: "`kubelet.sock` does not exist yet.",
  },
  "registered the pool with the kubelet": {
    levels: ["info", "debug"],
    fields: ["resource"],
    meaning: "The kubelet accepted the registration. At debug level when it is not the first one.",
  },
  "cannot register the pool; retrying": {
    levels: ["warn", "debug"],
    fields: ["resource", "reason"],
    meaning:
      "The registration failed, or the pool's socket could not be made. At debug level while the reason stays the same.",
  },
  "kubelet connected": {
    levels: ["info", "debug"],
    fields: ["resource"],
    meaning: "The kubelet opened the pool's ListAndWatch stream. At debug level when it was connected before.",
  },
  "kubelet disconnected": {
    levels: ["debug"],
    fields: ["resource"],
    meaning: "The ListAndWatch stream ended, as it does when the kubelet restarts. The pool will be registered again.",
  },
  "ListAndWatch stream stalled; closing it": {
    levels: ["warn"],
    fields: ["resource"],
    meaning: "The client did not read a list within 5 s. The pool is registered again.",
  },
  "kubelet rejected the pool; retrying": {
    levels: ["warn"],
    fields: ["resource", "reason"],
    meaning: "The kubelet refused the registration; `reason` is its answer.",
  },
  "re-registering the pool: its options changed": {
    levels: ["info"],
    fields: ["resource"],
    meaning: "`preferredAllocation` was turned on or off, which the kubelet learns only at registration.",
  },
  "another instance serves the pool; on standby": {
    levels: ["info"],
    fields: ["resource"],
    meaning:
      "A newer instance of the plugin took the socket over, as during an update. This one takes over again when it is gone.",
  },
  "cannot remove sockets of a plugin that was killed": {
    levels: ["warn"],
    fields: ["reason"],
    meaning: "Sockets without a listener could not be removed. The kubelet logs errors about them until they are gone.",
  },

  // Allocation
  allocated: {
    levels: ["info"],
    fields: ["resource", "devices"],
    meaning: "Allocate was answered: a container is about to get these devices.",
  },
  "cannot read allocations": {
    levels: ["warn"],
    fields: ["reason"],
    meaning: "At exit: neither pod-resources nor the checkpoint can be read, so the files of all devices stay.",
  },
  "cannot read allocations; devices stay in their pools; retrying": {
    levels: ["warn", "debug"],
    fields: ["reason"],
    meaning: "Neither pod-resources nor the checkpoint can be read. Until one can, no device moves to another pool.",
  },
  "device retained in its pool until its pod ends": {
    levels: ["info"],
    fields: ["device", "resource", "pod", "nextPool"],
    meaning: "A pod has a device that the pool no longer selects. It is Unhealthy there until the pod ends.",
  },
  "device withheld from all pools until its pod ends": {
    levels: ["warn"],
    fields: ["device", "resource", "pod", "nextPool"],
    meaning: "A pod has a device whose pool left the config. No pool offers it until the pod ends.",
  },
  "device released": {
    levels: ["info"],
    fields: ["device", "resource", "pod"],
    meaning: "The pod ended; the device is in the pool that selects it.",
  },
  "cannot read a device's nodes": {
    levels: ["debug", "warn"],
    fields: ["device", "reason"],
    meaning: "The device nodes of one device are unknown for now, so it is left out of the CDI spec.",
  },
  "cannot remove stale device-info files": {
    levels: ["warn"],
    fields: ["resource", "reason"],
    meaning: "Files of devices that no pod has could not be removed. They are harmless, and removed at the next start.",
  },

  // CDI
  "wrote the pool's CDI spec": {
    levels: ["info"],
    fields: ["resource", "file"],
    meaning: "The spec was created or changed together with the pool.",
  },
  "updated a CDI spec": {
    levels: ["info"],
    fields: ["file"],
    meaning: "Device nodes changed, or the spec had been removed or replaced by somebody else.",
  },
  "removed stale CDI specs": {
    levels: ["info"],
    fields: ["folder", "files"],
    meaning: "Specs that an earlier run left were removed at start.",
  },
  "cannot write the pool's CDI spec; its devices are not offered; retrying": {
    levels: ["error", "debug"],
    fields: ["resource", "folder", "reason"],
    meaning:
      "Without its spec the runtime could not start containers. Is `/var/run/cdi` mounted, writable and not full?",
  },
  "cannot update CDI specs": {
    levels: ["warn", "debug"],
    fields: ["folder", "reason"],
    meaning: "Specs could not be changed; retried with the next scan.",
  },
  "cannot remove the pool's CDI spec": {
    levels: ["warn", "debug"],
    fields: ["resource", "reason"],
    meaning: "The spec of a pool that is no longer served could not be removed.",
  },
  "cannot remove stale CDI specs": {
    levels: ["warn", "debug"],
    fields: ["folder", "reason"],
    meaning: "Specs that an earlier run left could not be removed.",
  },

  // Status and metrics
  "status socket is open": {
    levels: ["info"],
    fields: ["path"],
    meaning: "The status socket is at another path than the first choice, or is available again.",
  },
  "cannot open a status socket: status, probe and metrics are unavailable; retrying": {
    levels: ["warn"],
    fields: ["reason"],
    meaning: "No status socket can be made. Mount a writable `/run/sriovdp`, or set `--status-socket`.",
  },
  "cannot serve metrics; retrying": {
    levels: ["error"],
    fields: ["host", "port", "reason"],
    meaning:
      "The address of `--metrics-address` cannot be used, most often because another process has the port. Retried every 15 s.",
  },
  "serving metrics": {
    levels: ["info"],
    fields: ["host", "port"],
    meaning: "The address of `--metrics-address` is available now.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;

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
    fields: ["resource", "reason"],
    meaning:
      "The plugin refused a call, most often Allocate for a device that has just left. For Allocate the kubelet fails the pod with UnexpectedAdmissionError.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;

/** What a line of `logReports` looks like to the compiler. */
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
