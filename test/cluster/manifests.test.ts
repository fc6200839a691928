// Does the API server take everything in deployments/, and do its rules for pods say of the base what the docs say?

import { beforeAll, describe, expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { apply, attempt, clusterTest, hasCluster, kubectl, read } from "./cluster.ts";
import { type DaemonSet, objectsOf } from "../support/kubernetes.ts";
import { createNetwork, deployments, namespace } from "./plugin.ts";

/** A kind that a real cluster has from an operator; its fields are held to its types by test/packaging/manifests.test.ts. */
const kindOf = (group: string, version: string, kind: string, plural: string, scope = "Namespaced") => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope,
    names: { plural, kind, singular: kind.toLowerCase() },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
});

beforeAll(async () => {
  if (!hasCluster) return;
  await Promise.all([
    createNetwork(),
    apply(
      kindOf("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
      kindOf("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
      kindOf("security.openshift.io", "v1", "SecurityContextConstraints", "securitycontextconstraints", "Cluster"),
    ),
  ]);
  await kubectl("wait", "--for=condition=Established", "crds", "--all");
});

const overlays = readdirSync(join(deployments, "overlays")).map((name) => `overlays/${name}`);
const files = [...new Bun.Glob("**/*.yaml").scanSync(deployments)]
  .filter((name) => /^examples\/|podmonitor|prometheusrule/.test(name))
  .toSorted();

describe("the API server takes, strictly,", () => {
  const dryRun = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
  for (const path of ["base", ...overlays]) {
    clusterTest(path, async () => {
      const { status, stderr } = await attempt(...dryRun, "--kustomize", join(deployments, path));
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    });
  }
  for (const path of files) {
    clusterTest(path, async () => {
      const { status, stderr } = await attempt(...dryRun, "--filename", join(deployments, path));
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    });
  }
});

clusterTest(
  "the baseline of Pod Security refuses the base for what the docs name, and privileged takes it",
  async () => {
    const [daemonSet] = objectsOf(await kubectl("kustomize", join(deployments, "base"))).filter(
      ({ kind }) => kind === "DaemonSet",
    ) as DaemonSet[];
    const spec = { ...daemonSet?.spec.template.spec, serviceAccountName: "default" };
    const pod = (where: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "base", namespace: where },
      spec,
    });
    const levels = ["baseline", "privileged"];
    await apply(
      ...levels.map((level) => ({
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: level, labels: { "pod-security.kubernetes.io/enforce": level } },
      })),
    );
    const answers = await Promise.all(
      levels.map((level) =>
        attempt("create", "--dry-run=server", "--filename=-", { stdin: JSON.stringify(pod(level)) }),
      ),
    );
    const [baseline, privileged] = answers;
    const reasons = baseline?.stderr.split('violates PodSecurity "baseline:latest": ')[1] ?? baseline?.stderr ?? "";
    expect(reasons.split(/, (?=[a-z][\w ]+\()/).map((reason) => reason.replace(/ \(.*/s, ""))).toEqual([
      "host namespaces",
      "hostPath volumes",
      "seLinuxOptions",
    ]);
    expect(privileged).toEqual({ status: 0, stdout: expect.stringContaining("created"), stderr: "" });
  },
);

clusterTest("an overlay that is left leaves its Service, as the docs say", async () => {
  await kubectl("apply", "--kustomize", join(deployments, "overlays/metrics"));
  await kubectl("apply", "--kustomize", join(deployments, "base"));
  const service = await read<{ spec: { clusterIP: string } }>("service", namespace, "sriov-device-plugin-metrics");
  expect(service.spec.clusterIP).toBe("None");
  await kubectl("delete", "--kustomize", join(deployments, "overlays/metrics"));
});
