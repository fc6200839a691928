// The nodes that are measured: PFs that all have as many VFs, of iavf and vfio-pci in turn, and pools that share them evenly.

import { buildNode } from "../../test/support/node.ts";
import type { PfPlan } from "../../test/support/node-plan.ts";
import type { Entry } from "../../test/support/tree.ts";

/** How large a node is. */
export interface Shape {
  readonly vfs: number;
  readonly pfs: number;
  readonly pools: number;
}

/** The nodes of the published table, and a large one: four NICs' worth of a whole rack in one node. */
export const shapes: readonly Shape[] = [
  { vfs: 8, pfs: 1, pools: 1 },
  { vfs: 64, pfs: 1, pools: 4 },
  { vfs: 256, pfs: 2, pools: 4 },
  { vfs: 256, pfs: 2, pools: 16 },
  { vfs: 1024, pfs: 8, pools: 1 },
  { vfs: 1024, pfs: 8, pools: 16 },
  { vfs: 4096, pfs: 32, pools: 64 },
];

/** "256/16": 256 VFs in 16 pools. */
export const nameOf = ({ vfs, pools }: Shape): string => `${vfs}/${pools}`;

/** A node, the config that makes its pools, and their resources. */
export interface BenchNode {
  readonly entries: readonly Entry[];
  readonly config: { readonly resourceList: readonly object[] };
  readonly resources: readonly string[];
}

const prefix = "bench.io";

/** The interface of a PF, and its PCI address: four buses for each, so that 128 VFs have room. */
export const pfName = (index: number): string => `ens${index}f0`;
export const pfAddress = (index: number): string => `0000:${(0x10 + 4 * index).toString(16).padStart(2, "0")}:00.0`;

/** Builds a node of a shape. */
export function nodeOf({ vfs, pfs, pools }: Shape): BenchNode {
  const perPf = vfs / pfs;
  const entries = buildNode({
    pfs: Array.from({ length: pfs }, (_, index): PfPlan => ({
      nic: "e810",
      name: pfName(index),
      address: pfAddress(index),
      numaNode: index % 2,
      vfs: [{ count: perPf, driver: index % 2 === 0 ? "iavf" : "vfio-pci" }],
    })),
  });
  const perPool = vfs / pools;
  const resourceList = Array.from({ length: pools }, (_, pool) => {
    const ranges: string[] = [];
    for (let vf = pool * perPool; vf < (pool + 1) * perPool; vf += Math.min(perPool, perPf)) {
      const from = vf % perPf;
      ranges.push(`${pfName(Math.floor(vf / perPf))}#${from}-${Math.min(perPf, from + perPool) - 1}`);
    }
    return { resourcePrefix: prefix, resourceName: `pool${pool}`, selectors: [{ pfNames: ranges }] };
  });
  return {
    entries,
    config: { resourceList },
    resources: resourceList.map(({ resourceName }) => `${prefix}/${resourceName}`),
  };
}
