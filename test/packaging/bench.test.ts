// Does the paired benchmark give every figure of both plugins? The executable takes the upstream plugin's arguments: it is its own peer.

import { expect } from "bun:test";
import { statSync } from "node:fs";
import { measurePaired } from "../../scripts/bench/paired.ts";
import { executable } from "../support/plugin.ts";
import { missingPrograms, missingRoot, testWhere } from "./needs.ts";

const missing = missingRoot ?? missingPrograms("unshare", "nsenter", "ip");

/** When a folder of the machine last changed; null when it is not there. */
const changed = (folder: string): number | null => statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? null;

const figures = [
  "ready ms",
  "idle PSS MiB",
  "idle private MiB",
  "first 200 p99 µs",
  ...[1, 8].flatMap((count) => ["p50 µs", "p99 µs", "CPU µs"].map((figure) => `Allocate ${count} ${figure}`)),
  "4 callers calls/s",
];

testWhere(
  missing,
  "both plugins of a paired benchmark run on the same kind of node, and change nothing on the machine",
  async () => {
    const folders = ["/var/run/k8s.cni.cncf.io/devinfo/dp", "/var/lib/kubelet", "/sys/class/net"];
    const before = folders.map(changed);
    const shape = { vfs: 8, pfs: 1, pools: 1 };
    const [paired] = await measurePaired([shape], executable, { repeats: 1, settleMs: 0, idleSeconds: 0 });
    for (const runs of [paired?.ours, paired?.other]) {
      expect(Object.keys(runs?.[0] ?? {}).toSorted()).toEqual(figures.toSorted());
      for (const value of Object.values(runs?.[0] ?? {})) expect(value).toBeGreaterThan(0);
    }
    expect(folders.map(changed)).toEqual(before);
  },
);
