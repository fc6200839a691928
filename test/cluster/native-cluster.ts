// A cluster of two nodes on this machine, with one config file: on one the executable is a DRA driver, on the other a device plugin. The control
// plane and the kubelets are genuine; no container is started (native-node.ts).

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deviceClassesOf } from "../../src/dra/device-classes.ts";
import { goProgram } from "../packaging/go-program.ts";
import { missingPrograms, missingRoot, testWhere } from "../packaging/needs.ts";
import { driver, nodeName } from "../support/dra-node.ts";
import { removeTemporaryFolder, temporaryFolder } from "../support/plugin.ts";
import { type Truthy, waitForValue } from "../support/wait-for.ts";
import { type ApiProxy, startApiProxy } from "./api-proxy.ts";
import { minorReleaseOf, type Node, resourcesOf } from "./cluster.ts";
import { serviceAddress, startControlPlane } from "./control-plane.ts";
import type { Slice } from "./dra.ts";
import { kubectlIn } from "./kubectl.ts";
import { makeNamespace } from "./namespace.ts";
import { NativeNode } from "./native-node.ts";

const kubernetes = process.env["SRIOVDP_KUBERNETES"] ?? "";
const logs = join(import.meta.dir, "../../test-results/cluster/nodes");

/** Why no node can be started here; null where they can. */
function missingNamespaces(): string | null {
  if (kubernetes === "") return process.env["SRIOVDP_NO_CLUSTER"] ?? "needs Kubernetes: bun test/cluster/run.ts nodes";
  const absent = missingRoot ?? missingPrograms("ip", "mknod", "mount", "nsenter", "setpriv", "unshare");
  if (absent !== null) return absent;
  const script = "mount -t tmpfs tmpfs /tmp && mknod /tmp/null c 1 3";
  const { success, stderr } = Bun.spawnSync(["unshare", "--mount", "--net", "--", "sh", "-ec", script]);
  return success ? null : `no node can be started here: ${stderr.toString().trim()}`;
}

const unable = missingNamespaces();
const runtime = unable === null ? goProgram("../cluster/fake-runtime") : { path: null, missing: unable };

/** Whether the cluster can be started here. */
export const hasNodes: boolean = runtime.missing === null;

/** A test that needs the two nodes, and is skipped under its name without. */
export const nodeTest = (name: string, body: () => Promise<void>): void => testWhere(runtime.missing, name, body);

export const resource = "intel.com/foo";
const config = { resourceList: [{ resourceName: "foo", selectors: { drivers: ["vfio-pci"] } }] };

/** VFs of each node. */
export const capacity = 6;

/** Waits for two minutes at most, as in the cluster with the guest, but polls often; what `found` returns is part of the error. */
export const wait = <T>(what: string, condition: () => T | Promise<T>, found?: () => unknown): Promise<Truthy<T>> =>
  waitForValue(what, condition, { seconds: 120, pace: 20, ...(found && { found }) });

export interface NativeCluster {
  readonly api: ApiProxy;
  /** The node whose plugin is a DRA driver, with the kubelet's identity, as the plugin has it outside of pods. */
  readonly byDra: NativeNode;
  /** The node whose plugin is a device plugin. */
  readonly byPlugin: NativeNode;
  /** kubectl with the identity of a node's kubelet. */
  kubectlOf(node: NativeNode): ReturnType<typeof kubectlIn>;
  /** Stops all of it; throws when a plugin has logged what the docs lack. */
  stop(): Promise<void>;
}

/** Starts the cluster; throws where it can't be, or is not there within some minutes. */
export async function startNativeCluster(): Promise<NativeCluster> {
  rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs, { recursive: true });
  const folder = temporaryFolder();
  writeFileSync(`${folder}/config.json`, JSON.stringify(config));
  const names = { byDra: nodeName, byPlugin: "worker" };
  const addresses = { byDra: "10.0.2.16", byPlugin: "10.0.2.17" };
  // Extended resources by DRA (KEP-5004) are alpha in 1.34 and 1.35, and on from 1.36.
  const featureGates = minorReleaseOf(kubernetes) < 36 ? { DRAExtendedResource: true } : {};

  const namespace = await makeNamespace([serviceAddress, ...Object.values(addresses)], logs);
  const { ready, kubeconfig } = await startControlPlane(namespace, kubernetes, `${folder}/control-plane`, {
    nodes: Object.values(names),
    featureGates,
  });
  const api = await startApiProxy(namespace, kubernetes, kubeconfig("admin"), `${folder}/api.sock`);
  const startNode = (role: keyof typeof names, pf: string, ...args: readonly string[]) =>
    new NativeNode({
      ...{ name: names[role], address: addresses[role], namespace, kubernetes, featureGates },
      pf: { nic: "e810", name: "ens1f0", address: pf, vfs: [{ count: capacity, driver: "vfio-pci" }] },
      kubeconfig: kubeconfig(`kubelet-${names[role]}`),
      args: ["-v=5", "--config-file", `${folder}/config.json`, ...args],
      runtime: runtime.path ?? "",
    });
  const identity = ["--node-name", names.byDra, "--kubeconfig", kubeconfig(`kubelet-${names.byDra}`)];
  const byDra = startNode("byDra", "0000:3b:00.0", "--allocator=dra", ...identity);
  const byPlugin = startNode("byPlugin", "0000:5e:00.0");
  await ready;
  for (const each of deviceClassesOf([{ resource, prefix: "intel.com", name: "foo" }], driver))
    await api.create("/apis/resource.k8s.io/v1/deviceclasses", each);
  await waitForOffers(api, byDra, byPlugin);
  return {
    ...{ api, byDra, byPlugin },
    kubectlOf: ({ name }) => kubectlIn(namespace.pid, kubernetes, kubeconfig(`kubelet-${name}`)),
    stop: async () => {
      const stopped = await Promise.allSettled([byDra.stop(), byPlugin.stop()]);
      await namespace.stop();
      for (const used of [byDra.root, byPlugin.root, folder]) removeTemporaryFolder(used);
      for (const each of stopped) if (each.status === "rejected") throw each.reason;
    },
  };
}

/** Waits until all devices of both nodes can be given to pods, each by its role and by no other. */
export async function waitForOffers(api: ApiProxy, byDra: NativeNode, byPlugin: NativeNode): Promise<void> {
  let last: unknown;
  await wait(
    "all devices are offered",
    async () => {
      const slices = await readSlices(api);
      const published = slices.flatMap(({ spec }) => spec.devices.map(() => spec.nodeName));
      const offered = {
        [byDra.name]: await allocatableOn(api, byDra),
        [byPlugin.name]: await allocatableOn(api, byPlugin),
      };
      last = { published, offered };
      const expected = {
        published: Array(capacity).fill(byDra.name),
        offered: { [byDra.name]: 0, [byPlugin.name]: capacity },
      };
      return Bun.deepEquals(last, expected);
    },
    () => ({ last, dra: byDra.plugin.log, plugin: byPlugin.plugin.log }),
  );
}

/** All ResourceSlices. */
export const readSlices = async (api: ApiProxy): Promise<Slice[]> =>
  (await api.get<{ items: Slice[] }>("/apis/resource.k8s.io/v1/resourceslices")).items;

/** How many devices the node's kubelet offers; null unless the node is Ready. */
async function allocatableOn(api: ApiProxy, { name }: NativeNode): Promise<number | null> {
  const { status } = await api.get<Node>(`/api/v1/nodes/${name}`);
  const isReady = status.conditions.some((each) => each.type === "Ready" && each.status === "True");
  return isReady ? (resourcesOf(status.allocatable)["foo"] ?? 0) : null;
}
