// Does a manifest run? Its container is started as the kubelet would start it: arguments with variables expanded, the ConfigMap's files
// where they are mounted; on a simulated node, with the node's folder in place of the container's root.

import { mkdirSync, writeFileSync } from "node:fs";
import { DraNode, driver, nodeName as draNodeName } from "./dra-node.ts";
import { type ConfigMap, type DaemonSet, type KubernetesObject, only } from "./kubernetes.ts";
import { host, TestNode } from "./plugin.ts";
import { until } from "./until.ts";

/** A container's arguments with $(NAME) expanded as the kubelet does: an unknown name stays as it is, $$ is a dollar sign. */
export const containerArgs = (args: readonly string[], variables: Readonly<Record<string, string>>): string[] =>
  args.map((arg) =>
    arg.replaceAll(/\$\$|\$\(([\w.-]+)\)/g, (whole, name?: string) =>
      name === undefined ? "$" : (variables[name] ?? whole),
    ),
  );

/**
 * Runs the DaemonSet's container on a simulated node until it serves its pools and its probes pass, and ends it.
 * `args` takes the place of the manifest's own. Returns the resources that are registered with the kubelet, or published in the DRA role.
 */
export async function runManifest(objects: readonly KubernetesObject[], args?: readonly string[]): Promise<string[]> {
  const [container] = only<DaemonSet>(objects, "DaemonSet").spec.template.spec.containers;
  if (container === undefined) throw new Error("the pod has no container");
  const { data } = only<ConfigMap>(objects, "ConfigMap");
  const isDra = (args ?? container.args).includes("--allocator=dra");
  const entries = { entries: host("mixed"), config: null };
  await using node = isDra ? await DraNode.start(entries) : new TestNode(entries);
  const folder = `${node.root}/etc/pcidp`;
  const [firstKey = ""] = Object.keys(data);
  // Of a config for each node, this is the first one's; the operator's arguments name a file after the node, whatever the manifest's.
  const nodeName = isDra ? draNodeName : firstKey === "config.json" ? "worker-1" : firstKey;
  mkdirSync(folder, { recursive: true });
  for (const [key, text] of Object.entries({ [nodeName]: data[firstKey] ?? "", ...data })) {
    writeFileSync(`${folder}/${key}`, text);
  }
  const variables = { NODE_NAME: nodeName, HOST_IP: "127.0.0.1", POD_UID: "5a1f7c52-8a0d-4d1e-9d3b-0f1f2d3c4b5a" };
  const expanded = containerArgs(args ?? container.args, variables);
  if (node instanceof DraNode) expanded.push(`--kubeconfig=${node.root}/kubeconfig`);
  else await node.kubelet.start();
  const plugin = node.startPlugin(...expanded.map((arg) => arg.replace("=/etc/pcidp/", `=${folder}/`)));
  await plugin.waitUntilReady();
  const problems: string[] = [];
  for (const { exec } of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
    const [program, ...command] = exec.command;
    if (program !== "/usr/bin/sriovdp") throw new Error(`the image has no ${program}`);
    await until(
      `${exec.command.join(" ")} passes`,
      async () => {
        const { status, stderr } = await node.command(...command);
        problems.push(stderr);
        return status === 0;
      },
      { found: () => `${problems.at(-1)}\n${plugin.log}` },
    );
  }
  // The brackets are the argument's way of taking addresses of both families.
  const [, address, port] = /--metrics-address=\[(.*)\]:(\d+)/.exec(expanded.join(" ")) ?? [];
  if (address !== undefined) {
    for (const route of ["livez", "readyz", "metrics"]) {
      const answer = await fetch(`http://${address}:${port}/${route}`);
      if (!answer.ok) throw new Error(`/${route} answers ${answer.status}: ${await answer.text()}`);
    }
  }
  const resources = node instanceof DraNode ? await publishedBy(node) : [...node.kubelet.resources];
  if (resources.length === 0) throw new Error(`no pool is offered\n${plugin.log}`);
  const status = await plugin.stop();
  if (status !== 0) throw new Error(`the plugin ended with ${status}\n${plugin.log}`);
  return resources;
}

/** The resources of the devices that a node in the DRA role publishes, when its driver is registered. */
async function publishedBy(node: DraNode): Promise<string[]> {
  await node.dra.waitForPlugins(driver);
  await until("devices are published", () => node.published.length > 0, { found: () => node.plugin.log });
  const names = node.slices.flatMap(({ spec }) =>
    (spec.devices ?? []).map(({ attributes }) => attributes["k8s.cni.cncf.io/resourceName"]),
  );
  return [...new Set(names.flatMap((name) => (name && "string" in name ? String(name.string) : [])))].toSorted();
}
