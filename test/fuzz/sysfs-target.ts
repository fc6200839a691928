// What must hold whatever the files of sysfs say?

import * as fc from "fast-check";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { allocate, prepareDevices } from "../../src/allocation/allocate.ts";
import { readAllocationFacts } from "../../src/host/allocation-facts.ts";
import type { Device } from "../../src/host/device.ts";
import { scanNode } from "../../src/host/scan.ts";
import { assignPools } from "../../src/pools/assign.ts";
import { deviceTypeNames } from "../../src/pools/device-types.ts";
import { aSpec } from "../support/device.ts";
import { host, hostNames, removeTemporaryFolder, temporaryFolder } from "../support/plugin.ts";
import { type Entry, kernelFactsName, unpack } from "../support/tree.ts";

/** What can be in place of a file of sysfs. Not a FIFO: reading one simulates a driver that never answers. */
const replacements = {
  absent: () => {},
  empty: (path: string) => writeFileSync(path, ""),
  newlines: (path: string) => writeFileSync(path, "\n\n\n"),
  "a page too long": (path: string) => writeFileSync(path, "9".repeat(40_000)),
  huge: (path: string) => writeFileSync(path, Buffer.alloc(2 << 20, 0x41)),
  binary: (path: string) =>
    writeFileSync(
      path,
      Uint8Array.from({ length: 64 }, (_, index) => (index * 37) & 0xff),
    ),
  NUL: (path: string) => writeFileSync(path, "0x80\u000086\n"),
  negative: (path: string) => writeFileSync(path, "-99999999999999999999\n"),
  "a folder": (path: string) => mkdirSync(path),
  "a link to itself": (path: string) => symlinkSync(path, path),
  "a link to nothing": (path: string) => symlinkSync("/nonexistent/../0000:zz:00.0", path),
  "a link to the root": (path: string) => symlinkSync("/", path),
  "a long name": (path: string) => symlinkSync(`../${"x".repeat(255)}`, path),
} as const satisfies Record<string, (path: string) => void>;

const known = new Map<string, { readonly entries: readonly Entry[]; readonly devices: readonly Device[] }>();

async function healthyNode(name: string) {
  const found = known.get(name);
  if (found) return found;
  const entries = host(name);
  const root = temporaryFolder({ inMemory: true });
  try {
    unpack(entries, root);
    const { devices } = await scanNode(root, { ddpProfiles: true, enableRdma: true, vhostNet: false }, null);
    known.set(name, { entries, devices });
    return { entries, devices };
  } finally {
    removeTemporaryFolder(root);
  }
}

const addressIn = (path: string): string | null =>
  /sys\/devices\/(?:[^/]+\/)*([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\//.exec(path)?.[1] ?? null;

/**
 * The functions on which the facts of a device depend: its own, its PF and the other ports of a hardware bond; of a PF all below it, by
 * which a default route may leave.
 */
const relativesOf = ({ pci, pf }: Device, all: readonly Device[]): readonly string[] => [
  pci,
  ...(pf ? [pf.address, ...(pf.sharedPorts?.ports ?? []).map(({ owner }) => owner)] : []),
  ...all.filter((other) => other.pf?.address === pci).map((other) => other.pci),
];

export const sysfs = fc.asyncProperty(
  fc.constantFrom(...hostNames()),
  fc.array(fc.tuple(fc.nat(), fc.constantFrom(...(Object.keys(replacements) as (keyof typeof replacements)[]))), {
    minLength: 1,
    maxLength: 3,
  }),
  async (name, changes) => {
    const { entries, devices: before } = await healthyNode(name);
    const root = temporaryFolder({ inMemory: true });
    try {
      unpack(entries, root);
      const candidates = entries.filter(({ path }) => path !== kernelFactsName);
      const touched = new Set<string | null>();
      for (const [index, kind] of changes) {
        const chosen = candidates[index % candidates.length];
        if (!chosen) continue;
        touched.add(addressIn(`${chosen.path}/`));
        rmSync(`${root}/${chosen.path}`, { recursive: true, force: true });
        replacements[kind](`${root}/${chosen.path}`);
      }
      const { devices, problems } = await scanNode(
        root,
        { ddpProfiles: true, enableRdma: true, vhostNet: false },
        null,
      );
      for (const { message } of problems) {
        if (/undefined|TypeError|is not an? (function|object)/.test(message)) throw new Error(message);
      }
      const specs = deviceTypeNames.map((deviceType) => aSpec({ deviceType, name: deviceType, selectors: [{}] }));
      for (const pool of assignPools(specs, devices)) {
        for (const { device } of pool.claims.values()) {
          const requested = { rdma: true, vhostNet: true, iommufd: true };
          const facts = quietly(() => readAllocationFacts(root, device, requested));
          if (facts) allocate(pool.spec, [device.id], prepareDevices(pool, new Map([[device.id, facts]])), null);
        }
      }
      // Neighbors: a device of which nothing that it depends on was touched is what it was.
      if (touched.has(null)) return;
      for (const device of before) {
        if (relativesOf(device, before).some((address) => touched.has(address))) continue;
        const now = devices.find(({ id }) => id === device.id);
        if (now === undefined || !Bun.deepEquals({ ...now, instance: device.instance }, device))
          throw new Error(`${device.id} is another one: ${JSON.stringify(now)}`);
      }
    } finally {
      removeTemporaryFolder(root);
    }
  },
);

/** A reader of one device may say what is wrong, by an error with words; a program error does not count. */
function quietly<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    return null;
  }
}
