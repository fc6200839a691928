// What is seen of the running plugin from outside? One value: /status and `sriovdp status` print it, probes and metrics
// are made of it. It contains no value of additionalInfo.

import type { Problem } from "../config/problem.ts";
import type { PublishedCounts, PublisherState } from "../dra/publisher-state.ts";
import type { Registration } from "../kubelet/registration.ts";
import type { RegistrationMode } from "../kubelet/kubelet-paths.ts";
import type { StalledScan } from "../host/scanner.ts";
import { messageOf } from "../text.ts";
import { type DeviceKind, kindOf } from "../pools/device-kind.ts";
import type { DeviceTypeName } from "../pools/device-types.ts";
import type { Exclusion } from "../pools/exclusions.ts";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";
import type { ClaimBasis, Pool, PoolSpec } from "../pools/pool.ts";
import type { Retention } from "../pools/retention.ts";
import { commit, version } from "../process/build-info.ts";
import { type Journal, newPoolCounts, type PoolCounts } from "./journal.ts";

/** The plugin at one moment. Times of day are RFC 3339 in UTC. */
export interface Status {
  readonly version: string;
  readonly commit: string;
  readonly pid: number;
  readonly started: string;
  /** How the kubelet discovers the pools; null until one of its folders is there. */
  readonly mode: RegistrationMode | null;
  /** Whether the initial node scan is complete. */
  readonly ready: boolean;
  readonly config: ConfigStatus;
  readonly scans: ScanStatus;
  readonly pools: readonly PoolStatus[];
  /** Devices that are in no pool, whatever the config, since the host needs them. */
  readonly excluded: readonly ExcludedStatus[];
  /** Devices that pods keep from where the config would have them. */
  readonly retentions: readonly Retention[];
  /** The DRA driver; null where devices are handed out by the device plugin. */
  readonly dra: DraStatus | null;
}

/** The driver of the DRA role. */
export interface DraStatus {
  readonly driver: string;
  /** The Node's name. */
  readonly node: string;
  /** The writing of ResourceSlices. */
  readonly publication: Pick<PublisherState, "mode" | "reason" | "isCurrent" | "problem" | "writes">;
  /** What the API server has of this node; null before it was read. */
  readonly published: PublishedCounts | null;
  /** Claims that are prepared. */
  readonly claims: number;
  /** Resources under which a device plugin still offers this node's devices: none is published meanwhile. */
  readonly devicePlugin: readonly string[];
  /** Devices that pods have from a device plugin: they are published when these pods have ended. */
  readonly heldByDevicePlugin: readonly { readonly id: string; readonly pod: string }[];
}

/** One exclusion of one device. */
export type ExcludedStatus = Omit<Exclusion, "since"> & { readonly since: string };

export interface ConfigStatus {
  readonly file: string;
  /** How many configs were taken into use since the start: 1 is the first. */
  readonly generation: number;
  /** The last time that the file had changed; null before the first. */
  readonly lastReload: { readonly at: string; readonly success: boolean; readonly problems: readonly Problem[] } | null;
}

/** The scans of the node. */
export interface ScanStatus {
  readonly count: number;
  readonly failures: number;
  /** Why the last scan failed; null when it did not. */
  readonly failure: string | null;
  readonly lastEnd: string | null;
  readonly lastMs: number | null;
  /** For how many milliseconds the current scan has been running; null between scans. */
  readonly runningMs: number | null;
  /** A scan that waits for a driver which does not answer: lists stay as they are. Null when there is none. */
  readonly stalled: { readonly ms: number; readonly reading: string | null } | null;
}

export interface PoolStatus {
  readonly resource: string;
  readonly deviceType: DeviceTypeName;
  /** Its registration with the kubelet; null for a pool that never had a device, which is not offered. */
  readonly registration:
    | (Omit<Registration, "since" | "lastAt"> & { readonly since: string; readonly lastAt: string | null })
    | null;
  readonly devices: readonly DeviceStatus[];
  /** Since the pool is served: calls of Allocate, refused ones included, and the devices that they handed out. */
  readonly allocations: {
    readonly calls: number;
    readonly failures: number;
    readonly devices: number;
    readonly lastAt: string | null;
  };
  /** Since the pool is served: devices that changed their health, and links that went away below them. */
  readonly changes: { readonly toUnhealthy: number; readonly toHealthy: number; readonly linkFlaps: number };
}

export interface DeviceStatus {
  readonly id: string;
  readonly kind: DeviceKind;
  /** The VF's index below its PF, or the SF's number. */
  readonly functionIndex: number | null;
  readonly pf: { readonly address: string; readonly interfaceName: string | null } | null;
  /** Its network interfaces that the host can see now. */
  readonly interfaces: readonly string[];
  readonly health: "Healthy" | "Unhealthy";
  readonly unhealthyReason: string | null;
  /** Why it is in the pool: a selector selects it, or a pod keeps it there. */
  readonly basis: ClaimBasis;
  /** Whether it is in the kubelet's list: a pool may have more devices than one list can hold. */
  readonly listed: boolean;
}

/** The pod to which a device is allocated. */
export type AllocationStatus = Pick<AllocatedDevice, "resource" | "pod" | "container" | "evidence">;

/** A device that is allocated to a pod. */
export type AllocatedStatus = AllocationStatus & { readonly id: string };

/** The status, and what is allocated to pods by the evidence of now. */
export interface FullStatus extends Omit<Status, "pools"> {
  readonly pools: readonly FullPoolStatus[];
  /** What is allocated of the configured pools, and what is withheld from them; null when there is no evidence. */
  readonly allocated: readonly AllocatedStatus[] | null;
  /** Why there is no evidence. */
  readonly allocatedFailure: string | null;
}

/** A pool with its devices' pods. */
export interface FullPoolStatus extends Omit<PoolStatus, "devices"> {
  readonly counts: PoolCountStatus;
  readonly devices: readonly (DeviceStatus & { readonly allocation: AllocationStatus | null })[];
}

/** How many devices a pool has; `allocated` and `free` are null while there is no evidence of what pods hold. */
export interface PoolCountStatus {
  readonly devices: number;
  readonly healthy: number;
  readonly allocated: number | null;
  /** What a new pod can get: Healthy, offered to the kubelet and allocated to no pod. */
  readonly free: number | null;
}

/** The status with what is allocated to pods, which is read. */
export async function fullStatus(status: Status, read: () => Promise<readonly AllocatedDevice[]>): Promise<FullStatus> {
  const resources = new Set(status.pools.map(({ resource }) => resource));
  const kept = new Set(status.retentions.map(({ device }) => device));
  try {
    const allocated = (await read())
      .filter(({ resource, id }) => resources.has(resource) || kept.has(id))
      .map(({ resource, id, pod, container, evidence }) => ({ id, resource, pod, container, evidence }));
    const byId = new Map(allocated.map(({ id, ...allocation }) => [id, allocation]));
    return {
      ...status,
      pools: status.pools.map((pool) => withAllocations(pool, byId)),
      allocated,
      allocatedFailure: null,
    };
  } catch (error) {
    const pools = status.pools.map((pool) => withAllocations(pool, null));
    return { ...status, pools, allocated: null, allocatedFailure: messageOf(error) };
  }
}

function withAllocations(pool: PoolStatus, allocations: ReadonlyMap<string, AllocationStatus> | null): FullPoolStatus {
  const devices = pool.devices.map((device) => ({ ...device, allocation: allocations?.get(device.id) ?? null }));
  const healthy = devices.filter(({ health }) => health === "Healthy");
  const counts = {
    devices: devices.length,
    healthy: healthy.length,
    allocated: allocations && devices.filter(({ allocation }) => allocation !== null).length,
    free: allocations && healthy.filter(({ allocation, listed }) => allocation === null && listed).length,
  };
  return { ...pool, counts, devices };
}

/** A pool of the config, and the state of its server; null where it never had a device, so has none. */
export interface Offered {
  readonly spec: PoolSpec;
  readonly served: {
    readonly pool: Pool;
    readonly registration: Registration;
    readonly counts: PoolCounts;
    readonly listed: ReadonlySet<string>;
  } | null;
}

/** The status of now. */
export function statusOf(
  { file, mode, ready }: { readonly file: string; readonly mode: RegistrationMode | null; readonly ready: boolean },
  journal: Journal,
  stalled: StalledScan | null,
  exclusions: readonly Exclusion[],
  offered: readonly Offered[],
  retentions: readonly Retention[],
  dra: DraStatus | null,
): Status {
  const { config } = journal;
  return {
    version,
    commit,
    pid: process.pid,
    started: dateOf(journal.started),
    mode,
    ready,
    config: {
      file,
      generation: config.generation,
      lastReload: config.last && { ...config.last, at: dateOf(config.last.at) },
    },
    scans: scanStatus(journal, stalled),
    pools: offered.map(poolStatus),
    excluded: exclusions.map((each) => ({ ...each, since: dateOf(each.since) })),
    retentions,
    dra,
  };
}

/** The scans so far. */
export const scanStatus = ({ scans }: Journal, stalled: StalledScan | null): ScanStatus => ({
  count: scans.count,
  failures: scans.failures,
  failure: scans.failure,
  lastEnd: scans.last && dateOf(scans.last.at),
  lastMs: scans.last && scans.last.ms,
  runningMs: scans.began === null ? null : performance.now() - scans.began,
  stalled: stalled && { ms: Math.round(performance.now() - stalled.began), reading: stalled.reading },
});

function poolStatus({ spec: { resource, deviceType }, served }: Offered): PoolStatus {
  const { calls, failures, devices, lastAt, ...changes } = served?.counts ?? newPoolCounts();
  return {
    resource,
    deviceType,
    registration: served && {
      ...served.registration,
      since: dateOf(served.registration.since),
      lastAt: dateOrNull(served.registration.lastAt),
    },
    devices: [...(served?.pool.claims ?? [])].map(([id, { device, basis }]) => {
      const unhealthyReason = served?.pool.unhealthy.get(id) ?? null;
      return {
        id,
        kind: kindOf(device),
        functionIndex: device.functionIndex,
        pf: device.pf && { address: device.pf.address, interfaceName: device.pf.interfaceName },
        interfaces: device.interfaces,
        health: unhealthyReason === null ? "Healthy" : "Unhealthy",
        unhealthyReason,
        basis,
        listed: served?.listed.has(id) ?? false,
      };
    }),
    allocations: { calls, failures, devices, lastAt: dateOrNull(lastAt) },
    changes,
  };
}

const dateOf = (milliseconds: number) => new Date(milliseconds).toISOString();
const dateOrNull = (milliseconds: number | null) => (milliseconds === null ? null : dateOf(milliseconds));
