// What is seen of the running plugin from outside? One value: /status and `sriovdp status` print it, probes and metrics
// are made of it. Nothing in it tells a value of additionalInfo.

import type { Problem } from "../config/problem.ts";
import type { Registration } from "../kubelet/registration.ts";
import type { RegistrationMode } from "../kubelet/paths.ts";
import type { DeviceTypeName } from "../pools/device-types.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";
import { commit, version } from "../version.ts";
import type { Journal } from "./journal.ts";

/** The plugin at one moment. Times of day are RFC 3339 in UTC. */
export interface Status {
  readonly version: string;
  readonly commit: string;
  readonly pid: number;
  readonly started: string;
  /** How the kubelet hears of the pools; null until one of its folders is there. */
  readonly mode: RegistrationMode | null;
  /** Whether the first look at the node is done and every pool has its server. */
  readonly ready: boolean;
  readonly config: ConfigStatus;
  readonly passes: PassStatus;
  readonly pools: readonly PoolStatus[];
}

export interface ConfigStatus {
  readonly file: string;
  /** How many configs were taken into use since the start: 1 is the first. */
  readonly generation: number;
  /** The last time that the file was found to say something else; null before the first. */
  readonly lastReload: { readonly at: string; readonly success: boolean; readonly problems: readonly Problem[] } | null;
}

/** Looks at the node. */
export interface PassStatus {
  readonly count: number;
  readonly failures: number;
  /** Why the last look failed; null when it did not. */
  readonly failure: string | null;
  readonly lastEnd: string | null;
  readonly lastMs: number | null;
  /** For how many milliseconds the look of now has been running; null between looks. */
  readonly runningMs: number | null;
}

export interface PoolStatus {
  readonly resource: string;
  readonly deviceType: DeviceTypeName;
  /** How it stands with the kubelet; null for a pool that never had a device, which is not offered. */
  readonly registration:
    | (Omit<Registration, "since" | "lastAt"> & { readonly since: string; readonly lastAt: string | null })
    | null;
  readonly devices: readonly DeviceStatus[];
  /** Calls of Allocate, those that were refused included, and how many of them were. */
  readonly allocations: { readonly calls: number; readonly failures: number; readonly lastAt: string | null };
}

export interface DeviceStatus {
  readonly id: string;
  readonly health: "Healthy" | "Unhealthy";
  /** Why it is Unhealthy. */
  readonly reason: string | null;
  readonly standing: Claim["standing"];
}

/** A pool that the config wants, and what is known of its server; null where it never had a device, so has none. */
export interface Offered {
  readonly spec: PoolSpec;
  readonly served: {
    readonly pool: Pool;
    readonly registration: Registration;
    readonly allocations: { readonly calls: number; readonly failures: number; readonly lastAt: number | null };
  } | null;
}

/** The status of now. */
export function statusOf(
  { file, mode, ready }: { readonly file: string; readonly mode: RegistrationMode | null; readonly ready: boolean },
  journal: Journal,
  offered: readonly Offered[],
): Status {
  const { passes, config } = journal;
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
    passes: {
      count: passes.count,
      failures: passes.failures,
      failure: passes.failure,
      lastEnd: passes.last && dateOf(passes.last.at),
      lastMs: passes.last && passes.last.ms,
      runningMs: passes.began === null ? null : performance.now() - passes.began,
    },
    pools: offered.map(poolStatus),
  };
}

function poolStatus({ spec: { resource, deviceType }, served }: Offered): PoolStatus {
  return {
    resource,
    deviceType,
    registration: served && {
      ...served.registration,
      since: dateOf(served.registration.since),
      lastAt: dateOrNull(served.registration.lastAt),
    },
    devices: [...(served?.pool.claims ?? [])].map(([id, { standing }]) => {
      const reason = served?.pool.unhealthy.get(id) ?? null;
      return { id, health: reason === null ? "Healthy" : "Unhealthy", reason, standing };
    }),
    allocations: {
      calls: served?.allocations.calls ?? 0,
      failures: served?.allocations.failures ?? 0,
      lastAt: dateOrNull(served?.allocations.lastAt ?? null),
    },
  };
}

const dateOf = (milliseconds: number) => new Date(milliseconds).toISOString();
const dateOrNull = (milliseconds: number | null) => (milliseconds === null ? null : dateOf(milliseconds));
