// How long ago did the node boot? Time in suspension counts (CLOCK_BOOTTIME).

import { uptime } from "node:os";
import { readAttribute } from "../../native/files.ts";
import { isRecorded } from "./kernel.ts";

/** Seconds since the node booted; of a recorded tree what its proc/uptime says, without it a long time. */
export function readUptime(root: string): number {
  if (!isRecorded(root)) return uptime();
  const [seconds = ""] = (readAttribute(`${root}/proc/uptime`) ?? "").split(" ");
  return seconds === "" ? Infinity : Number(seconds);
}
