// The Helm chart in the DRA role, beyond what it has in common with the overlay dra.

import { describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { type DaemonSet, type KubernetesObject, only } from "../support/kubernetes.ts";
import { chart, existing, missing, render, run } from "./helm-chart.ts";
import { on, type Values } from "./helm-sites.ts";
import { deployments } from "./manifest-reader.ts";
import { testWhere } from "./needs.ts";

describe("the DRA role", () => {
  const dra = { ...existing, allocator: "dra" };

  testWhere(missing, "has its driver's name and attributes, and a policy for its own service account alone", () => {
    const objects = render({
      ...dra,
      dra: { driverName: "sriov.example.com", attributes: "extended" },
      fullnameOverride: "sriovdp-dra",
    });
    const [container] = only<DaemonSet>(objects, "DaemonSet").spec.template.spec.containers;
    expect(container?.args).toEqual([
      "--config-file=/etc/pcidp/config.json",
      "--allocator=dra",
      "--node-name=$(NODE_NAME)",
      "--pod-uid=$(POD_UID)",
      "--dra-attributes=extended",
      "--dra-driver-name=sriov.example.com",
    ]);
    const policy = JSON.stringify(only(objects, "ValidatingAdmissionPolicy"));
    expect(policy).toContain('request.userInfo.username == \\"system:serviceaccount:kube-system:sriovdp-dra\\"');
    expect(policy).toContain('variables.slice.spec.driver == \\"sriov.example.com\\"');
    expect(only(objects, "ClusterRoleBinding")).toMatchObject({
      roleRef: { name: "sriovdp-dra-dra" },
      subjects: [{ name: "sriovdp-dra", namespace: "kube-system" }],
    });
  });

  testWhere(missing, "leaves the driver's name to the device plugin: pods may have claims from before", () => {
    const objects = render({ ...existing, cdi: on, dra: { driverName: "sriov.example.com" } });
    const { spec } = only<DaemonSet>(objects, "DaemonSet").spec.template;
    expect(spec.containers[0]?.args).toEqual([
      "--config-file=/etc/pcidp/config.json",
      "--dra-driver-name=sriov.example.com",
      "--use-cdi",
    ]);
    expect(spec).toMatchObject({ automountServiceAccountToken: false });
    expect(spec.volumes.map(({ name }) => name)).toContain("cdi");
    expect(objects.map(({ kind }) => kind)).not.toContain("ClusterRole");
  });

  testWhere(missing, "keeps its rights and its policy on the way back, until its pods have ended", () => {
    const ofRights = (objects: readonly KubernetesObject[]) =>
      objects.filter(({ kind }) => kind.startsWith("ClusterRole") || kind.startsWith("ValidatingAdmission"));
    const before = ofRights(render(dra));
    expect(before).toHaveLength(4);
    const back = { ...existing, cdi: on, dra: { keepRights: true } };
    expect(ofRights(render(back))).toEqual(before);
    expect(only<DaemonSet>(render(back), "DaemonSet").spec.template.spec).toMatchObject({
      automountServiceAccountToken: false,
    });
    expect(ofRights(render({ ...back, dra: { keepRights: false } }))).toEqual([]);
  });

  testWhere(missing, "is rejected for a cluster without resource.k8s.io/v1", () => {
    const { status, stderr } = run(dra, "template", "test", chart, "--kube-version", "1.33.4");
    expect([status, stderr]).toEqual([1, expect.stringContaining("allocator: dra requires Kubernetes 1.34 or later")]);
  });

  testWhere(
    missing,
    "is one of two releases, as docs/deploy/dra.md describes, that share no object and no node",
    () => {
      const page = readFileSync(join(deployments, "../docs/deploy/dra.md"), "utf8");
      const blocks = [...page.matchAll(/^```yaml\n(existingConfigMap:.*?)^```$/gms)];
      const [plugin = [], driver = []] = blocks.map(([, text = ""]) => render(parse(text) as Values));
      expect(blocks.length).toBe(2);
      const names = new Set(plugin.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
      expect(driver.filter(({ kind, metadata }) => names.has(`${kind} ${metadata.name}`))).toEqual([]);
      const [of, ofDriver] = [plugin, driver].map(
        (objects) => only<DaemonSet>(objects, "DaemonSet").spec.template.spec,
      );
      expect(JSON.stringify(of)).toContain('{"key":"sriovdp.io/allocator","operator":"NotIn","values":["dra"]}');
      expect(of?.volumes.map(({ name }) => name)).toContain("cdi");
      expect(ofDriver).toMatchObject({ nodeSelector: { "sriovdp.io/allocator": "dra" } });
      expect(ofDriver?.containers[0]?.args).toContain("--allocator=dra");
    },
  );
});
