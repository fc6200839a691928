// What does the log say of a change to a pool? Lines for the log, from what the pool was and what it is.

import type { Device } from "../host/device.ts";
import { type ConfigWarning, warningsOnNode } from "./config-warnings.ts";
import type { LogMessage } from "../process/log-messages.ts";
import type { Pool } from "./pool.ts";

/** One line: a constant message, and what it is about. */
export interface LogLine {
  readonly level: "info" | "warn";
  readonly message: LogMessage;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** What changed in a pool that is served: devices added and removed, and those that are Unhealthy or Healthy again. */
export function changeLogLines(before: Pool, now: Pool): LogLine[] {
  const { resource } = now.spec;
  const lines: LogLine[] = [];
  const added = [...now.claims.keys()].filter((id) => !before.claims.has(id));
  const removed = [...before.claims.keys()].filter((id) => !now.claims.has(id));
  if (added.length > 0 || removed.length > 0) {
    const fields = { resource, added, removed, devices: now.claims.size };
    lines.push({ level: "info", message: "the pool's devices changed", fields });
  }
  const fresh = [...now.unhealthy].filter(([id, reason]) => before.unhealthy.get(id) !== reason);
  for (const [reason, devices] of byReason(fresh)) {
    lines.push({ level: "warn", message: "devices are Unhealthy", fields: { resource, reason, devices } });
  }
  const devices = [...before.unhealthy.keys()].filter((id) => now.claims.has(id) && !now.unhealthy.has(id));
  if (devices.length > 0)
    lines.push({ level: "info", message: "devices are Healthy again", fields: { resource, devices } });
  return lines;
}

/** The lines of a pool that is first served, with one warning for each reason why devices start as Unhealthy. */
export function startLogLines({ spec: { resource }, claims, unhealthy }: Pool): LogLine[] {
  const fields = { resource, devices: claims.size, unhealthy: unhealthy.size };
  return [
    { level: "info", message: "serving the pool", fields },
    ...[...byReason([...unhealthy])].map(([reason, { length: functions }]): LogLine => ({
      level: "warn",
      message:
        'devices start as Unhealthy; "linkHealth": false in the entry or --link-health=false turns the link part off',
      fields: { resource, reason, functions },
    })),
  ];
}

/**
 * The config warnings of this node, one line for each that the scan before did not have.
 * `known` is the `before` of the next scan. To be called after settled scans only: while VFs are made one
 * after the other, a pool has none, one, two.
 */
export function warningsOf(
  before: ReadonlySet<string>,
  pools: readonly Pool[],
  devices: readonly Device[],
): { readonly lines: readonly LogLine[]; readonly known: ReadonlySet<string> } {
  const found = new Map(
    warningsOnNode(pools, devices).map((warning) => {
      const fields = {
        resource: pools[warning.spec]?.spec.resource ?? null,
        ...placeOf(warning),
        warning: warning.message,
      };
      return [JSON.stringify(fields), fields] as const;
    }),
  );
  const lines = [...found].flatMap(([key, fields]): LogLine[] =>
    before.has(key) ? [] : [{ level: "warn", message: "config warning", fields }],
  );
  return { lines, known: new Set(found.keys()) };
}

/** The selector object, or the value in it, that a warning is about. */
function placeOf({ selectorObject, value }: ConfigWarning): { readonly selector?: string } {
  if (selectorObject === undefined) return {};
  return { selector: `selectors[${selectorObject}]${value === undefined ? "" : `.${value.selector}[${value.index}]`}` };
}

function byReason(unhealthy: readonly (readonly [id: string, reason: string])[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const [id, reason] of unhealthy) groups.set(reason, [...(groups.get(reason) ?? []), id]);
  return groups;
}
