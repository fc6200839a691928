// Over to this plugin and back, by the commands of the docs: from the upstream plugin's manifests of 3.6.2 and of today, from the SR-IOV network
// operator's, and by Helm. Pods that have devices run on throughout, and the pools of the user stay as they are. The image of the old
// plugin is ours under another name: what differs are the manifests.

import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { goProgram } from "../packaging/go-program.ts";
import { testWhere } from "../packaging/needs.ts";
import { type DaemonSet, type KubernetesObject, objectsOf, only } from "../support/kubernetes.ts";
import { operatorDaemonSet, upstreamDaemonSet, upstreamServiceAccount } from "../support/others-manifests.ts";
import { runProgram } from "../support/run-program.ts";
import {
  apply,
  asText,
  clusterTest,
  facts,
  hasCluster,
  kubectl,
  read,
  waitFor,
  waitForAllocatable,
} from "./cluster.ts";
import { inNamespace } from "./namespace.ts";
import {
  allDevices,
  configMap,
  daemonSet,
  deployments,
  dpdk,
  isReady,
  namespace,
  netdevice,
  type Pod,
  pluginPod,
  pluginPods,
  podWith,
  pools,
  removeAll,
  startPods,
  statusOf,
  waitForEnd,
  waitForNode,
  waitForRollout,
} from "./plugin.ts";

const root = join(import.meta.dir, "../..");
const oldImage = "example.com/upstream/sriov-network-device-plugin:latest";
/** The user's pools, with a comment that no sample of ours has. */
const config = `{ // of this site\n  "resourceList": ${JSON.stringify(pools.resourceList)} }`;
let before: unknown[] = [];

beforeAll(async () => {
  if (!hasCluster) return;
  await waitForNode();
  await removeAll();
  await apply(configMap(config));
});

afterAll(async () => {
  if (hasCluster) await removeAll();
});

/** The pods that have devices: what would be different if one had been started anew. */
async function holders(): Promise<unknown[]> {
  const { items } = await read<{ items: Pod[] }>("pods", "--namespace=default");
  return items.map(({ metadata, status }) => [
    metadata.name,
    metadata.uid,
    status.containerStatuses?.map(({ containerID, restartCount }) => [containerID, restartCount]),
  ]);
}

/** All pages of the docs, each command on one line. */
const docs = async (): Promise<string> => {
  const pages = [...new Bun.Glob("docs/**/*.md").scanSync(root)].map((page) => Bun.file(join(root, page)).text());
  return (await Promise.all(pages)).join("\n").replaceAll(/ \\\n +/g, " ");
};

/** Runs a kubectl command that the docs have as it stands here, from the repository's folder. */
async function fromDocs(command: string, ...more: readonly string[]): Promise<string> {
  expect(await docs()).toContain(command);
  const words = command.replaceAll("'", "").replace("deployments/base", join(deployments, "base")).split(" ");
  return kubectl(...words.slice(1), ...more);
}

/** One plugin of this image serves everything, pods with devices have not noticed, and the pools are the user's. */
async function expectServed(image: string, where = namespace, pods = pluginPods): Promise<void> {
  await waitForAllocatable(allDevices);
  const pod = await pluginPod(pods);
  expect(pod.spec.containers.map((container) => container.image)).toEqual([image]);
  expect([isReady(pod), pod.status.containerStatuses?.[0]?.restartCount]).toEqual([true, 0]);
  expect(await holders()).toEqual(before);
  expect((await read<{ data: object }>("configmap", "sriovdp-config", namespace)).data).toEqual({
    "config.json": config,
  });
  const { pools: served } = await statusOf(pod.metadata.name, where);
  const counts = { devices: 4, healthy: 4, allocated: 1, free: 3 };
  expect(served).toEqual([netdevice, dpdk].map((resource) => expect.objectContaining({ resource, counts })));
}

clusterTest(
  "the three DaemonSets of upstream 3.6.2 run with only the image changed, and serve all devices",
  async () => {
    const sets = ["amd64", "ppc64le", "arm64"].map((architecture) =>
      upstreamDaemonSet({ architecture, image: oldImage }),
    );
    await kubectl("create", "--filename=-", asText(upstreamServiceAccount, ...sets));
    await waitForRollout("daemonset/kube-sriov-device-plugin-amd64");
    await waitForAllocatable(allDevices);
    await startPods(podWith("holder-net", netdevice), podWith("holder-dpdk", dpdk));
    before = await holders();
    expect(before).toHaveLength(2);
    await expectServed(oldImage);
  },
);

clusterTest("the base takes over from upstream 3.6.2 by the commands of the docs", async () => {
  await fromDocs("kubectl apply -k deployments/base");
  await waitForRollout();
  await fromDocs(
    "kubectl -n kube-system delete daemonset kube-sriov-device-plugin-amd64 kube-sriov-device-plugin-arm64 kube-sriov-device-plugin-ppc64le",
  );
  await waitFor("only the new plugin runs", async () => (await pluginPods()).length === 1);
  await expectServed(imageName());
});

clusterTest(
  "upstream's manifest of today replaces the base, runs with only the image changed, and leaves nothing of ours",
  async () => {
    const upstream = upstreamDaemonSet({ image: oldImage });
    // Without --save-config, it is an object as kubectl create makes it.
    await kubectl("replace", "--filename=-", asText(upstreamServiceAccount, upstream));
    await waitForRollout();
    await expectServed(oldImage);
    expect(await liveSpec()).toEqual(await freshSpec(upstream));
  },
);

clusterTest("replace makes exactly our DaemonSet of upstream's; apply would keep a mount and a limit", async () => {
  const base = join(deployments, "base");
  const dryRun = ["--dry-run=server", "--output=json", "--kustomize", base];
  const { items } = JSON.parse(await kubectl("apply", ...dryRun)) as { items: KubernetesObject[] };
  const merged = only<DaemonSet>(items, "DaemonSet").spec.template.spec.containers[0];
  expect(merged?.volumeMounts.map(({ mountPath }) => mountPath)).toContain("/var/log");
  expect(merged?.resources.limits).toHaveProperty("cpu");

  await fromDocs("kubectl replace --save-config -k deployments/base");
  await waitForRollout();
  await expectServed(imageName());
  expect(await liveSpec()).toEqual(
    await freshSpec(only<DaemonSet>(objectsOf(await kubectl("kustomize", base)), "DaemonSet")),
  );
});

const { path: helm, missing: missingHelm } = hasCluster
  ? goProgram("helm", { package: "helm.sh/helm/v4/cmd/helm" })
  : { path: null, missing: null };

(missingHelm === null ? clusterTest : testWhere.bind(null, missingHelm))(
  "the Helm chart takes over by the commands of the docs, and its uninstall leaves the pools",
  async () => {
    const home = mkdtempSync(join(tmpdir(), "sriovdp-helm-"));
    const runHelm = async (...words: readonly string[]) => {
      const { namespace: pid, kubeconfig } = facts();
      const command = [...inNamespace(pid), helm ?? "", `--kubeconfig=${kubeconfig}`, ...words];
      const { status, stderr } = await runProgram(command, { cwd: root, env: { HOME: home } });
      expect([status, stderr]).toEqual([0, ""]);
    };
    await fromDocs("kubectl -n kube-system delete daemonset kube-sriov-device-plugin --cascade=orphan");
    const install =
      "helm install sriovdp deployments/helm/sriovdp --namespace kube-system --set existingConfigMap=sriovdp-config --take-ownership";
    expect(await docs()).toContain(install);
    await runHelm(...install.split(" ").slice(1));
    await waitForRollout();
    await expectServed(imageName());
    await runHelm("uninstall", "sriovdp", "--namespace", "kube-system");
    rmSync(home, { recursive: true });
    await waitForEnd();
    expect(await read("configmap", "sriovdp-config", namespace)).toMatchObject({ data: { "config.json": config } });
    expect(await holders()).toEqual(before);
  },
);

clusterTest("the operator's manifest runs with only the image changed, and serves all devices", async () => {
  const name = "sriov-network-operator";
  const where = `--namespace=${name}`;
  await removeAll({ butPods: true });
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  const inNamespaceOf = <T extends { metadata: object }>(object: T) => ({
    ...object,
    metadata: { ...object.metadata, namespace: name },
  });
  const map = configMap(JSON.stringify(pools), "device-plugin-config", "lab");
  const objects = [inNamespaceOf(map), inNamespaceOf(upstreamServiceAccount), operatorDaemonSet(name, oldImage)];
  await kubectl("create", "--filename=-", asText(...objects));
  await waitForRollout("daemonset/sriov-device-plugin", where);
  const pods = async () => (await read<{ items: Pod[] }>("pods", where)).items;
  await expectServed(oldImage, where, pods);
  await kubectl("delete", "namespace", name);
  await waitForAllocatable({});
});

/** What the API server has of the DaemonSet. */
const liveSpec = async (): Promise<unknown> => (await read<{ spec: object }>(namespace, daemonSet)).spec;

/** What the API server makes of a DaemonSet where there is none. */
async function freshSpec(set: { readonly metadata: object }): Promise<unknown> {
  const elsewhere = { ...set, metadata: { ...set.metadata, namespace: "default" } };
  const dryRun = ["create", "--dry-run=server", "--output=json", "--filename=-"];
  return (JSON.parse(await kubectl(...dryRun, { stdin: JSON.stringify(elsewhere) })) as { spec: object }).spec;
}

/** The image under test. */
function imageName(): string {
  return facts().imageName;
}
