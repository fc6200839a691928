// Messages of the DRA role: the driver's registration, and claims that are prepared.

import type { LogMessageRow } from "./log-message-row.ts";

/** Messages by what they are about, in the order of the docs; `logMessages` has all. */
export const draLogMessages = {
  // The driver
  "registered the DRA driver with the kubelet": {
    levels: ["info", "debug"],
    fields: ["driver"],
    meaning: "The kubelet accepted the DRA driver. At debug level when it is not the first time.",
  },
  "cannot register the DRA driver; retrying": {
    levels: ["warn", "debug"],
    fields: ["driver", "reason"],
    meaning: "The driver's socket could not be made. At debug level while the reason stays the same.",
  },
  "kubelet rejected the DRA driver; it will retry": {
    levels: ["warn", "debug"],
    fields: ["driver", "reason"],
    meaning:
      "The kubelet refused the registration; `reason` is its answer. DRA requires Kubernetes 1.34 or later. At debug level while the reason stays the same.",
  },
  "kubelet disconnected from the DRA driver": {
    levels: ["debug"],
    fields: ["driver"],
    meaning: "The kubelet has had no connection for 5 s, as while it restarts.",
  },
  "another instance serves the DRA driver; on standby": {
    levels: ["info"],
    fields: ["driver"],
    meaning: "Another process took the driver's socket over. This one takes over again when it is gone.",
  },
  "health stream stalled; closing it": {
    levels: ["warn"],
    fields: ["driver"],
    meaning: "The client did not read the health of devices within 5 s. The kubelet connects again.",
  },

  "a device plugin offers this node's devices; publishing none until it ends": {
    levels: ["warn"],
    fields: ["resources"],
    meaning:
      "The node is changing to the DRA role, or two DaemonSets select it. No device is published or prepared for a claim while a device plugin could allocate it.",
  },
  "cannot read allocations; publishing no device until it can": {
    levels: ["warn"],
    fields: ["reason"],
    meaning: "Neither the kubelet's checkpoint nor its pod-resources socket can be read, so any device may be in use.",
  },
  "a pod has a device from the device plugin": {
    levels: ["info"],
    fields: ["device", "resource", "pod"],
    meaning:
      "It is published with the taint DRIVER/held until its pod ends, or left out where there are no taints. If `resource` is the driver's name, another program prepared the device under this name.",
  },
  "cannot publish the pool": {
    levels: ["error"],
    fields: ["resource", "reason"],
    meaning: "The API does not accept the pool's name; shorten resourceName or resourcePrefix.",
  },
  "cannot read what is prepared for claims; retrying": {
    levels: ["error", "debug"],
    fields: ["reason"],
    meaning:
      "The folder of CDI specs, or one of them, can't be read. Nothing is prepared before it can; a device plugin may offer a device that a claim has. At debug level while the reason stays the same.",
  },
  "cannot serve the DRA driver; pods with claims cannot end": {
    levels: ["error"],
    fields: ["driver", "reason"],
    meaning:
      "The node changed from the DRA role to the device plugin, and the path of the driver's socket is too long.",
  },
  "serving the DRA driver until its remaining claims are unprepared": {
    levels: ["info"],
    fields: ["driver", "claims"],
    meaning: "The node changed from the DRA role to the device plugin while pods had claims; these pods can end.",
  },
  "--use-cdi has no effect with --allocator=dra, which always uses CDI": {
    levels: ["warn"],
    fields: [],
    meaning: "The option is for the device plugin.",
  },

  // Claims
  "prepared a claim": {
    levels: ["info", "debug"],
    fields: ["claim", "uid", "devices"],
    meaning: "A pod is about to get the devices of the claim. At debug level when the claim was prepared before.",
  },
  "cannot prepare a claim; the kubelet will retry": {
    levels: ["warn", "debug"],
    fields: ["claim", "uid", "reason"],
    meaning: "The pod waits in ContainerCreating. At debug level while the reason stays the same.",
  },
  "unprepared a claim": {
    levels: ["info"],
    fields: ["claim", "uid", "devices"],
    meaning: "The kubelet ended the claim; its devices are free as soon as no pod of it runs.",
  },
  "cannot unprepare a claim; the kubelet will retry": {
    levels: ["warn", "debug"],
    fields: ["claim", "uid", "reason"],
    meaning: "Files of the claim could not be removed. At debug level while the reason stays the same.",
  },
  "released the devices of a claim that is gone": {
    levels: ["warn"],
    fields: ["claim", "uid", "devices"],
    meaning: "The kubelet never unprepared the claim, and another claim was allocated a device of it.",
  },
  "removed claim specs that cannot be read": {
    levels: ["warn"],
    fields: ["folder", "files"],
    meaning:
      "CDI specs under the driver's names were damaged. The kubelet prepares their claims again when it restarts.",
  },
  "restored claim specs": {
    levels: ["warn"],
    fields: ["folder", "files"],
    meaning:
      "CDI specs of prepared claims were removed or changed by another program; without them containers could not restart.",
  },
  "cannot restore claim specs; retrying": {
    levels: ["warn", "debug"],
    fields: ["folder", "reason"],
    meaning: "CDI specs of prepared claims could not be written again.",
  },
} as const satisfies Readonly<Record<string, LogMessageRow>>;
