// How a test has the node booted again, with its disk as it is: the test leaves a request in the share, and the runner, which has QEMU,
// takes it away once the node is up.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The machine of a boot, and how the boot before it ends. */
export interface BootRequest {
  /** Whether the power is cut: QEMU is killed. Otherwise the guest is expected to shut down by itself. */
  readonly cut: boolean;
  /** NICs besides the two that the lab's machine has, at most 7. */
  readonly furtherNics: number;
  /** MiB */
  readonly memory: number;
}

/** The first boot's. */
export const firstBoot: BootRequest = { cut: false, furtherNics: 0, memory: 3072 };

const fileIn = (share: string) => join(share, "boot.json");

/** Requests a boot. */
export function requestBoot(share: string, request: BootRequest): void {
  writeFileSync(`${fileIn(share)}.new`, JSON.stringify(request));
  renameSync(`${fileIn(share)}.new`, fileIn(share));
}

/** The boot that is requested and not made yet; null when none is. */
export const requestedBoot = (share: string): BootRequest | null =>
  existsSync(fileIn(share)) ? (JSON.parse(readFileSync(fileIn(share), "utf8")) as BootRequest) : null;

/** Ends a request: the node is up. */
export const endRequest = (share: string): void => rmSync(fileIn(share));
