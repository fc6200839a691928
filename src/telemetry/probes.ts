// Is the plugin alive, and does it serve? Pure functions of the status.

import type { PoolStatus, Status } from "./plugin-status.ts";

/** The answer to a probe: "ok", or every reason why not. */
export interface ProbeResult {
  readonly ok: boolean;
  readonly reasons: readonly string[];
}

/**
 * How long a scan may take before the plugin counts as stuck, in milliseconds. Sysfs of a NIC whose
 * firmware resets answers after tens of seconds, and a restart would only start the same wait again.
 */
export const scanLimit = 120_000;

const verdict = (reasons: readonly string[]): ProbeResult => ({ ok: reasons.length === 0, reasons });

/** Whether the loop makes progress; that anybody answers at all shows that the event loop is not blocked. */
export function livenessOf({ scans: { runningMs } }: Pick<Status, "scans">): ProbeResult {
  return verdict(
    runningMs !== null && runningMs > scanLimit
      ? [`a node scan has been running for ${Math.round(runningMs / 1000)} s`]
      : [],
  );
}

/**
 * Whether every pool is where it should be: the initial scan is complete, the last one did not fail, and the kubelet is connected
 * to each pool, or is away. A pool without devices is not offered, and needs nothing. In the DRA role the API server must have the devices as they are:
 * an update whose rights are missing stops at its first node.
 */
export function readinessOf(
  { ready, scans, pools, dra }: Pick<Status, "ready" | "scans" | "pools" | "dra">,
  kubeletIsThere: boolean,
): ProbeResult {
  return verdict([
    ...(ready ? [] : ["the initial node scan is not complete"]),
    ...(scans.failure === null ? [] : [`the last node scan failed: ${scans.failure}`]),
    ...(scans.stalled === null ? [] : [stalledReason(scans.stalled)]),
    ...pools.flatMap((pool) => reasonNotReady(pool, kubeletIsThere) ?? []),
    ...(dra === null ? [] : reasonsNotPublished(dra)),
  ]);
}

function reasonsNotPublished({ publication }: NonNullable<Status["dra"]>): string[] {
  const { mode, isCurrent, problem } = publication;
  if (isCurrent || (mode !== "publishing" && mode !== "starting")) return [];
  if (problem !== null) return [`ResourceSlices cannot be written: ${problem}`];
  return mode === "starting" ? ["ResourceSlices are not published yet"] : [];
}

const stalledReason = ({ ms, reading }: NonNullable<Status["scans"]["stalled"]>): string =>
  `degraded: a node scan has been stalled for ${Math.round(ms / 1000)} s${reading === null ? "" : ` at ${reading}`}; device lists stay as they are`;

function reasonNotReady({ resource, registration }: PoolStatus, kubeletIsThere: boolean): string | null {
  if (!registration) return null;
  const suffix = registration.reason === null ? "" : `: ${registration.reason}`;
  switch (registration.state) {
    case "connected":
    case "standby":
      return null;
    case "failed":
      return `pool ${resource} has no socket${suffix}`;
    case "rejected":
      return kubeletIsThere ? `the kubelet rejects pool ${resource}${suffix}` : null;
    default:
      return kubeletIsThere ? `the kubelet is not connected to pool ${resource} yet${suffix}` : null;
  }
}
