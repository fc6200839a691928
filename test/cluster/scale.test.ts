// A node with 63 VFs of nine PFs, and 60 pods that are created at once through scheduler, kubelet and CNI, each with a VF as an interface. Emulated,
// a pod takes some ten seconds of a processor, so this runs when it is named: bun test/cluster/run.ts scale. Nothing is removed after
// it: it is the last one, and the machine ends with it.

import { beforeAll, expect, setDefaultTimeout } from "bun:test";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseSeries, samples, type Series } from "../contract/scrape.ts";
import { testWhere } from "../packaging/needs.ts";
import { apply, clusterTest, facts, hasCluster, kubectl, read, waitFor, waitForAllocatable } from "./cluster.ts";
import { bootAgain, installVfUnit } from "./node-boot.ts";
import {
  createNetwork,
  deployBase,
  isReady,
  netdevice,
  type Pod,
  pluginPod,
  podWith,
  removeAll,
  variableOf,
} from "./plugin.ts";

/** Each PF of the emulated NIC has seven VFs at most. */
const pfs = 9;
const vfs = 7 * pfs;
const pods = 60;
setDefaultTimeout(1_800_000);

const hasTime = hasCluster && facts().hasTime;
const scaleTest = (name: string, body: () => Promise<void>): void =>
  !hasCluster || hasTime
    ? clusterTest(name, body)
    : testWhere("takes a quarter of an hour: bun test/cluster/run.ts scale", name, body);

beforeAll(async () => {
  if (!hasTime) return;
  await removeAll();
  await installVfUnit(Array.from({ length: pfs }, (_, index) => `pf${index} 7`));
  console.log(`booted in ${await bootAgain({ cut: true, furtherNics: pfs - 2, memory: 5120 })} s`);
  const started = performance.now();
  await Promise.all([
    deployBase({ intel_sriov_netdevice: vfs }, "overlays/metrics"),
    createNetwork({ many: "10.56.40.0/24" }),
  ]);
  console.log(`plugin deployed in ${(performance.now() - started) / 1000} s`);
});

/** Pods that print the device of their variable, and that of their interface. */
const deployment = ((): object => {
  const { metadata, spec } = podWith("many", netdevice, "many");
  const [container] = spec.containers;
  const says = `echo "$${variableOf(netdevice)} $(basename $(readlink /sys/class/net/net1/device))"`;
  const command = ["/bin/sh", "-c", `${says}; trap exit TERM; sleep 100000 & wait`];
  const labels = { app: "many" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "many", namespace: "default" },
    spec: {
      ...{ replicas: pods, selector: { matchLabels: labels } },
      template: {
        metadata: { labels, annotations: metadata.annotations },
        spec: { ...spec, containers: [{ ...container, command }] },
      },
    },
  };
})();

/** The plugin's metrics. */
async function metrics(): Promise<Series> {
  const { name } = (await pluginPod()).metadata;
  return parseSeries(await kubectl("get", "--raw", `/api/v1/namespaces/kube-system/pods/${name}:9808/proxy/metrics`));
}

/** Calls, their sum in seconds, and the bound of the bucket that has the longest, of a histogram without labels. */
function figuresOf(all: Series, name: string) {
  const valueOf = (suffix: string) => samples(all, `${name}_${suffix}`)[0]?.value ?? Number.NaN;
  const count = valueOf("count");
  const full = samples(all, `${name}_bucket`).filter(({ value }) => value >= count);
  const max = Math.min(...full.map(({ labels }) => Number(labels["le"]?.replace("+Inf", "Infinity"))));
  return { count, sum: valueOf("sum"), max };
}

const podsOf = async (): Promise<Pod[]> => (await read<{ items: Pod[] }>("pods", "--selector=app=many")).items;

/** Waits until all pods are Ready; returns for how many seconds. */
async function waitForReady(): Promise<number> {
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  let last: Pod[] = [];
  let ready = -1;
  await waitFor(
    `${pods} pods are Ready`,
    async () => {
      last = await podsOf();
      const now = last.filter(isReady).length;
      if (now !== ready) console.log(`${elapsed().toFixed(0)} s: ${now} of ${pods} pods are Ready`);
      ready = now;
      return ready === pods;
    },
    { seconds: 1500, pace: 2000, found: () => last.map(({ status }) => [status.phase, status.message]) },
  );
  return elapsed();
}

scaleTest("60 pods that are created at once all run, on distinct VFs, each with its own as net1", async () => {
  await apply(deployment);
  const seconds = await waitForReady();
  const printed = await kubectl("logs", "--selector=app=many", "--tail=-1", "--max-log-requests=100");
  const devices = printed
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  expect(devices.filter(([device, link]) => device !== link)).toEqual([]);
  expect(new Set(devices.map(([device]) => device)).size).toBe(pods);
  await waitForAllocatable({ intel_sriov_netdevice: vfs });
  const failed = (await podsOf()).filter(({ status }) => status.phase === "Failed");
  expect(failed.map(({ status }) => [status.reason, status.message])).toEqual([]);

  const allocate = figuresOf(await metrics(), "sriovdp_allocate_duration_seconds");
  const figures = { vfs, pods, seconds, allocate };
  console.log(JSON.stringify(figures));
  writeFileSync(join(dirname(facts().share), "scale.json"), `${JSON.stringify(figures, null, 2)}\n`);
  expect(allocate.count).toBe(pods);
  expect(allocate.sum).toBeLessThan(seconds / 20);
});
