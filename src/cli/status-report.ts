// How is the running plugin's status shown to a person? The plugin in a few lines, its pools with their numbers, their devices with
// neighbors that are alike in one line, and what is kept from pools and why.

import { formatProblem } from "../config/problem.ts";
import { counted, oneLine } from "../text.ts";
import type { DraStatus, ExcludedStatus, FullPoolStatus, FullStatus, PoolStatus } from "../telemetry/plugin-status.ts";
import { follows, runIdRange, runLabel, runsOf, spanOf } from "./describe.ts";
import { type Cell, type Column, fittedTable, type Style, type Tone, wrapped } from "./table.ts";

/** The style of a status. */
export interface StatusStyle extends Style {
  /** Whether only a part of the pools or devices was requested. */
  readonly isFiltered?: boolean;
}

/** The status as text: the plugin, its pools, their devices. */
export function statusReport(status: FullStatus, style: StatusStyle): string {
  const { pools, excluded, retentions } = status;
  const room = style.wide === true ? Infinity : (style.columns ?? Infinity);
  const rows = pools.flatMap(({ resource, devices }) =>
    runsOf(
      devices.map((device) => ({ ...device, resource })),
      (before, next) => follows(next, before) && sameState(before, next),
    ),
  );
  const none = style.isFiltered === true ? "no such device\n" : "";
  return [
    headOf(status)
      .flatMap((line) => indentedLines(oneLine(line), room))
      .join(""),
    pools.length === 0 ? "no pool is configured\n" : fittedTable(poolColumns, pools, style),
    ...(rows.length === 0 ? [none] : [fittedTable(deviceColumns, rows, style)]),
    ...(excluded.length === 0 || style.isFiltered === true ? [] : [fittedTable(excludedColumns, excluded, style)]),
    ...(retentions.length === 0 ? [] : [fittedTable(retentionColumns, retentions, style)]),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

/** A line, or several where the terminal has not the room, the further ones indented. */
const indentedLines = (line: string, room: number): string[] => {
  const indent = /^ */.exec(line)?.[0] ?? "";
  return wrapped(line, room - indent.length - 2).map((each, index) => `${indent}${index === 0 ? "" : "  "}${each}\n`);
};

function headOf(status: FullStatus): string[] {
  const { config } = status;
  const reload = config.lastReload;
  const rejected = reload !== null && !reload.success;
  return [
    `sriovdp ${status.version} (${status.commit}), process ${status.pid}, since ${status.started}`,
    status.mode === null ? "waiting for the kubelet's folders" : registeredAs(status, status.mode),
    `config ${config.file}, generation ${config.generation}${reload === null ? "" : `, last read ${reload.at}`}`,
    ...(rejected ? ["config rejected; the previous config stays active"] : []),
    ...(reload?.problems ?? []).map((problem) => `  ${formatProblem(config.file, problem)}`),
    ...(status.allocatedFailure === null ? [] : [`cannot read allocations: ${status.allocatedFailure}`]),
    ...(status.dra === null ? [] : draLines(status.dra)),
    `scans: ${status.scans.count} (${status.scans.failures} failed); ${lastScan(status)}`,
  ];
}

const registeredAs = ({ dra }: FullStatus, mode: string): string =>
  dra === null
    ? `registers with the kubelet as ${mode}`
    : `registers with the kubelet as the DRA driver ${dra.driver} of Node ${dra.node}`;

function draLines({ publication, published, claims, devicePlugin, heldByDevicePlugin }: DraStatus): string[] {
  const { mode, reason, isCurrent, problem } = publication;
  const state = `${mode}${reason === null ? "" : `: ${reason}`}${mode !== "publishing" || isCurrent ? "" : ", not complete"}`;
  const numbers =
    published && `${counted(published.devices, "device")} in ${published.slices}, ${published.tainted} tainted`;
  return [
    `ResourceSlices: ${[numbers, state].filter(Boolean).join("; ")}; ${counted(claims, "claim")} prepared`,
    ...(problem === null ? [] : [`  ${problem}`]),
    ...(devicePlugin.length === 0
      ? []
      : [`a device plugin still offers ${devicePlugin.join(", ")}: no device is published until it ends`]),
    ...(heldByDevicePlugin.length === 0
      ? []
      : [
          `${counted(heldByDevicePlugin.length, "device")} from the device plugin still in pods: free for claims when these end`,
        ]),
  ];
}

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

const numberOf = (count: number | null): string => (count === null ? "" : String(count));

const poolColumns: readonly Column<FullPoolStatus>[] = [
  { title: "POOL", cell: ({ resource }) => resource },
  { title: "TYPE", cell: ({ deviceType }) => deviceType, wideOnly: true },
  { title: "DEVICES", cell: ({ counts }) => String(counts.devices), yields: 1 },
  {
    title: "HEALTHY",
    cell: ({ counts: { healthy, devices } }) => ({
      text: String(healthy),
      tone: healthy < devices ? "warning" : "plain",
    }),
  },
  { title: "ALLOCATED", cell: ({ counts }) => numberOf(counts.allocated), always: true },
  { title: "FREE", cell: ({ counts }) => numberOf(counts.free), always: true },
  { title: "ALLOCATE CALLS", cell: ({ allocations }) => String(allocations.calls), wideOnly: true },
  {
    title: "FAILED",
    cell: ({ allocations: { failures } }) => ({ text: String(failures), tone: failures > 0 ? "warning" : "plain" }),
    wideOnly: true,
  },
  { title: "REGISTERED", cell: ({ registration }) => registration?.lastAt ?? "", wideOnly: true },
  { title: "KUBELET", cell: ({ registration }) => registrationCell(registration) },
];

const tones: Readonly<Record<string, Tone>> = { connected: "good", rejected: "bad", failed: "bad" };

function registrationCell(registration: PoolStatus["registration"]): Cell {
  if (registration === null) return { text: "not registered: no device has matched yet", tone: "dim" };
  const { state, reason } = registration;
  return { text: reason === null ? state : `${state}: ${reason}`, tone: tones[state] ?? "warning" };
}

/** A device with the pool that it is in. */
type DeviceRow = FullPoolStatus["devices"][number] & { readonly resource: string };

/** Whether two devices differ in nothing that one line for both could not say. */
const sameState = (a: DeviceRow, b: DeviceRow): boolean => stateOf(a) === stateOf(b);

const stateOf = ({ resource, unhealthyReason, basis, listed, allocation, interfaces }: DeviceRow): string =>
  JSON.stringify([resource, unhealthyReason, basis, listed, allocation, interfaces.length]);

const deviceColumns: readonly Column<readonly DeviceRow[]>[] = [
  { title: "DEVICE", cell: (run) => runIdRange(run) },
  { title: "WHAT", cell: (run) => runLabel(run), yields: 2 },
  { title: "INTERFACE", cell: (run) => spanOf(run, ({ interfaces }) => interfaces.join(",")), yields: 1 },
  { title: "POOL", cell: ([device]) => device?.resource ?? "" },
  { title: "ALLOCATED TO", cell: ([device]) => device?.allocation?.pod ?? "" },
  { title: "CONTAINER", cell: ([device]) => device?.allocation?.container ?? "", wideOnly: true },
  { title: "EVIDENCE", cell: ([device]) => device?.allocation?.evidence ?? "", wideOnly: true },
  { title: "BASIS", cell: ([device]) => device?.basis ?? "", wideOnly: true },
  { title: "HEALTH", cell: ([device]) => (device ? healthCell(device) : "") },
];

function healthCell({ unhealthyReason, listed }: DeviceRow): Cell {
  if (unhealthyReason !== null) return { text: `Unhealthy: ${unhealthyReason}`, tone: "bad" };
  return listed
    ? { text: "Healthy", tone: "good" }
    : { text: "Healthy, not offered: the pool is too large for one list", tone: "warning" };
}

const excludedColumns: readonly Column<ExcludedStatus>[] = [
  { title: "EXCLUDED", cell: ({ device }) => device },
  { title: "RULE", cell: ({ rule }) => rule, yields: 3 },
  { title: "REASON", cell: ({ reason }) => ({ text: reason, tone: "warning" }) },
  { title: "SINCE", cell: ({ since }) => since, yields: 2 },
  { title: "UNTIL", cell: ({ until }) => until },
];

const retentionColumns: readonly Column<FullStatus["retentions"][number]>[] = [
  { title: "DEVICE", cell: ({ device }) => device },
  { title: "STATE", cell: ({ kind }) => ({ text: kind, tone: "warning" }) },
  { title: "ALLOCATED AS", cell: ({ resource }) => resource },
  { title: "ALLOCATED TO", cell: ({ pod }) => pod },
  { title: "NEXT POOL", cell: ({ nextPool }) => nextPool ?? "", always: true },
];
