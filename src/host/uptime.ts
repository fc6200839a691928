// How long ago did the node boot?

import { uptimePath } from "./node-paths.ts";
import { uptime } from "node:os";
import { readAttribute } from "../../native/files.ts";
import { isRecorded } from "./kernel.ts";

/**
 * Milliseconds since boot, suspended time included (CLOCK_BOOTTIME: sysinfo(2), since a service's /proc need not have uptime: the unit has
 * ProcSubset=pid); null where a recorded node has no proc/uptime.
 */
export function readUptime(root: string): number | null {
  if (!isRecorded(root)) return uptime() * 1000;
  const seconds = /^(\d+(?:\.\d+)?) /.exec(readAttribute(uptimePath(root)) ?? "")?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}
