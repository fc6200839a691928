// What is counted and measured? One row per metric; the scrape, docs/reference/metrics.md, the dashboard's and the alerts' tests follow
// the table. Labels are pools' names and fixed words: never devices, so that a node's series are bounded by its config.

import { registrationStates } from "../kubelet/registration.ts";
import { exclusionRules } from "../pools/exclusions.ts";
import { commit, version } from "../process/build-info.ts";
import { draMetrics } from "./dra-metrics.ts";
import { inSeconds, type Metric, type Sample, type Seen, seconds, single } from "./metric.ts";
import type { DeviceStatus, FullPoolStatus } from "./plugin-status.ts";

const timestamp = (date: string | null | undefined): Sample[] =>
  date === null || date === undefined ? [] : single(seconds(Date.parse(date)));

/** A value for each configured pool. */
const ofPools =
  (value: (pool: FullPoolStatus) => number) =>
  ({ status }: Seen): Sample[] =>
    status.pools.map((pool) => ({ labels: { resource: pool.resource }, value: value(pool) }));

/** The states of a pool's registration, as the label "state" has them. */
export const poolStates = ["not_registered", ...registrationStates] as const;

const stateOf = ({ registration }: Pick<FullPoolStatus, "registration">) => registration?.state ?? "not_registered";

/** How many devices of this health are in the kubelet's list. */
const listedIn = ({ devices }: FullPoolStatus, state: DeviceStatus["health"]) =>
  devices.filter(({ health, listed }) => listed && health === state).length;

/** Every metric. */
export const metrics = {
  sriovdp_build_info: {
    type: "gauge",
    help: "Always 1; version and commit of the running build",
    labels: ["version", "commit"],
    read: () => [{ labels: { version, commit }, value: 1 }],
  },
  sriovdp_ready: {
    type: "gauge",
    help: "1 once the initial node scan is complete",
    labels: [],
    read: ({ status }) => single(Number(status.ready)),
  },
  sriovdp_devices: {
    type: "gauge",
    help: "Devices in the kubelet's lists, by health",
    labels: ["resource", "health"],
    read: ({ status }) =>
      status.pools.flatMap((pool) =>
        (["Healthy", "Unhealthy"] as const).map((health) => ({
          labels: { resource: pool.resource, health },
          value: listedIn(pool, health),
        })),
      ),
  },
  sriovdp_devices_allocated: {
    type: "gauge",
    help: "Devices allocated to pods; absent while allocations cannot be read",
    labels: ["resource"],
    read: (seen) => {
      const { allocated } = seen.status;
      if (allocated === null) return [];
      return ofPools(({ resource }) => allocated.filter((each) => each.resource === resource).length)(seen);
    },
  },
  sriovdp_health_changes_total: {
    type: "counter",
    help: "Health changes of devices, by new health",
    labels: ["resource", "health"],
    read: ({ status }) =>
      status.pools.flatMap(({ resource, changes }) => [
        { labels: { resource, health: "Healthy" }, value: changes.toHealthy },
        { labels: { resource, health: "Unhealthy" }, value: changes.toUnhealthy },
      ]),
  },
  sriovdp_link_flaps_total: {
    type: "counter",
    help: "Losses of links that the pool's devices use; one for each PF, however many of its VFs are in the pool",
    labels: ["resource"],
    read: ofPools(({ changes }) => changes.linkFlaps),
  },
  sriovdp_pool_state: {
    type: "gauge",
    help: "1 for the pool's current registration state, 0 for the other states",
    labels: ["resource", "state"],
    read: ({ status }) =>
      status.pools.flatMap((pool) =>
        poolStates.map((state) => ({
          labels: { resource: pool.resource, state },
          value: Number(stateOf(pool) === state),
        })),
      ),
  },
  sriovdp_registrations_total: {
    type: "counter",
    help: "Registrations that the kubelet accepted",
    labels: ["resource"],
    read: ofPools(({ registration }) => registration?.registrations ?? 0),
  },
  sriovdp_registration_failures_total: {
    type: "counter",
    help: "Registrations that the kubelet rejected or did not answer, and pool sockets that could not be created",
    labels: ["resource"],
    read: ofPools(({ registration }) => registration?.failures ?? 0),
  },
  sriovdp_list_streams: {
    type: "gauge",
    help: "Open ListAndWatch streams; normally 1",
    labels: ["resource"],
    read: ofPools(({ registration }) => registration?.streams ?? 0),
  },
  sriovdp_allocate_calls_total: {
    type: "counter",
    help: "Allocate calls, including refused ones",
    labels: ["resource"],
    read: ofPools(({ allocations }) => allocations.calls),
  },
  sriovdp_allocate_failures_total: {
    type: "counter",
    help: "Allocate calls that were refused or failed",
    labels: ["resource"],
    read: ofPools(({ allocations }) => allocations.failures),
  },
  sriovdp_allocated_devices_total: {
    type: "counter",
    help: "Devices allocated by Allocate calls",
    labels: ["resource"],
    read: ofPools(({ allocations }) => allocations.devices),
  },
  sriovdp_allocate_duration_seconds: {
    type: "histogram",
    help: "Duration of Allocate in the plugin, without gRPC",
    labels: [],
    read: ({ journal }) => inSeconds(journal.allocateMs),
  },
  sriovdp_scan_stalled: {
    type: "gauge",
    help: "1 while a node scan waits for a driver that does not answer; device lists stay as they are",
    labels: [],
    read: ({ status }) => single(Number(status.scans.stalled !== null)),
  },
  sriovdp_excluded_devices: {
    type: "gauge",
    help: "Devices that no pool offers because the host needs them, by rule",
    labels: ["rule"],
    read: ({ status }) =>
      exclusionRules.map((rule) => ({
        labels: { rule },
        value: status.excluded.filter((each) => each.rule === rule).length,
      })),
  },
  sriovdp_scans_total: {
    type: "counter",
    help: "Node scans",
    labels: [],
    read: ({ status }) => single(status.scans.count),
  },
  sriovdp_scan_failures_total: {
    type: "counter",
    help: "Node scans that failed; device lists stay as they were, and the plugin retries",
    labels: [],
    read: ({ status }) => single(status.scans.failures),
  },
  sriovdp_scan_duration_seconds: {
    type: "histogram",
    help: "Duration of node scans, including the changes that they cause",
    labels: [],
    read: ({ journal }) => inSeconds(journal.scans.ms),
  },
  sriovdp_scan_running_seconds: {
    type: "gauge",
    help: "Seconds since the current node scan started, or the one that is stalled; 0 between scans",
    labels: [],
    read: ({ status: { scans } }) => single(seconds(scans.stalled?.ms ?? scans.runningMs ?? 0)),
  },
  sriovdp_last_scan_timestamp_seconds: {
    type: "gauge",
    help: "Time at which the last node scan ended; absent before the first one has",
    labels: [],
    read: ({ status }) => timestamp(status.scans.lastEnd),
  },
  sriovdp_config_generation: {
    type: "gauge",
    help: "Configs that became active since the start",
    labels: [],
    read: ({ status }) => single(status.config.generation),
  },
  sriovdp_config_pools: {
    type: "gauge",
    help: "Pools in the active config",
    labels: [],
    read: ({ status }) => single(status.pools.length),
  },
  sriovdp_config_reloads_total: {
    type: "counter",
    help: "Reloads of the config file after a change or SIGHUP, by result",
    labels: ["result"],
    read: ({ journal: { config } }) => [
      { labels: { result: "success" }, value: config.successes },
      { labels: { result: "rejected" }, value: config.failures },
    ],
  },
  sriovdp_config_last_reload_successful: {
    type: "gauge",
    help: "1 if the current config file is active; 0 if it was rejected and the previous one stays active",
    labels: [],
    read: ({ status: { config } }) => (config.lastReload ? single(Number(config.lastReload.success)) : []),
  },
  sriovdp_config_last_reload_timestamp_seconds: {
    type: "gauge",
    help: "Time of the last reload of the config file",
    labels: [],
    read: ({ status }) => timestamp(status.config.lastReload?.at),
  },
  ...draMetrics,
  process_cpu_seconds_total: {
    type: "counter",
    help: "User and system CPU time spent, in seconds",
    labels: [],
    read: ({ process }) => single(process.cpuSeconds),
  },
  process_resident_memory_bytes: {
    type: "gauge",
    help: "Resident memory size in bytes",
    labels: [],
    read: ({ process }) => single(process.residentBytes),
  },
  process_open_fds: {
    type: "gauge",
    help: "Open file descriptors",
    labels: [],
    read: ({ process }) => single(process.openFiles),
  },
  process_start_time_seconds: {
    type: "gauge",
    help: "Start time of the process since the Unix epoch in seconds",
    labels: [],
    read: ({ journal }) => single(seconds(journal.started)),
  },
} as const satisfies Record<string, Metric>;
