// Which pod has which device, as a series for joins with other metrics of devices and pods? Under the name and labels of the SR-IOV network
// metrics exporter (collectors/pod_dev_link.go), which the SR-IOV network operator deploys; off by default, since there is one for each
// allocated device.

import { pciAddressPattern } from "../pools/names.ts";
import type { Metric } from "./metric.ts";

/** Metrics that --pod-device-metrics adds. */
export const podDeviceMetrics = {
  sriov_kubepoddevice: {
    type: "gauge",
    help: "Always 1; the pod and the container to which a PCI device is allocated",
    labels: ["pciAddr", "dev_type", "pod", "namespace", "container"],
    read: ({ status }) =>
      (status.allocated ?? []).flatMap(({ resource, id, pod, container }) => {
        // Of a checkpoint the pod's UID alone is known: nothing could be joined with it.
        const [namespace, name] = pod.split("/");
        if (name === undefined || namespace === undefined) return [];
        // Sub-functions have other ids, and the exporter leaves them out.
        if (!pciAddressPattern.test(id)) return [];
        return [{ labels: { pciAddr: id, dev_type: resource, pod: name, namespace, container }, value: 1 }];
      }),
  },
} as const satisfies Record<string, Metric>;
