// Messages of the plugin itself: its process and config, scans of the node, and the pools that come of them.

import type { LogMessageRow } from "./log-message-row.ts";

/** Messages by what they are about, in the order of the docs; `logMessages` has all. */
export const nodeLogMessages = {
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
      "The initial scan is complete, and the pools with devices are being registered. `mode` is how pools register: `watcher` or `legacy`.",
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
    meaning:
      "A scan has not returned for 5 s; `reading` is what was being read. `dmesg` usually names the driver. Where `reading` is another one each time, or null, the node has no free CPU.",
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

  // ResourceSlices
  "delaying the first ResourceSlices": {
    levels: ["debug"],
    fields: ["ms"],
    meaning:
      "The node has no ResourceSlice of this driver. The first ones are created after `ms`, which depends on the node's name, so that a fleet does not create all of them at once.",
  },
  "ResourceSlice written": {
    levels: ["info"],
    fields: ["action", "slice", "devices", "tainted"],
    meaning: "A ResourceSlice was created, updated or deleted. `tainted` devices are not allocated to new pods.",
  },
  "ResourceSlice changed or deleted by another client; restoring it": {
    levels: ["warn"],
    fields: ["slice"],
    meaning:
      "Expected once after a start of the kubelet, which deletes all ResourceSlices of its node. Repeated lines mean that two programs write them; they are restored at growing intervals, at least every 30 s.",
  },
  "ResourceSlice changed before it was written": {
    levels: ["debug"],
    fields: ["slice", "reason"],
    meaning: "The API server has another version of the slice; it is compared again.",
  },
  "cannot publish ResourceSlices; retrying": {
    levels: ["error", "debug"],
    fields: ["reason", "seconds"],
    meaning:
      "A request to the API server failed; `reason` says what to do. It is sent again after `seconds`. What is published stays as it is.",
  },
  "ResourceSlices can be published again": {
    levels: ["info"],
    fields: [],
    meaning: "All requests to the API server succeed again.",
  },
  "the API server drops taints of devices; devices that must not be allocated are not published": {
    levels: ["warn"],
    fields: [],
    meaning:
      "Kubernetes before 1.36, or without its feature gate DRADeviceTaints: Unhealthy devices are left out of the ResourceSlices instead.",
  },
  "standby: a newer instance publishes ResourceSlices": {
    levels: ["info"],
    fields: ["instance"],
    meaning: "Two instances of the plugin run on this node, as during a rolling update. This one writes nothing.",
  },
  "standby ended: the newer instance writes nothing": {
    levels: ["info"],
    fields: ["instance"],
    meaning: "Nothing was written by the newer instance for a while; this one publishes again.",
  },
  "publication resumed": { levels: ["info"], fields: [], meaning: "ResourceSlices are written again." },
  "ResourceSlices withdrawn": {
    levels: ["info"],
    fields: [],
    meaning: "All ResourceSlices of this node and driver were deleted; no pod is given a device by DRA.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;
