// How the node is woken up for a command in the share: by a line on its third serial port. A guest that looked at the share five times a second
// took a fifth of an idle node's processor time for that.

import { closeSync, constants, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { run } from "./namespace.ts";

const fileIn = (share: string) => join(share, "wake-up");

/** Makes the pipes that QEMU has as the serial port: what it reads, and what it writes (chardev/char-pipe.c). */
export function makeWakeUp(share: string): void {
  run(["mkfifo", `${fileIn(share)}.in`, `${fileIn(share)}.out`]);
}

/** QEMU's words for the port; it must be the third. */
export const wakeUpPort = (share: string): string[] => ["-serial", `pipe:${fileIn(share)}`];

/** Wakes the node up. A line that is sent while it boots is lost; it looks at the share once it is up. */
export function wakeUp(share: string): void {
  // For reading as well: otherwise it would wait for a QEMU that reads.
  const pipe = openSync(`${fileIn(share)}.in`, constants.O_RDWR);
  writeSync(pipe, "\n");
  closeSync(pipe);
}
