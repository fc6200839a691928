// What is counted of the DRA role? Rows of the table of metrics; in the device-plugin role they have no series.

import { inSeconds, type Metric, type Sample, type Seen, single } from "./metric.ts";
import type { DraStatus } from "./plugin-status.ts";

/** The values of the DRA driver; none in the other role. */
const ofDriver =
  (values: (dra: DraStatus, seen: Seen) => readonly Sample[]) =>
  (seen: Seen): readonly Sample[] =>
    seen.status.dra === null ? [] : values(seen.status.dra, seen);

const writeKinds = ["create", "update", "delete"] as const;

/** The metrics of the DRA role. */
export const draMetrics = {
  sriovdp_dra_published_devices: {
    type: "gauge",
    help: "Devices in this node's ResourceSlices; those with a taint are not allocated to new pods",
    labels: ["tainted"],
    read: ofDriver(({ published }) =>
      published === null
        ? []
        : [
            { labels: { tainted: "false" }, value: published.devices - published.tainted },
            { labels: { tainted: "true" }, value: published.tainted },
          ],
    ),
  },
  sriovdp_dra_publication_current: {
    type: "gauge",
    help: "1 if the API server has every device as it is, or another plugin of the node has the devices; 0 otherwise",
    labels: [],
    read: ofDriver(({ publication: { mode, isCurrent } }) =>
      single(Number(isCurrent || mode === "standby" || mode === "withdrawn")),
    ),
  },
  sriovdp_dra_slice_writes_total: {
    type: "counter",
    help: "ResourceSlices written to the API server",
    labels: ["action"],
    read: ofDriver(({ publication: { writes } }) =>
      writeKinds.map((action) => ({ labels: { action }, value: writes[action] })),
    ),
  },
  sriovdp_dra_slice_repairs_total: {
    type: "counter",
    help: "Of these writes, those that restored what another client had changed or deleted",
    labels: [],
    read: ofDriver(({ publication: { writes } }) => single(writes.repair)),
  },
  sriovdp_dra_slice_write_failures_total: {
    type: "counter",
    help: "Writes of ResourceSlices that failed; they are retried",
    labels: [],
    read: ofDriver(({ publication: { writes } }) => single(writes.failed)),
  },
  sriovdp_dra_claims_prepared: {
    type: "gauge",
    help: "Claims that are prepared on this node",
    labels: [],
    read: ofDriver(({ claims }) => single(claims)),
  },
  sriovdp_dra_held_devices: {
    type: "gauge",
    help: "Devices that pods have from a device plugin since before the change to DRA",
    labels: [],
    read: ofDriver(({ heldByDevicePlugin }) => single(heldByDevicePlugin.length)),
  },
  sriovdp_dra_prepare_failures_total: {
    type: "counter",
    help: "Claims that could not be prepared; the kubelet retries",
    labels: [],
    read: ofDriver((_, { journal }) => single(journal.prepare.failures)),
  },
  sriovdp_dra_prepare_duration_seconds: {
    type: "histogram",
    help: "Duration of preparing a claim, including the request to the API server",
    labels: [],
    read: ofDriver((_, { journal }) => inSeconds(journal.prepare.ms)),
  },
} as const satisfies Record<string, Metric>;
