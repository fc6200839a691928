// A node changes to the DRA role and back while pods have devices, by the arguments of its DaemonSet alone; in between it serves claims. No device is
// in two pods at any time, and what pods have is published when they have ended.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { driver } from "../support/dra-node.ts";
import {
  apply,
  clusterTest,
  hasCluster,
  kubectl,
  onNode,
  read,
  testFrom,
  waitFor,
  waitForAllocatable,
} from "./cluster.ts";
import {
  claimPod,
  cleanUpCluster,
  filesOfDevices,
  hasTaints,
  isRunning,
  missingNetworks,
  networkTest,
  prepareCluster,
  quickStartPod,
  readSlices,
  schedulableIn,
  setRole,
  taintsIn,
  templateOf,
  versionsIn,
  type Vf,
  vfsOfNode,
  writesOf,
} from "./dra.ts";
import { countsIn, kubeletLog } from "./kubelet-log.ts";
import {
  addressOf,
  allDevices,
  containerOf,
  createNetwork,
  daemonSet,
  deployBase,
  deviceOf,
  dpdk,
  isReady,
  namespace,
  netdevice,
  type Pod,
  pluginPod,
  pluginPods,
  podWith,
  removeAll,
  startPods,
  waitForPending,
  waitForPods,
  waitForUpdate,
} from "./plugin.ts";
import { expectUnbrokenPing, startPing } from "./running-ping.ts";

const network = "host-device-net";
/** Of pods with claims, where multus can attach it. */
const claimNetwork = missingNetworks === null ? network : null;
/** The devices of all pods that live. */
const devices = new Map<string, string>();
let vfs: Vf[] = [];

const idsOf = (driverName: string): string[] => vfs.filter((vf) => vf.driver === driverName).map(({ id }) => id);
/** All VFs but those of these pods, as schedulableIn has them. */
const allBut = (...pods: readonly string[]): string[] => {
  const without = pods.map((pod) => devices.get(pod));
  return vfs
    .map(({ id }) => id)
    .filter((id) => !without.includes(id))
    .toSorted();
};
const deviceIn = (pod: string): string => devices.get(pod) ?? "";

/** Starts pods, each of which must have a device that no other pod has. */
async function start(resource: string, ...pods: readonly { readonly metadata: { readonly name: string } }[]) {
  for (const pod of pods) {
    await startPods(pod);
    await take(pod.metadata.name, resource);
  }
}

async function take(pod: string, resource = netdevice): Promise<void> {
  const device = await deviceOf(pod, resource);
  expect(vfs.map(({ id }) => id)).toContain(device);
  expect([...devices].filter(([, other]) => other === device)).toEqual([]);
  devices.set(pod, device);
}

async function end(...pods: readonly string[]): Promise<void> {
  await kubectl("delete", "pods", "--now", ...pods);
  for (const pod of pods) devices.delete(pod);
}

/** What would be different of pods that have devices if one had been started anew. */
async function lives(): Promise<unknown[]> {
  const { items } = await read<{ items: Pod[] }>("pods", "--namespace=default");
  return items
    .filter(({ metadata }) => devices.has(metadata.name))
    .map(({ metadata, status }) => [metadata.name, metadata.uid, status.containerStatuses?.[0]?.containerID]);
}

/** Waits until just these devices can be allocated to new pods; ids are sorted. */
async function waitForSchedulable(ids: readonly string[]): Promise<void> {
  let last: string[] = [];
  await waitFor(
    "the devices that new pods can get are as expected",
    async () => Bun.deepEquals((last = schedulableIn(await readSlices())), ids),
    { found: () => ({ last, ids }) },
  );
}

beforeAll(async () => {
  if (!hasCluster) return;
  await Promise.all([deployBase(), createNetwork(), prepareCluster()]);
  vfs = await vfsOfNode();
});

afterAll(async () => {
  if (!hasCluster) return;
  await onNode("ip link set pf0 up");
  await removeAll();
  await cleanUpCluster();
});

describe("a node that changes from the device plugin to DRA", () => {
  clusterTest("has pods with devices", async () => {
    await start(netdevice, podWith("left", netdevice, network), podWith("right", netdevice, network));
    // It takes its time to end.
    const hold = podWith("hold", netdevice);
    const [container] = hold.spec.containers;
    const command = ["/bin/sh", "-c", "trap 'sleep 4; exit' TERM; sleep 100000 & wait"];
    const spec = { ...hold.spec, terminationGracePeriodSeconds: 20, containers: [{ ...container, command }] };
    const slow = { ...hold, spec };
    await start(netdevice, slow);
  });

  clusterTest(
    "publishes after the device plugin has ended, without what pods have of it, and loses no ping",
    async () => {
      const before = await lives();
      const old = await pluginPod();
      await startPing("left", "right");
      await setRole("dra");
      const first = await waitFor(
        "devices are published",
        async () => {
          const slices = await readSlices();
          return slices.length > 0 && schedulableIn(slices);
        },
        { seconds: 240, pace: 100 },
      );
      expect(await isRunning(containerOf(old))).toBeFalse();
      for (const pod of ["left", "right", "hold"]) expect(first).not.toContain(deviceIn(pod));
      await waitForUpdate(old);
      await waitForSchedulable(allBut("left", "right", "hold"));
      await waitForAllocatable({});
      await expectUnbrokenPing("left");
      expect(await lives()).toEqual(before);
    },
  );

  clusterTest("has a slice of each PF with the attributes of its VFs", async () => {
    const held = ["left", "right", "hold"].map(deviceIn);
    const expected = Map.groupBy(
      vfs.filter(({ id }) => hasTaints || !held.includes(id)),
      ({ pf }) => pf,
    );
    const dashes = (text: string) => text.replaceAll(":", "-");
    const slices = await readSlices();
    expect(slices.map(({ spec }) => [spec.driver, spec.nodeName, spec.pool.name])).toEqual(
      [...expected.keys()].map((pf) => [driver, "lab", `lab/${dashes(pf)}`]),
    );
    const resourceOf = (vf: Vf) => (vf.driver === "vfio-pci" ? dpdk : netdevice);
    for (const [index, ofPf] of [...expected.values()].entries())
      expect(slices[index]?.spec.devices.map(({ name, attributes }) => [name, attributes])).toEqual(
        ofPf.map((vf) => [
          dashes(vf.id).replaceAll(".", "-"),
          {
            "resource.kubernetes.io/pciBusID": { string: vf.id },
            "resource.kubernetes.io/pcieRoot": { string: vf.root },
            ...(vf.numaNode >= 0 && { "resource.kubernetes.io/numaNode": { int: vf.numaNode } }),
            "k8s.cni.cncf.io/deviceID": { string: vf.id },
            "k8s.cni.cncf.io/resourceName": { string: resourceOf(vf) },
          },
        ]),
      );
  });

  testFrom(36, "publishes what pods have of the device plugin with a taint", async () => {
    const taints = taintsIn(await readSlices());
    expect([...taints].filter(([, names]) => names.length > 0).toSorted()).toEqual(
      ["left", "right", "hold"].map((pod): [string, string[]] => [deviceIn(pod), ["held"]]).toSorted(),
    );
  });
});

describe("a pod with a claim", () => {
  clusterTest("has the VF of its variable, by files for the runtime and for multus", async () => {
    await start(netdevice, claimPod("one", "vf", claimNetwork));
    expect([deviceIn("one")]).toEqual(allBut("left", "right", "hold").filter((id) => idsOf("igbvf").includes(id)));
    const { items } = await read<{ items: { metadata: { uid: string } }[] }>("resourceclaims");
    const files = await filesOfDevices();
    expect(items).toHaveLength(1);
    expect(files).toContain(`/var/run/cdi/${driver}-claim_${items[0]?.metadata.uid}.json 600`);
    const devinfo = `/var/run/k8s.cni.cncf.io/devinfo/dp/${netdevice.replace("/", "-")}-${deviceIn("one")}-device.json`;
    expect(files.map((line) => line.split(" ")[0])).toContain(devinfo);
  });

  networkTest("has it as an interface with an address of its network", async () => {
    expect(await addressOf("one")).toMatch(/^10\.56\.218\.\d+$/);
    const link = await kubectl("exec", "one", "--", "readlink", "/sys/class/net/net1/device");
    expect(link.trim()).toEndWith(`/${deviceIn("one")}`);
  });

  clusterTest(
    "that does not fit is Pending until a pod of the device plugin has ended, which is not before",
    async () => {
      await apply(claimPod("two"));
      expect(await waitForPending("two")).toContain("cannot allocate all claims");
      const container = containerOf(await read<Pod>("pod", "hold"));
      const device = deviceIn("hold");
      await kubectl("delete", "pod", "hold", "--wait=false");
      await waitFor("its device is published", async () => schedulableIn(await readSlices()).includes(device), {
        pace: 100,
      });
      expect(await isRunning(container)).toBeFalse();
      devices.delete("hold");
      await waitForPods("two");
      await take("two");
      expect(deviceIn("two")).toBe(device);
    },
  );
});

clusterTest("a plugin that is killed, or updated, writes nothing to the API server, and pods run on", async () => {
  const [versions, before] = [versionsIn(await readSlices()), await lives()];
  const pod = await pluginPod();
  const kill = `while read -r task process _; do if [ "$task" = "${containerOf(pod)}" ]; then kill -KILL "$process"; fi; done`;
  await onNode(`ctr -n k8s.io tasks ls | ${kill}`);
  const noWrites = { create: 0, update: 0, delete: 0, repair: 0, failed: 0 };
  await waitFor("the container is restarted", async () => {
    const [now] = await pluginPods();
    return now?.status.containerStatuses?.[0]?.restartCount === 1 && isReady(now);
  });
  expect(await writesOf(pod)).toEqual(noWrites);
  await kubectl(namespace, "rollout", "restart", daemonSet);
  expect(await writesOf(await waitForUpdate(pod))).toEqual(noWrites);
  expect(versionsIn(await readSlices())).toEqual(versions);
  expect(await lives()).toEqual(before);
});

clusterTest("a kubelet that is killed has the slices again, ends the pod of before, and starts the next", async () => {
  const uids = async () => new Set((await readSlices()).map(({ metadata }) => metadata.uid));
  const [slicesBefore, before] = [await uids(), await lives()];
  await onNode("kill -KILL $(cat /run/kubelet.pid)");
  // A kubelet that starts deletes all slices of its node.
  await waitFor("the slices were made anew", async () => slicesBefore.isDisjointFrom(await uids()), { pace: 100 });
  await waitForSchedulable(allBut("left", "right"));
  expect(await lives()).toEqual(before);
  const device = deviceIn("one");
  await apply(claimPod("three"));
  await waitForPending("three");
  await end("one");
  await waitForPods("three");
  await take("three");
  expect(deviceIn("three")).toBe(device);
  expect((await filesOfDevices()).filter((line) => line.includes("-claim_"))).toHaveLength(2);
});

clusterTest("a PF whose link is lost gives no VF to new pods until it is back", async () => {
  const before = await lives();
  const lost = vfs.filter(({ pf }) => pf === vfs[0]?.pf).map(({ id }) => id);
  const vfio = lost.find((id) => idsOf("vfio-pci").includes(id)) ?? "";
  await apply(templateOf("vfio", 1, vfio));
  await onNode("ip link set pf0 down");
  await waitForSchedulable(allBut("left", "right").filter((id) => !lost.includes(id)));
  const published = taintsIn(await readSlices());
  for (const id of lost) expect(published.get(id)?.includes("unhealthy")).toBe(hasTaints ? true : undefined);
  await apply(claimPod("vfio", "vfio"));
  expect(await waitForPending("vfio")).toContain("cannot allocate all claims");
  await onNode("ip link set pf0 up");
  await waitForPods("vfio");
  expect(await lives()).toEqual(before);
  await take("vfio", dpdk);
  expect(deviceIn("vfio")).toBe(vfio);
  const group = await onNode(`basename $(readlink /sys/bus/pci/devices/${vfio}/iommu_group)`);
  expect((await kubectl("exec", "vfio", "--", "ls", "/dev/vfio")).trim().split("\n")).toEqual([group, "vfio"]);
});

testFrom(37, "the quick start's pod, which requests a resource, has its VF by DRA", async () => {
  await end("three");
  const pod = quickStartPod(claimNetwork);
  const { name } = pod.metadata;
  await start(netdevice, pod);
  const { status } = await read<Pod & { status: { extendedResourceClaimStatus?: object } }>("pod", name);
  expect(status.extendedResourceClaimStatus).toMatchObject({
    requestMappings: [{ containerName: "app", resourceName: netdevice }],
  });
  if (claimNetwork !== null) expect(await addressOf(name)).toMatch(/^10\.56\.218\.\d+$/);
  await end(name);
  await start(netdevice, claimPod("three"));
});

clusterTest(
  "back in the device plugin, a node keeps the devices of claims from pods, and lets their pods end; no ping is lost",
  async () => {
    const before = await lives();
    const old = await pluginPod();
    const log = kubeletLog().length;
    await startPing("left", "right");
    await setRole("device-plugin");
    await waitForUpdate(old);
    expect(await readSlices()).toEqual([]);
    await waitForAllocatable({ intel_sriov_netdevice: 2, intel_sriov_dpdk: 3 });
    await apply(podWith("late", netdevice));
    expect(await waitForPending("late")).toContain(`Insufficient ${netdevice}`);
    expect(await lives()).toEqual(before);
    const since = kubeletLog().slice(log);
    expect([Math.max(...countsIn(since, netdevice)), Math.max(...countsIn(since, dpdk))]).toEqual([2, 3]);
    // The plugin serves the driver again for those that are left, 45 s after its start.
    await end("two", "three", "vfio");
    await waitForAllocatable(allDevices);
    await waitForPods("late");
    await take("late");
    await expectUnbrokenPing("left");
    expect((await filesOfDevices()).filter((line) => line.includes("-claim_"))).toEqual([]);
    await waitFor("the claims are gone", async () => (await kubectl("get", "resourceclaims", "--output=name")) === "");
  },
);
