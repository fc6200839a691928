// A node that boots again while pods have devices, after an orderly shutdown and after a power cut: its VFs are made anew by the unit of
// docs/guides/persisting-vfs.md, the plugin starts by itself, and the pods are back on their network, none on a device that is not its own.
//
// The kubelet admits the pods of before before a plugin in a pod can register (kubernetes pkg/kubelet/cm/devicemanager/manager.go, devicesToAllocate,
// scenario 3), so it rejects them, and their controllers create others: these are what must be back.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { apply, clusterTest, hasCluster, kubectl, onNode, read, waitFor, waitForAllocatable } from "./cluster.ts";
import { bootAgain, installVfUnit } from "./node-boot.ts";
import {
  addressOf,
  createNetwork,
  deployBase,
  dpdk,
  isReady,
  netdevice,
  nodeResources,
  type Pod,
  pluginPod,
  podWith,
  removeAll,
  statusOf,
  variableOf,
  waitForNode,
} from "./plugin.ts";

/** What the unit of the page makes: four VFs for DPDK on the first PF, two with an interface on the second. */
const devices = { intel_sriov_dpdk: 4, intel_sriov_netdevice: 2 };
const networks = { red: "10.56.30.0/24" };
/** The pods of before, and where their device has to be. */
const wanted = [
  { pod: "red-0", resource: netdevice, network: "red", vfs: /^0000:81:10\.[02]$/ },
  { pod: "red-1", resource: netdevice, network: "red", vfs: /^0000:81:10\.[02]$/ },
  { pod: "dpdk-0", resource: dpdk, network: null, vfs: /^0000:41:10\.[0246]$/ },
  { pod: "dpdk-1", resource: dpdk, network: null, vfs: /^0000:41:10\.[0246]$/ },
] as const;

/** Pods with names that stay, one device each. */
function statefulSet(name: string, replicas: number, resource: string, network: string | null): object {
  const { metadata, spec } = podWith(name, resource, network);
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name, namespace: "default" },
    spec: {
      ...{ serviceName: name, replicas, podManagementPolicy: "Parallel", selector: { matchLabels: labels } },
      template: { metadata: { labels, annotations: metadata.annotations }, spec },
    },
  };
}

beforeAll(async () => {
  if (!hasCluster) return;
  await waitForNode();
  await removeAll();
  const commands = await installVfUnit();
  const now = [
    "echo 1 >/sys/class/net/pf1/device/sriov_drivers_autoprobe",
    ...commands,
    "for vf in 0 1; do ip link set $(ls /sys/class/net/pf1/device/virtfn$vf/net) name pf1v$vf; done",
  ];
  await onNode(now.join("\n"));
  await Promise.all([deployBase(devices), createNetwork(networks)]);
  await apply(statefulSet("red", 2, netdevice, "red"), statefulSet("dpdk", 2, dpdk, null));
  await waitForContainers([]);
});

afterAll(async () => {
  if (!hasCluster) return;
  await kubectl("delete", "statefulsets", "--all", "--namespace=default");
  await removeAll();
});

/** Why the kubelet rejects a pod without calling the plugin, as docs/troubleshooting/pods.md has it. */
const rejectedByKubelet =
  /unregistered device|no healthy devices present|previously allocated devices are no longer healthy/;

const podsOf = async (): Promise<Pod[]> => (await read<{ items: Pod[] }>("pods", "--namespace=default")).items;
const containersOf = (pods: readonly Pod[]) => pods.map(({ status }) => status.containerStatuses?.[0]?.containerID);

/** Waits until the four pods are Ready, in containers that are none of these; returns theirs. */
async function waitForContainers(old: readonly (string | undefined)[]): Promise<(string | undefined)[]> {
  let last: Pod[] = [];
  await waitFor(
    "the pods are Ready",
    async () => {
      last = await podsOf();
      const names = last.filter(isReady).map(({ metadata }) => metadata.name);
      const isNew = containersOf(last).every((id) => id !== undefined && !old.includes(id));
      return isNew && Bun.deepEquals(names.toSorted(), wanted.map(({ pod }) => pod).toSorted());
    },
    { seconds: 240, found: () => last.map(({ metadata, status }) => [metadata.name, status]) },
  );
  return containersOf(last);
}

/** What a pod sees of its VF: by its variable and as net1, with the address; or by the nodes of VFIO, beside their container's. */
const seen = {
  interface: `basename $(readlink /sys/class/net/net1/device); ip -o -4 address show dev net1 | awk '{print $4}'`,
  group: `basename $(readlink /sys/bus/pci/devices/$device/iommu_group); ls /dev/vfio`,
};

/** Each pod has a VF of its pool and its network, no two the same, and the plugin says so as well. */
async function expectOwnDevices(): Promise<void> {
  const taken: string[] = [];
  for (const { pod, resource, network, vfs } of wanted) {
    const script = `device=$${variableOf(resource)}; echo $device; ${network === null ? seen.group : seen.interface}`;
    const printed = await kubectl("exec", pod, "--", "sh", "-c", script);
    const [device = "", ...others] = printed.trim().split("\n");
    expect([pod, device]).toEqual([pod, expect.stringMatching(vfs)]);
    taken.push(device);
    if (network === null) expect(others).toEqual([others[1] ?? "", others[1] ?? "", "vfio"]);
    else {
      expect(others).toEqual([device, expect.stringMatching(/^10\.56\.30\.\d+\/24$/)]);
      expect(others[1]).toBe(`${await addressOf(pod)}/24`);
    }
  }
  expect(new Set(taken).size).toBe(wanted.length);
  const ping = ["ping", "-c", "3", "-W", "10", "-I", "net1", await addressOf("red-1")];
  expect(await kubectl("exec", "red-0", "--", ...ping)).toContain(" 0% packet loss");
  expect(await nodeResources()).toMatchObject({ allocatable: devices });
  const plugin = (await pluginPod()).metadata.name;
  const counts = {
    [netdevice]: { devices: 2, healthy: 2, allocated: 2, free: 0 },
    [dpdk]: { devices: 4, healthy: 4, allocated: 2, free: 2 },
  };
  let status = await statusOf(plugin);
  // What pods of before have left in the kubelet's checkpoint
  await waitFor(
    "the plugin has the four pods as its only ones",
    async () => {
      status = await statusOf(plugin);
      return Bun.deepEquals(Object.fromEntries(status.pools.map((pool) => [pool.resource, pool.counts])), counts);
    },
    { seconds: 60, found: () => status.pools.map((pool) => [pool.resource, pool.counts]) },
  );
  expect(status.retentions).toEqual([]);
}

/** What a boot must leave of the plugin: the same pod, its container started anew. */
async function afterBoot(cut: boolean): Promise<void> {
  const before = await pluginPod();
  const old = containersOf(await podsOf());
  const seconds = await bootAgain({ cut });
  await waitFor("the plugin is Ready in a new container", async () => {
    const pod = await pluginPod();
    const [container] = pod.status.containerStatuses ?? [];
    return isReady(pod) && container?.containerID !== before.status.containerStatuses?.[0]?.containerID;
  });
  expect((await pluginPod()).metadata.uid).toBe(before.metadata.uid);
  await waitForAllocatable(devices);
  await waitForContainers(old);
  const { items: rejections } = await read<{ items: { message: string }[] }>(
    ...["events", "--namespace=default", "--field-selector=reason=UnexpectedAdmissionError"],
  );
  console.log(`the node was away for ${seconds.toFixed(0)} s; ${rejections.length} pods have been rejected so far`);
  // None by the plugin
  for (const { message } of rejections) expect(message).toMatch(rejectedByKubelet);
  await expectOwnDevices();
}

describe("pods on VFs of the documented unit", () => {
  clusterTest("have devices of their own before the node boots again", expectOwnDevices);

  clusterTest("are back on their network after the node was rebooted, and the plugin started by itself", () =>
    afterBoot(false),
  );

  clusterTest("are back on their network after a power cut, and the plugin started by itself", () => afterBoot(true));
});
