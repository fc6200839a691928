import { afterAll, expect, test } from "bun:test";
import * as fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { host } from "../../test/support/plugin.ts";
import { unpack } from "../../test/support/tree.ts";
import { scanNode } from "./scan.ts";

const work = mkdtempSync(`${tmpdir()}/listing-`);
afterAll(() => rmSync(work, { recursive: true }));

/** The devices of a node whose entries were made in this order: file systems list them in an order that follows from it. */
async function devicesOf(entries: ReturnType<typeof host>, name: string) {
  const root = `${work}/${name}`;
  unpack(entries, root);
  const { devices } = await scanNode(root, { ddpProfiles: true, enableRdma: true, vhostNet: false }, null);
  // Inode numbers are the folder's own.
  return devices.map((device) => ({ ...device, instance: "" }));
}

test.each(["mixed", "lab"])("the order of directory listings does not count on the node %s", async (name) => {
  const entries = host(name);
  const devices = await devicesOf(entries, name);
  expect(devices.length).toBeGreaterThan(8);
  const orders = fc.sample(fc.shuffledSubarray(entries, { minLength: entries.length }), {
    seed: 20_261_124,
    numRuns: 5,
  });
  for (const [index, order] of [entries.toReversed(), ...orders].entries()) {
    expect(await devicesOf(order, `${name}-${index}`)).toEqual(devices);
  }
});
