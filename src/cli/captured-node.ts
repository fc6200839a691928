// How does a command read a node that `sriovdp capture` wrote to a file? Unpacked in a temporary folder, which is the root then.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { readText } from "../fs/read-text.ts";
import { kernelFactsName } from "../host/tree.ts";
import { parse, unpack } from "../host/recorded-tree.ts";

/** How many bytes of a captured node are read: some 100 times those of one with a thousand functions. */
const captureBytes = 256 << 20;

/** Calls `use` with the root of a captured node; rejects, with an error for the operator, for any other file. */
export async function withCapturedNode<T>(path: string, use: (root: string) => Promise<T>): Promise<T> {
  const entries = parse(readText(path, captureBytes));
  if (!entries.some((entry) => entry.path === kernelFactsName))
    throw new Error(`this is no captured node: it has no ${kernelFactsName}; make one with sriovdp capture`);
  const root = mkdtempSync(`${tmpdir()}/sriovdp-node-`);
  try {
    unpack(entries, root);
    return await use(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
