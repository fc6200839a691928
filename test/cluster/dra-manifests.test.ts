// Does the API server hold a plugin of the DRA role to its own node and driver, by the token of its pod, and to the rights that it needs?

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { driver } from "../support/dra-node.ts";
import { objectsOf } from "../support/kubernetes.ts";
import { runCommand } from "../support/plugin.ts";
import { apply, asText, attempt, clusterTest, facts, hasCluster, kubectl, waitFor } from "./cluster.ts";
import { kubectlIn } from "./kubectl.ts";
import { deployments, namespace } from "./plugin.ts";

/** A slice of a node; of all nodes without one. */
const slice = (name: string, nodeName: string | null, of = driver, pool = `${nodeName ?? "all"}/pool`) => ({
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceSlice",
  metadata: { name },
  spec: {
    driver: of,
    ...(nodeName === null ? { allNodes: true } : { nodeName }),
    pool: { name: pool, generation: 1, resourceSliceCount: 1 },
    devices: [{ name: "a" }],
  },
});

type Kubectl = typeof attempt;

let asPlugin: Kubectl = attempt;
const create = (...of: Parameters<typeof slice>) =>
  asPlugin("create", "--validate=false", "--filename=-", asText(slice(...of)));

/** kubectl with a new token of the plugin's service account. */
async function withToken(name: string, ...words: readonly string[]): Promise<Kubectl> {
  const token = (await kubectl("create", "token", "sriov-device-plugin", namespace, ...words)).trim();
  const { namespace: pid, kubernetes, kubeconfig } = facts();
  const config = JSON.parse(readFileSync(kubeconfig, "utf8")) as { users: object[] };
  const users = config.users.map((each) => ({ ...each, user: { token } }));
  writeFileSync(`${kubeconfig}-${name}`, JSON.stringify({ ...config, users }));
  return kubectlIn(pid, kubernetes, `${kubeconfig}-${name}`);
}

beforeAll(async () => {
  if (!hasCluster) return;
  const objects = objectsOf(await kubectl("kustomize", join(deployments, "overlays/dra")));
  await apply(...objects.filter(({ kind }) => kind !== "DaemonSet"));
  // Nothing runs it: the token of a pod is what counts.
  await apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "plugin-a", namespace: "kube-system" },
    spec: {
      nodeName: "worker-a",
      serviceAccountName: "sriov-device-plugin",
      containers: [{ name: "a", image: "none" }],
    },
  });
  asPlugin = await withToken("plugin", "--bound-object-kind=Pod", "--bound-object-name=plugin-a");
  // A policy is in force some time after it was created.
  await waitFor("the policy is in force", async () => {
    const { stderr } = await create("early", "worker-b");
    await kubectl("delete", "resourceslice", "early", "--ignore-not-found");
    return stderr.includes("cannot write");
  });
});

afterAll(async () => {
  if (hasCluster) await kubectl("delete", "pod", "plugin-a", namespace, "--now", "--ignore-not-found");
});

describe("the token of a plugin's pod on worker-a", () => {
  clusterTest("writes slices of worker-a and of its driver", async () => {
    expect(await create("own", "worker-a")).toMatchObject({ status: 0, stderr: "" });
    const changed = { ...slice("own", "worker-a"), metadata: { name: "own", annotations: { a: "b" } } };
    expect(await asPlugin("replace", "--validate=false", "--filename=-", asText(changed))).toMatchObject({ status: 0 });
    expect(await asPlugin("delete", "resourceslice", "own", "--wait=false")).toMatchObject({ status: 0 });
  });

  clusterTest("writes no slice of another node, of all nodes, or of another driver", async () => {
    const otherNode = "a plugin on node worker-a cannot write the ResourceSlices of another node";
    expect((await create("other", "worker-b")).stderr).toContain(otherNode);
    expect((await create("all", null)).stderr).toContain(otherNode);
    expect((await create("gpu", "worker-a", "gpu.example.com")).stderr).toContain(
      "the plugin cannot write the ResourceSlices of another driver than dra.sriovdp.io",
    );
  });

  clusterTest(
    "writes no pool of another node, whose devices the scheduler would take for allocated or free",
    async () => {
      for (const pool of ["worker-b/pool", "worker-a", "worker-a2/pool"])
        expect((await create("pool", "worker-a", driver, pool)).stderr).toContain(
          `a plugin on node worker-a cannot write the pool ${pool}, which is not named after the node`,
        );
      // What another driver of the name left is deleted.
      await apply(slice("left", "worker-a", driver, "worker-a"));
      expect(await asPlugin("delete", "resourceslice", "left", "--wait=false")).toMatchObject({ status: 0 });
    },
  );

  clusterTest("is needed: one of the service account that belongs to no pod writes nothing", async () => {
    const unbound = await withToken("unbound");
    const { stderr } = await unbound("create", "--validate=false", "--filename=-", asText(slice("a", "worker-a")));
    expect(stderr).toContain("the token names no node; it must be that of a pod");
  });

  clusterTest("changes and deletes nothing that another node or driver has published", async () => {
    await apply(slice("of-b", "worker-b"), slice("of-gpu", "worker-a", "gpu.example.com"));
    for (const [name, node, of] of [
      ["of-b", "worker-b", driver],
      ["of-gpu", "worker-a", "gpu.example.com"],
    ] as const) {
      const changed = { ...slice(name, node, of), metadata: { name, annotations: { a: "b" } } };
      const replaced = await asPlugin("replace", "--validate=false", "--filename=-", asText(changed));
      const deleted = await asPlugin("delete", "resourceslice", name, "--wait=false");
      for (const { status, stderr } of [replaced, deleted])
        expect({ name, status, stderr }).toEqual({ name, status: 1, stderr: expect.stringContaining("cannot write") });
    }
    await kubectl("delete", "resourceslices", "of-b", "of-gpu");
  });

  clusterTest("reads claims and nodes by name, and lists neither", async () => {
    const may = async (...words: readonly string[]) =>
      (await asPlugin("auth", "can-i", ...words, "--all-namespaces")).stdout.trim();
    const answers = [
      "get resourceclaims",
      "get nodes",
      "list resourceclaims",
      "list nodes",
      "update nodes",
      "get pods",
    ];
    const found = await Promise.all(answers.map(async (each) => [each, await may(...each.split(" "))] as const));
    expect(Object.fromEntries(found)).toEqual({
      "get resourceclaims": "yes",
      "get nodes": "yes",
      "list resourceclaims": "no",
      "list nodes": "no",
      "update nodes": "no",
      "get pods": "no",
    });
  });
});

clusterTest("the policy is taken with the namespace that kustomize gives it, though it has none", async () => {
  const objects = objectsOf(await kubectl("kustomize", join(deployments, "overlays/dra")));
  const policies = objects.filter(({ kind }) => kind.startsWith("ValidatingAdmissionPolicy"));
  const moved = policies.map((each) => ({ ...each, metadata: { ...each.metadata, namespace: "default" } }));
  const dryRun = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-"];
  expect(moved.length).toBe(2);
  expect(await attempt(...dryRun, asText(...moved))).toMatchObject({ status: 0, stderr: "" });
});

clusterTest("the API server takes what device-classes prints, strictly", async () => {
  const { stdout, status } = runCommand(["device-classes", join(deployments, "examples/config.yaml")]);
  expect(status).toBe(0);
  const dryRun = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"];
  expect(await attempt(...dryRun, { stdin: stdout })).toMatchObject({ status: 0, stderr: "" });
});
