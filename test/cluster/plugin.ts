// The plugin in the cluster, and pods that have its devices.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { FullStatus } from "../../src/telemetry/plugin-status.ts";
import { objectsOf, type KubernetesObject } from "../support/kubernetes.ts";
import { apply, facts, kubectl, onNode, read, resourcesOf, type Node, waitFor, waitForAllocatable } from "./cluster.ts";

export const deployments: string = join(import.meta.dir, "../../deployments");
export const namespace = "--namespace=kube-system";
export const daemonSet = "daemonset/kube-sriov-device-plugin";

/** The pools of every test: four VFs of two PFs each. */
export const pools = {
  resourceList: [
    { resourceName: "intel_sriov_netdevice", selectors: [{ vendors: ["8086"], drivers: ["igbvf"] }] },
    { resourceName: "intel_sriov_dpdk", selectors: [{ vendors: ["8086"], drivers: ["vfio-pci"] }] },
  ],
};
export const allDevices = { intel_sriov_netdevice: 4, intel_sriov_dpdk: 4 };

/** The ConfigMap that users have; its data is the text of a config. */
export const configMap = (config: string, name = "sriovdp-config", key = "config.json") => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "kube-system" },
  data: { [key]: config },
});

/** Waits until the node is Ready and has all images: nothing can be pulled here. */
export async function waitForNode(): Promise<void> {
  const booting = { seconds: 280 };
  const condition = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
  await waitFor("the node is Ready", async () => (await kubectl("get", "node", "lab", condition)) === "True", booting);
  await waitFor("the node has the images", () => existsSync(join(facts().share, "images-are-imported")), booting);
}

/** Puts the pools into the cluster, deploys the base or an overlay as the docs say, and waits until these devices can be allocated. */
export async function deployBase(devices: Readonly<Record<string, number>> = allDevices, path = "base"): Promise<void> {
  await waitForNode();
  await apply(configMap(JSON.stringify(pools)));
  await kubectl("apply", "--server-side", "--validate=strict", "--kustomize", join(deployments, path));
  await waitForRollout();
  await waitForAllocatable(devices);
}

/** Waits until a DaemonSet's pods are new and Ready. */
export const waitForRollout = (name = daemonSet, where = namespace): Promise<string> =>
  kubectl(where, "rollout", "status", name, "--timeout=240s");

/** Takes away what earlier tests left: pods unless they are to stay, DaemonSets in all namespaces, and the resources that they registered. */
export async function removeAll({ butPods = false } = {}): Promise<void> {
  if (!butPods) await kubectl("delete", "pods", "--all", "--namespace=default");
  await kubectl("delete", "daemonsets", "--all", "--all-namespaces");
  await kubectl(namespace, "delete", "services", "--all");
  await waitForEnd();
}

/** Waits until the plugin's last pod is gone, and what it offered with it. */
export async function waitForEnd(): Promise<void> {
  const pods = () => read<{ items: Pod[] }>("pods", namespace, "--selector=name=sriov-device-plugin");
  await waitFor("the plugin's pods are gone", async () => (await pods()).items.length === 0);
  await waitForAllocatable({});
}

export interface Pod extends KubernetesObject {
  readonly metadata: KubernetesObject["metadata"] & { readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly image: string }[] };
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly {
      readonly ready: boolean;
      readonly restartCount: number;
      readonly imageID: string;
      readonly containerID?: string;
      readonly state: { readonly running?: object; readonly terminated?: { readonly exitCode: number } };
      readonly lastState: { readonly terminated?: { readonly exitCode: number } };
      readonly allocatedResourcesStatus?: readonly {
        readonly name: string;
        readonly resources: readonly { readonly resourceID: string; readonly health: string }[];
      }[];
    }[];
  };
}

/** The plugin's pods that are not being deleted. */
export async function pluginPods(): Promise<Pod[]> {
  const { items } = await read<{ items: Pod[] }>("pods", namespace, "--selector=name=sriov-device-plugin");
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** The one pod of the plugin, once an update has ended the others. */
export const pluginPod = (pods = pluginPods): Promise<Pod> =>
  waitFor("the plugin has one pod", async () => {
    const [pod, ...others] = await pods();
    return others.length === 0 && pod;
  });

/** The id of a pod's container. */
export const containerOf = ({ status }: Pod): string =>
  status.containerStatuses?.[0]?.containerID?.replace("containerd://", "") ?? "";

/** Why the scheduler has found no node for a pod; undefined before it has tried, and when the pod has a node. */
export const pendingReason = ({ status }: Pod): string | undefined =>
  status.conditions?.find((each) => each.type === "PodScheduled" && each.status === "False")?.message;

/** Waits until the scheduler has tried a pod in vain, and returns its reason. */
export const waitForPending = (name: string): Promise<string> =>
  waitFor(`the scheduler has tried pod ${name}`, async () => pendingReason(await read<Pod>("pod", name)));

/** Waits until an update has left one pod of the plugin. */
export async function waitForUpdate(old: Pod): Promise<Pod> {
  await waitForRollout();
  return waitFor("only the new plugin runs", async () => {
    const [pod, ...others] = await pluginPods();
    return others.length === 0 && pod && pod.metadata.uid !== old.metadata.uid && isReady(pod) && pod;
  });
}

/** Whether the container of a pod is Ready. */
export const isReady = ({ status }: Pod): boolean => status.containerStatuses?.[0]?.ready === true;

let edits = 0;

/**
 * Changes the pools of the plugin that runs. The kubelet brings an edited ConfigMap to a pod when it next looks at the pod: within a minute, or at
 * once when the pod object changes.
 */
export async function editConfig(config: object | string): Promise<void> {
  await apply(configMap(typeof config === "string" ? config : JSON.stringify(config)));
  const annotation = `lab/edit=${(edits += 1)}`;
  await kubectl(namespace, "annotate", "pods", "--selector=name=sriov-device-plugin", "--overwrite", annotation);
}

/** What sriovdp status says in a pod of the plugin; times are text there. */
export const statusOf = async (pod: string, where = namespace): Promise<FullStatus> =>
  JSON.parse(await kubectl(where, "exec", pod, "--", "/usr/bin/sriovdp", "status", "--output=json")) as FullStatus;

/** Runs the executable in the plugin's pod, as the docs say. */
export const inPlugin = (...words: readonly string[]): Promise<string> =>
  kubectl(namespace, "exec", daemonSet, "--", "/usr/bin/sriovdp", ...words);

export const netdevice = "intel.com/intel_sriov_netdevice";
export const dpdk = "intel.com/intel_sriov_dpdk";

/**
 * A pod that stays, with one device of a resource: as an interface in the network that is named; or in the host's network, where no CNI is
 * called, which takes most of the time that a pod takes.
 */
export const podWith = (name: string, resource: string, network: string | null = null) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    ...{ name, namespace: "default" },
    annotations: network === null ? {} : { "k8s.v1.cni.cncf.io/networks": network },
  },
  spec: {
    hostNetwork: network === null,
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: "app",
        image: "lab.local/busybox:1",
        imagePullPolicy: "Never",
        command: ["/bin/sh", "-c", "trap exit TERM; sleep 100000 & wait"],
        resources: { requests: { [resource]: "1" }, limits: { [resource]: "1" } },
      },
    ],
  },
});

/** The network of the shipped example under another name, with an address for each pod. */
function networkLike(name: string, subnet: string): object {
  const example = readFileSync(join(deployments, "examples/networks/host-device.yaml"), "utf8");
  const [network] = objectsOf(example) as (KubernetesObject & { spec: { config: string } })[];
  if (network === undefined) throw new Error("the example has no network");
  const config = JSON.parse(network.spec.config) as object;
  const ipam = { type: "host-local", ranges: [[{ subnet }]] };
  return {
    ...network,
    metadata: { ...network.metadata, name },
    spec: { config: JSON.stringify({ ...config, name, ipam }) },
  };
}

/** Creates the kind NetworkAttachmentDefinition, and the network of the shipped example or others by name and subnet. */
export async function createNetwork(
  networks: Readonly<Record<string, string>> = { "host-device-net": "10.56.218.0/24" },
): Promise<void> {
  await apply(...objectsOf(readFileSync(join(import.meta.dir, "network-attachment-crd.yaml"), "utf8")));
  await kubectl("wait", "--for=condition=Established", "crd/network-attachment-definitions.k8s.cni.cncf.io");
  // The API server serves a new kind a moment after it is established.
  await waitFor("the network is created", async () =>
    apply(...Object.entries(networks).map(([name, subnet]) => networkLike(name, subnet))),
  );
}

/** The variable that a resource's devices have in a pod. */
export const variableOf = (resource: string): string =>
  `PCIDEVICE_${resource.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`;

/** A VF that a pod has, by its variable: 0000:41:10.4. */
export const deviceOf = async (pod: string, resource = netdevice): Promise<string> =>
  (await kubectl("exec", pod, "--", "sh", "-c", `echo "$${variableOf(resource)}"`)).trim();

/** What multus reports of a pod's net1: an element of the annotation k8s.v1.cni.cncf.io/network-status, empty before it does. */
export async function statusInNetwork(pod: string): Promise<NetworkStatus> {
  const { metadata } = await read<Pod>("pod", pod);
  const status = JSON.parse(metadata.annotations?.["k8s.v1.cni.cncf.io/network-status"] ?? "[]") as NetworkStatus[];
  return status.find((each) => each.interface === "net1") ?? {};
}

interface NetworkStatus {
  readonly name?: string;
  readonly interface?: string;
  readonly ips?: readonly string[];
  readonly "device-info"?: object;
}

/** The address of a pod in a network, as multus reports it. */
export const addressOf = async (pod: string): Promise<string> => (await statusInNetwork(pod)).ips?.[0] ?? "";

/** Waits until these pods are Ready; a pod that the kubelet refused ends the wait. */
export async function waitForPods(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    let last: Pod | null = null;
    await waitFor(
      `pod ${name} is Ready`,
      async () => {
        last = await read<Pod>("pod", name);
        const { phase, conditions } = last.status;
        return phase === "Failed" || conditions?.some(({ type, status }) => type === "Ready" && status === "True");
      },
      { seconds: 240, found: () => last?.status },
    );
    const { phase, reason, message } = (last as unknown as Pod).status;
    if (phase === "Failed") throw new Error(`pod ${name} has failed: ${reason}: ${message}`);
  }
}

/**
 * Creates pods one after the other, each when the one before is Ready: multus gives up on an API server that does not answer within some seconds,
 * as happens when several are started at once on an emulated machine.
 */
export async function startPods(...pods: readonly { readonly metadata: { readonly name: string } }[]): Promise<void> {
  for (const pod of pods) {
    await apply(pod);
    await waitForPods(pod.metadata.name);
  }
}

/** Names of the interfaces of VFs on the node, by address. */
export async function interfacesOnNode(...addresses: readonly string[]): Promise<Record<string, string>> {
  const lines = await onNode(
    addresses.map((address) => `echo ${address} $(ls /sys/bus/pci/devices/${address}/net 2>/dev/null)`).join("\n"),
  );
  return Object.fromEntries(lines.split("\n").map((line) => line.split(" ") as [string, string]));
}

/** Counts of capacity and allocatable on the node. */
export async function nodeResources(): Promise<{ capacity: object; allocatable: object }> {
  const { capacity, allocatable } = (await read<Node>("node", "lab")).status;
  return { capacity: resourcesOf(capacity), allocatable: resourcesOf(allocatable) };
}

/** Events about a pod of the plugin's that warn: "Unhealthy: Startup probe failed …". */
export async function warningsOf(pod: string): Promise<string[]> {
  const { items } = await read<{ items: { reason: string; message: string }[] }>(
    "events",
    namespace,
    `--field-selector=type=Warning,involvedObject.name=${pod}`,
  );
  return items.map(({ reason, message }) => `${reason}: ${message}`);
}
