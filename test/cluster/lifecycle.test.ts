// What happens to a DaemonSet in its life, and what pods with devices notice of it: an update, edits of the config, a PF that goes down, a kubelet that
// is killed, a plugin that hangs, and the end.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { join } from "node:path";
import { type DaemonSet, objectsOf } from "../support/kubernetes.ts";
import {
  apply,
  attempt,
  clusterTest,
  hasCluster,
  kubectl,
  onNode,
  read,
  testFrom,
  waitFor,
  waitForAllocatable,
} from "./cluster.ts";
import { kubeletLog, outageOf } from "./kubelet-log.ts";
import {
  allDevices,
  configMap,
  createNetwork,
  daemonSet,
  deployBase,
  deployments,
  deviceOf,
  dpdk,
  editConfig,
  isReady,
  namespace,
  netdevice,
  type Pod,
  pluginPod,
  pluginPods,
  podWith,
  pools,
  startPods,
  statusOf,
  waitForEnd,
  waitForRollout,
} from "./plugin.ts";
import { expectUnbrokenPing, startPing } from "./running-ping.ts";

const overlay = join(deployments, "overlays/cdi");
/** A config that is rejected, by the path that is named then. */
const rejected = { text: '{ "resourceList": [{ "resourceName": "all" }] }', path: "resourceList[0].selectors" };

beforeAll(async () => {
  if (!hasCluster) return;
  await Promise.all([deployBase(), createNetwork()]);
  await startPods(podWith("left", netdevice, "host-device-net"), podWith("right", netdevice, "host-device-net"));
});

afterAll(async () => {
  if (hasCluster) await kubectl("delete", "pods", "--all", "--namespace=default");
});

/** What would be different of the two pods if one had been started anew. */
async function lives(): Promise<unknown[]> {
  const { items } = await read<{ items: Pod[] }>("pods", "--namespace=default");
  return items
    .filter(({ metadata }) => ["left", "right"].includes(metadata.name))
    .map(({ metadata, status }) => [metadata.name, metadata.uid, status.containerStatuses?.[0]?.containerID]);
}

/** The overlay with CDI; its liveness probe notices sooner than the shipped one, which may take minutes. */
async function updated(): Promise<DaemonSet> {
  const objects = objectsOf(await kubectl("kustomize", overlay));
  const set = objects.find(({ kind }) => kind === "DaemonSet") as DaemonSet;
  const [container] = set.spec.template.spec.containers;
  if (container) Object.assign(container.livenessProbe, { periodSeconds: 10, failureThreshold: 4, timeoutSeconds: 30 });
  return set;
}

clusterTest(
  "an update takes no device from a running pod, loses no ping, and leaves the node no moment without a plugin",
  async () => {
    const before = await lives();
    await startPing("left", "right");
    const old = await pluginPod();
    const log = kubeletLog().length;
    await apply(await updated());
    const counts: number[] = [];
    await waitFor("only the new plugin runs", async () => {
      const pods = await pluginPods();
      counts.push(pods.filter(isReady).length);
      return pods.length === 1 && pods[0]?.metadata.uid !== old.metadata.uid && counts.at(-1) === 1;
    });
    expect(counts).not.toContain(0);
    await waitForRollout();
    await waitForAllocatable(allDevices);
    await expectUnbrokenPing("left");
    expect(await lives()).toEqual(before);
    // The kubelet forgets the old instance in one pass of its plugin manager and asks the new one in the next, a second later; without the
    // surge it was without devices for as long as a pod takes to start, 10 to 17 s.
    for (const resource of [netdevice, dpdk]) {
      const outage = outageOf(kubeletLog().slice(log), resource);
      console.log(`${resource} was missing for ${outage} ms`);
      expect(outage).toBeGreaterThan(0);
      expect(outage).toBeLessThan(8000);
    }
  },
);

describe("the ConfigMap", () => {
  const [net, ...others] = pools.resourceList;
  afterAll(async () => {
    if (!hasCluster) return;
    await editConfig(pools);
    await waitForAllocatable(allDevices);
  });

  clusterTest("is followed when it is edited; what pods keep out of a pool that was renamed is explained", async () => {
    const before = await lives();
    await editConfig({ resourceList: [{ ...net, resourceName: "renamed" }, ...others] });
    await waitForAllocatable({ renamed: 2, intel_sriov_dpdk: 4 });
    const pod = await pluginPod();
    expect(pod.status.containerStatuses?.[0]?.restartCount).toBe(0);
    expect(await lives()).toEqual(before);
    const { retentions } = await statusOf(pod.metadata.name);
    const device = await deviceOf("left");
    expect(retentions).toContainEqual({
      ...{ device, resource: netdevice, pod: "default/left", kind: "withheld", nextPool: "intel.com/renamed" },
    });
    expect(retentions).toHaveLength(2);
    const explain = ["exec", pod.metadata.name, "--", "/usr/bin/sriovdp", "explain"];
    expect(await kubectl(namespace, ...explain, device)).toContain(
      "next pool: intel.com/renamed, when pod default/left ends",
    );
  });

  clusterTest("that is edited badly is rejected, the pools are served on, and status shows why", async () => {
    const { name } = (await pluginPod()).metadata;
    await editConfig(rejected.text);
    const { config, pools: served } = await waitFor("the edit is rejected", async () => {
      const status = await statusOf(name);
      return status.config.lastReload?.success === false && status;
    });
    expect(config.lastReload?.problems[0]).toMatchObject({ severity: "error", path: rejected.path });
    expect(served.map(({ resource }) => resource)).toEqual(["intel.com/renamed", dpdk]);
    await waitForAllocatable({ renamed: 2, intel_sriov_dpdk: 4 });
    expect(isReady(await pluginPod())).toBeTrue();
  });

  clusterTest("with a rejected config stops an update: its pod says why, and the old one goes on", async () => {
    const old = await pluginPod();
    await kubectl(namespace, "rollout", "restart", daemonSet);
    const young = await waitFor("the new pod has failed", async () => {
      const pod = (await pluginPods()).find(({ metadata }) => metadata.uid !== old.metadata.uid);
      const state = pod?.status.containerStatuses?.[0];
      return (state?.lastState.terminated ?? state?.state.terminated)?.exitCode === 2 && pod?.metadata.name;
    });
    const [, message = ""] = (await kubectl(namespace, "describe", "pod", young)).split("Message:");
    expect(message).toContain(`error: ${rejected.path}: missing`);
    const running = (await pluginPods()).filter(isReady);
    expect(running.map(({ metadata }) => metadata.uid)).toEqual([old.metadata.uid]);
    await waitForAllocatable({ renamed: 2, intel_sriov_dpdk: 4 });
    await apply(configMap(JSON.stringify(pools)));
    // In place of the wait for its next start
    await kubectl(namespace, "delete", "pod", young);
    await waitForRollout();
    await waitForAllocatable(allDevices);
  });
});

clusterTest("a PF that goes down is seen in the node's allocatable, and so is its return", async () => {
  await onNode("ip link set pf0 down");
  await waitForAllocatable({ intel_sriov_netdevice: 2, intel_sriov_dpdk: 2 });
  await onNode("ip link set pf0 up");
  await waitForAllocatable(allDevices);
});

/** The kubelet reports the health of a pod's devices by default from 1.36 on (KEP-4680; devicemanager/manager.go, UpdateAllocatedResourcesStatus). */
testFrom(
  36,
  "a PF that goes down is seen in the status of a pod that has a VF of it, and so is its return",
  async () => {
    const device = await deviceOf("left");
    const pf = device.startsWith("0000:41:") ? "pf0" : "pf1";
    const waitForHealth = async (health: string) => {
      let last: unknown;
      await waitFor(
        `the pod's device is ${health}`,
        async () => {
          const found = (await read<Pod>("pod", "left")).status.containerStatuses?.[0]?.allocatedResourcesStatus;
          last = found?.map(({ name, resources }) => [name, resources.map((each) => [each.resourceID, each.health])]);
          return Bun.deepEquals(last, [[netdevice, [[device, health]]]]);
        },
        { found: () => last },
      );
    };
    await waitForHealth("Healthy");
    await onNode(`ip link set ${pf} down`);
    await waitForHealth("Unhealthy");
    await onNode(`ip link set ${pf} up`);
    await waitForHealth("Healthy");
    await waitForAllocatable(allDevices);
  },
);

clusterTest("a kubelet that is killed has all devices again, pods run on, and the next pod is served", async () => {
  const before = await lives();
  const log = kubeletLog().length;
  await onNode("kill -KILL $(cat /run/kubelet.pid)");
  for (const resource of [netdevice, dpdk]) {
    const line = new RegExp(
      `Processed device updates for resource" resourceName="${resource}" totalCount=4 healthyCount=4`,
    );
    await waitFor(`the next kubelet has ${resource}`, () => line.test(kubeletLog().slice(log)));
  }
  await startPods(podWith("next", dpdk));
  await waitForAllocatable(allDevices);
  expect(await lives()).toEqual(before);
  expect((await pluginPod()).status.containerStatuses?.[0]?.restartCount).toBe(0);
  await kubectl("delete", "pod", "next");
});

clusterTest("a plugin that hangs is restarted by its liveness probe", async () => {
  const before = await lives();
  const { metadata, status } = await pluginPod();
  const id = status.containerStatuses?.[0]?.containerID?.replace("containerd://", "");
  const stop = `while read -r task process _; do if [ "$task" = "${id}" ]; then kill -STOP "$process"; fi; done`;
  await onNode(`ctr -n k8s.io tasks ls | ${stop}`);
  await waitFor("the container is restarted", async () => {
    const pod = await pluginPod();
    return pod.metadata.uid === metadata.uid && pod.status.containerStatuses?.[0]?.restartCount === 1 && isReady(pod);
  });
  await waitForAllocatable(allDevices);
  expect(await lives()).toEqual(before);
});

clusterTest("kubectl delete -k leaves nothing on the node, and no device to allocate", async () => {
  const kubelet = "/var/lib/kubelet";
  const folders = [
    `${kubelet}/device-plugins`,
    `${kubelet}/plugins_registry`,
    "/var/run/k8s.cni.cncf.io/devinfo/dp",
    "/var/run/cdi",
  ];
  /** Files and sockets on the node but the kubelet's own, by their folders. */
  const left = async () => {
    const found = await onNode(`find ${folders.join(" ")} -type f -o -type s`);
    const names = found.split("\n").filter((name) => !/^$|\/kubelet(\.sock|_internal_checkpoint)$/.test(name));
    return folders.map((folder) => names.filter((name) => name.startsWith(folder)).length);
  };
  // Sockets of two pools, device-info of two pods, a CDI spec of the pool with device nodes
  expect(await left()).toEqual([0, 2, 2, 1]);
  await kubectl("delete", "pods", "--all", "--namespace=default");
  await kubectl("delete", "--kustomize", overlay);
  await waitForEnd();
  expect(await left()).toEqual([0, 0, 0, 0]);
  expect((await attempt(namespace, "get", "configmap", "sriovdp-config")).status).toBe(0);
});
