// How is the running plugin's status shown to a person? What is wrong stands where it is looked for: at the pool, at the
// device.

import { formatProblem } from "../config/problem.ts";
import { oneLine } from "../text.ts";
import type { DeviceStatus, ExcludedStatus, FullStatus, PoolStatus } from "../telemetry/plugin-status.ts";
import { type Cell, type Style, table, type Tone } from "./table.ts";

/** The status as text: the plugin, its pools, their devices. */
export function statusReport(status: FullStatus, style: Style): string {
  const { config, pools } = status;
  const reload = config.lastReload;
  const refused = reload !== null && !reload.success;
  const lines = [
    `sriovdp ${status.version} (${status.commit}), process ${status.pid}, since ${status.started}`,
    status.mode === null ? "waiting for the kubelet's folders" : `registers with the kubelet as ${status.mode}`,
    `config ${config.file}, generation ${config.generation}${reload === null ? "" : `, last read ${reload.at}`}`,
    ...(refused ? ["config rejected; the previous config stays active"] : []),
    ...(reload?.problems ?? []).map((problem) => `  ${formatProblem(config.file, problem)}`),
    ...(status.heldFailure === null ? [] : [`cannot read allocations: ${status.heldFailure}`]),
    `scans: ${status.scans.count} (${status.scans.failures} failed); ${lastScan(status)}`,
  ];
  const podAllocations = new Map(
    (status.held ?? []).map(({ resource, id, pod, container }) => [`${resource} ${id}`, `${pod} (${container})`]),
  );
  const listed = pools.flatMap(({ resource, devices }) =>
    devices.map((device) => deviceRow(resource, device, podAllocations.get(`${resource} ${device.id}`) ?? "-")),
  );
  return [
    `${lines.map(oneLine).join("\n")}\n`,
    pools.length === 0 ? "no pool is configured\n" : table(poolHeader, pools.map(poolRow), style),
    ...(listed.length === 0 ? [] : [table(["DEVICE", "POOL", "HELD BY", "HEALTH", "REASON"], listed, style)]),
    ...(status.excluded.length === 0 ? [] : [table(excludedHeader, status.excluded.map(excludedRow), style)]),
    ...(status.retentions.length === 0
      ? []
      : [table(["DEVICE", "STATE", "ALLOCATED AS", "POD", "NEXT POOL"], status.retentions.map(retentionRow), style)]),
  ].join("\n");
}

const excludedHeader = ["EXCLUDED", "RULE", "REASON", "SINCE", "UNTIL"];

const excludedRow = ({ device, rule, reason, since, until }: ExcludedStatus): Cell[] => [
  device,
  rule,
  { text: reason, tone: "doubt" },
  since,
  until,
];

const retentionRow = ({ device, kind, resource, pod, nextPool }: FullStatus["retentions"][number]): Cell[] => [
  device,
  { text: kind, tone: "doubt" },
  resource,
  pod,
  nextPool ?? "-",
];

function lastScan({ scans, ready }: FullStatus): string {
  if (scans.stalled !== null) {
    const { ms, reading } = scans.stalled;
    return `stalled for ${Math.round(ms / 1000)} s${reading === null ? "" : ` at ${reading}`}; device lists stay as they are`;
  }
  if (scans.runningMs !== null) return `one in progress for ${Math.round(scans.runningMs)} ms`;
  if (!ready) return "the initial scan is not complete";
  const failed = scans.failure === null ? "" : ` and failed: ${scans.failure}`;
  return `the last took ${Math.round(scans.lastMs ?? 0)} ms at ${scans.lastEnd}${failed}`;
}

const poolHeader = ["POOL", "TYPE", "DEVICES", "HEALTHY", "ALLOCATIONS", "FAILED", "REGISTERED", "KUBELET"];

function poolRow({ resource, deviceType, devices, registration, allocations }: PoolStatus): Cell[] {
  const healthy = devices.filter(({ health }) => health === "Healthy").length;
  return [
    resource,
    deviceType,
    String(devices.length),
    { text: String(healthy), tone: healthy < devices.length ? "doubt" : "plain" },
    String(allocations.calls),
    { text: String(allocations.failures), tone: allocations.failures > 0 ? "doubt" : "plain" },
    registration?.lastAt ?? "-",
    standing(registration),
  ];
}

const tones: Readonly<Record<string, Tone>> = { listening: "good", refused: "bad", failed: "bad" };

function standing(registration: PoolStatus["registration"]): Cell {
  if (registration === null) return { text: "not registered: no device has matched yet", tone: "quiet" };
  const { state, reason } = registration;
  return { text: reason === null ? state : `${state}: ${reason}`, tone: tones[state] ?? "doubt" };
}

const deviceRow = (resource: string, { id, health, reason, listed }: DeviceStatus, holder: string): Cell[] => [
  id,
  resource,
  holder,
  { text: health, tone: health === "Healthy" ? "good" : "bad" },
  reason ?? (listed ? "" : "not offered: the pool is too large for one list"),
];
