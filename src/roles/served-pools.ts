// What do both roles do with the pools that they serve, and with what a killed plugin left?

import { removeAbandonedSockets } from "../fs/socket-file.ts";
import type { LogLine } from "../pools/change-log.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import type { LogAt } from "../process/log-messages.ts";
import type { Offer } from "../process/systemd.ts";
import { messageOf } from "../text.ts";

/** The pools of these specs as they are served; a pool that is not served has no devices. */
export const servedPools = (specs: readonly PoolSpec[], served: ReadonlyMap<string, Pool>): Pool[] =>
  specs.map((spec) => served.get(spec.resource) ?? { spec, claims: new Map(), unhealthy: new Map() });

/** The numbers of what is offered by these pools. */
export function offerOf(pools: readonly Pool[]): Omit<Offer, "configRejected"> {
  const sum = (count: (pool: Pool) => number) => pools.reduce((total, pool) => total + count(pool), 0);
  return {
    pools: pools.length,
    devices: sum(({ claims }) => claims.size),
    unhealthy: sum(({ unhealthy }) => unhealthy.size),
  };
}

/** Writes lines about pools to the log. */
export function writeLines(log: LogAt<LogLine["level"]>, lines: readonly LogLine[]): void {
  for (const { level, message, fields } of lines) log[level](message, fields);
}

/** Removes the sockets in these folders that a plugin of ours left which was killed; a failure is logged. */
export async function removeLeftSockets(
  folders: readonly string[],
  isOurs: (name: string) => boolean,
  log: LogAt<"warn">,
): Promise<void> {
  for (const folder of folders)
    await removeAbandonedSockets(folder, isOurs).catch((error: unknown) =>
      log.warn("cannot remove sockets of a plugin that was killed", { reason: messageOf(error) }),
    );
}
