// Messages of what others ask for or read: the kubelet, allocations, CDI specs, status and metrics.

import type { LogMessageRow } from "./log-message-row.ts";

/** Messages by what they are about, in the order of the docs; `logMessages` has all. */
export const clientLogMessages = {
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
    levels: ["warn", "debug"],
    fields: ["resource", "reason"],
    meaning: "The kubelet rejected the registration; `reason` is its answer. The same reason is a warning once.",
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
  "another plugin offers devices; withheld until it ends": {
    levels: ["warn"],
    fields: ["resource", "devices"],
    meaning:
      "A pool is to get devices that another plugin on the node still offers as another resource, as in an update that renames pools. They are added when that plugin has ended.",
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
    meaning: "Device nodes changed, or another program had removed or replaced the spec.",
  },
  "removed stale CDI specs": {
    levels: ["info"],
    fields: ["folder", "files"],
    meaning: "Specs that an earlier run left were removed at start.",
  },
  "cannot write the pool's CDI spec; no device is added to the pool; retrying": {
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
    levels: ["warn"],
    fields: ["host", "port", "reason"],
    meaning:
      "The address of `--metrics-address` cannot be used, most often because another process has the port: during an update, the plugin that is about to end. Retried every 2 s.",
  },
  "serving metrics": {
    levels: ["info"],
    fields: ["host", "port"],
    meaning: "The address of `--metrics-address` is available now.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;
