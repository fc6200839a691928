// What the docs promise for the base: devices at the node, pods with a VF and an address on it, and all of it back afterwards.

import { beforeAll, describe, expect } from "bun:test";
import { apply, clusterTest, facts, hasCluster, kubectl, type Node, onNode, read, waitFor } from "./cluster.ts";
import {
  addressOf,
  allDevices,
  createNetwork,
  deployBase,
  deviceOf,
  dpdk,
  inPlugin,
  interfacesOnNode,
  netdevice,
  nodeResources,
  type Pod,
  pluginPods,
  podWith,
  startPods,
  statusInNetwork,
  waitForPods,
  warningsOf,
} from "./plugin.ts";

/** What DANM reads of the kubelet's checkpoint; ids are by NUMA node. */
interface Checkpoint {
  readonly PodDeviceEntries: readonly {
    readonly PodUID: string;
    readonly ResourceName: string;
    readonly DeviceIDs: Readonly<Record<string, readonly string[]>>;
  }[];
}

beforeAll(async () => {
  if (!hasCluster) return;
  await Promise.all([deployBase(), createNetwork()]);
});

clusterTest("the node runs the releases that were requested", async () => {
  const { kubeletVersion, containerRuntimeVersion } = (await read<Node>("node", "lab")).status.nodeInfo;
  const versions = JSON.parse(await kubectl("version", "--output=json")) as { serverVersion: { gitVersion: string } };
  console.log(`Kubernetes ${kubeletVersion}, ${containerRuntimeVersion}`);
  const { kubernetes, containerd } = facts().releases;
  expect([versions.serverVersion.gitVersion, kubeletVersion]).toEqual([kubernetes, kubernetes]);
  expect(containerRuntimeVersion).toStartWith(`containerd://${containerd}.`);
});

describe("the base", () => {
  clusterTest("is taken strictly, and its pod runs the image that was imported, without a warning", async () => {
    const [pod, ...others] = await pluginPods();
    expect(others).toEqual([]);
    expect(pod?.status.containerStatuses).toEqual([expect.objectContaining({ ready: true, restartCount: 0 })]);
    // On a machine that has other work an emulated probe may take too long.
    const warnings = await warningsOf(pod?.metadata.name ?? "");
    expect(warnings.filter((warning) => !warning.includes("timed out"))).toEqual([]);
  });

  clusterTest("gives the node capacity and allocatable", async () => {
    expect(await nodeResources()).toEqual({ capacity: allDevices, allocatable: allDevices });
  });

  clusterTest("answers to kubectl exec, and validates its own config", async () => {
    expect(await inPlugin("status")).toContain(dpdk);
    expect(await inPlugin("explain", dpdk)).toContain("0000:41:10.0");
  });
});

describe("five pods that ask for one of four VFs", () => {
  const inNetwork = ["a", "b", "c"];
  const devices = new Map<string, string>();
  /** Two pods with VFs of one PF, or of two: three VFs of two PFs have both. */
  const pair = (ofOne: boolean): readonly [string, string] => {
    const pf = (pod: string) => devices.get(pod)?.slice(0, "0000:41".length);
    const pairs = inNetwork.flatMap((one) =>
      inNetwork.filter((other) => other > one).map((other) => [one, other] as const),
    );
    const found = pairs.find(([one, other]) => (pf(one) === pf(other)) === ofOne);
    if (found === undefined) throw new Error(`no pair in ${JSON.stringify([...devices])}`);
    return found;
  };
  const ping = async ([from, to]: readonly [string, string]) =>
    kubectl("exec", from, "--", "ping", "-c", "3", "-W", "10", "-I", "net1", await addressOf(to));

  clusterTest("have one each, all but the fifth, which is Pending with the scheduler's reason", async () => {
    await startPods(...inNetwork.map((name) => podWith(name, netdevice, "host-device-net")), podWith("d", netdevice));
    for (const name of [...inNetwork, "d"]) devices.set(name, await deviceOf(name));
    expect(new Set(devices.values()).size).toBe(4);
    await apply(podWith("e", netdevice));
    const { status } = await waitFor("the scheduler has tried the fifth pod", async () => {
      const pod = await read<Pod>("pod", "e");
      return pod.status.conditions !== undefined && pod;
    });
    expect([status.phase, status.conditions?.[0]?.message]).toEqual([
      "Pending",
      expect.stringContaining(`Insufficient ${netdevice}`),
    ]);
  });

  clusterTest("have net1 with an address of their network, which is the VF of their variable", async () => {
    for (const pod of inNetwork) {
      expect(await addressOf(pod)).toMatch(/^10\.56\.218\.\d+$/);
      const link = await kubectl("exec", pod, "--", "readlink", "/sys/class/net/net1/device");
      expect(link.trim()).toEndWith(`/${devices.get(pod)}`);
    }
  });

  clusterTest("have it in the network status of multus, where KubeVirt reads it", async () => {
    for (const pod of inNetwork) {
      const { name, "device-info": info } = await statusInNetwork(pod);
      const device = devices.get(pod);
      expect([name, info]).toEqual([
        "default/host-device-net",
        { type: "pci", version: "1.1.0", pci: { "pci-address": device } },
      ]);
    }
  });

  clusterTest("have it in the kubelet's checkpoint, where DANM reads it", async () => {
    const text = await onNode("cat /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint");
    const { PodDeviceEntries: entries } = (JSON.parse(text) as { Data: Checkpoint }).Data;
    for (const [name, device] of devices) {
      const { metadata } = await read<Pod>("pod", name);
      const own = entries.filter(({ PodUID }) => PodUID === metadata.uid);
      expect(own.map(({ ResourceName, DeviceIDs }) => [ResourceName, Object.values(DeviceIDs).flat()])).toEqual([
        [netdevice, [device ?? ""]],
      ]);
    }
  });

  clusterTest("reach each other through VFs of one PF", async () => {
    expect(await ping(pair(true))).toContain(" 0% packet loss");
  });

  clusterTest("reach each other through VFs of two PFs", async () => {
    expect(await ping(pair(false))).toContain(" 0% packet loss");
  });

  clusterTest("leave their VF to the fifth when they are deleted", async () => {
    await kubectl("delete", "pod", "a");
    await waitForPods("e");
    expect(await deviceOf("e")).toBe(devices.get("a") ?? "");
  });

  clusterTest("leave every VF with its name on the node when all of them are deleted", async () => {
    await kubectl("delete", "pods", "b", "c", "d", "e");
    const all = [...devices.values()].toSorted();
    let last: Record<string, string> = {};
    await waitFor(
      "the VFs are back",
      async () => Object.values((last = await interfacesOnNode(...all))).every(Boolean),
      { found: () => last },
    );
    expect(Object.values(last).toSorted()).toEqual(["pf0v2", "pf0v3", "pf1v2", "pf1v3"]);
    expect(await nodeResources()).toEqual({ capacity: allDevices, allocatable: allDevices });
  });
});
