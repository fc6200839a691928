// How long ago did the node boot?

import { readAttribute } from "../../native/files.ts";

/**
 * Milliseconds since boot, suspended time included (CLOCK_BOOTTIME, fs/proc/uptime.c); null where /proc does not say, as below the root of a
 * recorded node.
 */
export function readUptime(root: string): number | null {
  const seconds = /^(\d+(?:\.\d+)?) /.exec(readAttribute(`${root}/proc/uptime`) ?? "")?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}
