// How quick is it? Figures of the compiled executable on simulated nodes, from a JavaScript client: compare them only with
// figures of the same machine and the same hour. Usage: npm run bench [-- --idle] (idle CPU takes two minutes more).

import { readFileSync } from "node:fs";
import { setLink } from "../test/support/live.ts";
import { buildNode, type PfPlan } from "../test/support/node.ts";
import { TestNode } from "../test/support/plugin.ts";
import { until } from "../test/support/until.ts";

const shapes = [
  { vfs: 8, pfs: 1, pools: 1 },
  { vfs: 256, pfs: 2, pools: 4 },
  { vfs: 1024, pfs: 8, pools: 16 },
] as const;

/** PFs that all have as many VFs, of iavf and vfio-pci in turn, and pools that share them evenly. */
function nodeOf({ vfs, pfs, pools }: (typeof shapes)[number]) {
  const perPf = vfs / pfs;
  const entries = buildNode({
    pfs: Array.from({ length: pfs }, (_, index): PfPlan => ({
      nic: "e810",
      name: `ens${index}f0`,
      numaNode: index % 2,
      vfs: [{ count: perPf, driver: index % 2 === 0 ? "iavf" : "vfio-pci" }],
    })),
  });
  const perPool = vfs / pools;
  const resourceList = Array.from({ length: pools }, (_, pool) => {
    const first = pool * perPool;
    const ranges: string[] = [];
    for (let vf = first; vf < first + perPool; vf += Math.min(perPool, perPf)) {
      const from = vf % perPf;
      ranges.push(`ens${Math.floor(vf / perPf)}f0#${from}-${Math.min(perPf, from + perPool) - 1}`);
    }
    return { resourceName: `pool${pool}`, selectors: [{ pfNames: ranges }] };
  });
  return { entries, resourceList, resources: resourceList.map(({ resourceName }) => `intel.com/${resourceName}`) };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** CPU time that a process has used, in milliseconds (fields 14 and 15 of /proc/PID/stat, in clock ticks of 10 ms). */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const rss = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

async function measure(shape: (typeof shapes)[number], idle: boolean): Promise<string[]> {
  const { entries, resourceList, resources } = nodeOf(shape);
  await using node = new TestNode({ entries, config: { resourceList } });
  await node.kubelet.start();
  const started = performance.now();
  const plugin = node.startPlugin("-v", "10");
  const offered = () => resources.reduce((sum, name) => sum + node.kubelet.resource(name).allocatable, 0);
  await until("all devices are offered", () => offered() === shape.vfs);
  const ready = performance.now() - started;
  const pass = /looked at the node .*ms=(\d+)/.exec(plugin.log)?.[1] ?? "?";
  const [resource = ""] = resources;
  const ids = node.kubelet.free(resource);
  const times: number[] = [];
  for (let call = 0; call < 1000; call++) {
    const before = performance.now();
    await node.kubelet.callAllocate(resource, [[ids[call % ids.length] ?? ""]]);
    times.push(performance.now() - before);
  }
  const down = performance.now();
  setLink(node.root, "ens0f0", "down");
  await until("the VFs are Unhealthy", () => node.kubelet.resource(resource).allocatable === 0);
  const linkLoss = performance.now() - down;
  setLink(node.root, "ens0f0", "up");
  await until("the VFs are Healthy", () => offered() === shape.vfs);
  const memory = rss(plugin.pid);
  let idleCpu = "-";
  if (idle) {
    await Bun.sleep(60_000);
    const before = cpuOf(plugin.pid);
    await Bun.sleep(60_000);
    idleCpu = String(cpuOf(plugin.pid) - before);
  }
  const ending = performance.now();
  await plugin.stop();
  const end = performance.now() - ending;
  return [
    `${shape.vfs}`,
    `${shape.pools}`,
    ready.toFixed(0),
    pass,
    (median(times) * 1000).toFixed(0),
    linkLoss.toFixed(0),
    memory.toFixed(0),
    idleCpu,
    end.toFixed(0),
  ];
}

console.log(
  "| VFs | pools | ready ms | first look ms | Allocate p50 µs | link loss ms | RSS MiB | idle CPU ms/60 s | SIGTERM ms |",
);
console.log(`|${" --- |".repeat(9)}`);
for (const shape of shapes) console.log(`| ${(await measure(shape, process.argv.includes("--idle"))).join(" | ")} |`);
