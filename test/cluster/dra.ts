// The DRA role in the cluster: what is deployed for it, pods with claims, and what the API server has of the node's devices.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { deviceClassesOf } from "../../src/dra/device-classes.ts";
import type { Allocator } from "../../src/roles/role.ts";
import { toCluster } from "../docs/cluster.ts";
import { readPage } from "../docs/pages.ts";
import { testWhere } from "../packaging/needs.ts";
import { driver } from "../support/dra-node.ts";
import { type KubernetesObject, objectsOf } from "../support/kubernetes.ts";
import { apply, clusterTest, facts, hasCluster, kubectl, minorRelease, onNode, read, waitFor } from "./cluster.ts";
import { deployments, netdevice, type Pod, podWith, pools, statusOf } from "./plugin.ts";

/** Why pods get no interface of a claim's device; null where they do. */
export const missingNetworks: string | null =
  !hasCluster || facts().hasClaimMultus
    ? null
    : "needs a multus that finds devices of claims, later than 4.3.0: SRIOVDP_MULTUS=FILE";

/** A test of interfaces that pods have by claims, skipped under its name where the node's multus finds no devices of claims. */
export const networkTest = (name: string, body: () => void | Promise<void>): void =>
  missingNetworks === null ? clusterTest(name, body) : testWhere(missingNetworks, name, body);

/** Whether the API server keeps taints of devices. */
export const hasTaints: boolean = hasCluster && minorRelease() >= 36;

const classes = deviceClassesOf(
  pools.resourceList.map(({ resourceName: name }) => ({ resource: `intel.com/${name}`, prefix: "intel.com", name })),
  driver,
);

/** The shipped overlay of the DRA role, in one of the roles: for the way back only the argument changes. */
async function overlayIn(role: Allocator): Promise<KubernetesObject[]> {
  const objects = objectsOf(await kubectl("kustomize", join(deployments, "overlays/dra")));
  return JSON.parse(JSON.stringify(objects).replace("--allocator=dra", `--allocator=${role}`)) as KubernetesObject[];
}

/** Gives the cluster the classes and the templates of claims: "vf" for any VF with an interface. */
export const prepareCluster = (): Promise<string> => apply(...classes, templateOf("vf", 0));

/** Removes what does not belong to a namespace, and on the node the marks of claims that have ended, which stay for ten minutes. */
export async function cleanUpCluster(): Promise<void> {
  await onNode(`rm -f /var/run/cdi/.${driver}-claim_*.ended`);
  const kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
  await kubectl("delete", kinds, "--selector=app.kubernetes.io/name=sriovdp");
  await kubectl("delete", ...classes.map(({ metadata }) => `deviceclass/${metadata.name}`));
}

/** Has the plugin serve in a role; the rollout is not waited for. */
export const setRole = async (role: Allocator): Promise<string> => apply(...(await overlayIn(role)));

/** A template of claims for one device of a pool, by its place among the pools, or for one certain device. */
export const templateOf = (name: string, pool: number, device: string | null = null) => ({
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceClaimTemplate",
  metadata: { name, namespace: "default" },
  spec: {
    spec: {
      devices: {
        requests: [
          {
            name: "nic",
            exactly: {
              deviceClassName: classes[pool]?.metadata.name,
              ...(device !== null && {
                selectors: [{ cel: { expression: `device.attributes["k8s.cni.cncf.io"].deviceID == "${device}"` } }],
              }),
            },
          },
        ],
      },
    },
  },
});

/** A pod that stays, with the device of a claim that is made for it by a template. */
export function claimPod(name: string, template = "vf", network: string | null = null) {
  const pod = podWith(name, "", network);
  const [container] = pod.spec.containers;
  return {
    ...pod,
    spec: {
      ...pod.spec,
      resourceClaims: [{ name: "device", resourceClaimTemplateName: template }],
      containers: [{ ...container, resources: { claims: [{ name: "device" }] } }],
    },
  };
}

/** A ResourceSlice as the API server has it. */
export interface Slice extends KubernetesObject {
  readonly metadata: KubernetesObject["metadata"] & { readonly uid: string; readonly resourceVersion: string };
  readonly spec: {
    readonly driver: string;
    readonly nodeName: string;
    readonly pool: { readonly name: string };
    readonly devices: readonly {
      readonly name: string;
      readonly attributes: Readonly<Record<string, { readonly string?: string; readonly int?: number }>>;
      readonly taints?: readonly { readonly key: string; readonly effect: string }[];
    }[];
  };
}

/** All slices, by name. */
export const readSlices = async (): Promise<Slice[]> => (await read<{ items: Slice[] }>("resourceslices")).items;

/** What shows that slices were written or made anew. */
export const versionsIn = (slices: readonly Slice[]): unknown[] =>
  slices.map(({ metadata }) => [metadata.name, metadata.uid, metadata.resourceVersion]);

/** The ids of published devices, with the names of their taints. */
export const taintsIn = (slices: readonly Slice[]): Map<string, string[]> =>
  new Map(
    slices
      .flatMap(({ spec }) => spec.devices ?? [])
      .map(({ attributes, taints = [] }) => [
        attributes["k8s.cni.cncf.io/deviceID"]?.string ?? "",
        taints.map(({ key }) => key.replace(`${driver}/`, "")),
      ]),
  );

/** The ids of devices that new pods can get. */
export const schedulableIn = (slices: readonly Slice[]): string[] =>
  [...taintsIn(slices)].flatMap(([id, taints]) => (taints.length === 0 ? [id] : [])).toSorted();

/** How often the plugin has written to the API server since it started, once all is there as it should be. */
export const writesOf = (pod: Pod): Promise<object> =>
  waitFor("all is published", async () => {
    const { dra } = await statusOf(pod.metadata.name);
    return dra?.publication.mode === "publishing" && dra.publication.isCurrent && dra.publication.writes;
  });

/** What the node's kernel says of a VF. */
export interface Vf {
  readonly id: string;
  readonly pf: string;
  readonly driver: string;
  /** "pci0000:40" */
  readonly root: string;
  readonly numaNode: number;
}

/** All VFs of the node, in the order of their PFs and numbers. */
export async function vfsOfNode(): Promise<Vf[]> {
  const lines = await onNode(`
    for pf in 0000:41:00.0 0000:81:00.0; do
      for vf in 0 1 2 3; do
        path=$(readlink -f /sys/bus/pci/devices/$pf/virtfn$vf)
        echo $(basename $path) $pf $(basename $(readlink $path/driver)) $(echo $path | cut -d/ -f4) $(cat $path/numa_node)
      done
    done`);
  return lines.split("\n").map((line) => {
    const [id = "", pf = "", driverName = "", root = "", numaNode = ""] = line.split(" ");
    return { id, pf, driver: driverName, root, numaNode: Number(numaNode) };
  });
}

/** The files that are on the node because claims have devices, with their permissions: "/var/run/cdi/… 600". */
export async function filesOfDevices(): Promise<string[]> {
  const folders = "/var/run/cdi /var/run/k8s.cni.cncf.io/devinfo/dp";
  const found = await onNode(`find ${folders} -type f ! -name '.*' -exec stat -c '%n %a' {} +`);
  return found.split("\n").filter(Boolean).toSorted();
}

/** Whether the node still runs a container. */
export const isRunning = async (container: string): Promise<boolean> =>
  (await onNode("ctr -n k8s.io tasks ls"))
    .split("\n")
    .some((line) => line.startsWith(container) && line.includes("RUNNING"));

/** The pod of the quick start as the page has it, but for the resource and the network. */
export function quickStartPod(network: string | null): KubernetesObject {
  const page = readPage(readFileSync(join(import.meta.dir, "../../docs/get-started/quick-start.md"), "utf8"));
  const block = page.blocks.find(({ says }) => says.file === "pod.yaml");
  const version = facts().imageName.split(":").at(-1) ?? "";
  const text = toCluster(block?.text ?? "", version).replaceAll("intel.com/sriov_net", netdevice);
  const [pod] = objectsOf(text.replace("networks: sriov-net", `networks: ${network}`));
  if (!pod) throw new Error("the page has no pod");
  return network === null ? { ...pod, metadata: { ...pod.metadata, annotations: {} } } : pod;
}
