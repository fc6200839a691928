// Is the Helm chart what the kustomize base and its overlays are? Rendered by Helm itself, compared object by object, read by the API
// server's own code, and run.

import { afterAll, describe, expect } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { parseCommandLine } from "../../src/cli/parse.ts";
import { type ConfigMap, type DaemonSet, type KubernetesObject, only } from "../support/kubernetes.ts";
import { runManifest } from "../support/manifest.ts";
import { chart, existing, helm, missing, render, run, template } from "./helm-chart.ts";
import { on, pages, pools, sites, type Values } from "./helm-sites.ts";
import { deployments, readManifests } from "./manifest-reader.ts";
import { testWhere } from "./needs.ts";

const work = mkdtempSync(join(tmpdir(), "sriovdp-helm-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

let files = 0;
const writtenFile = (text: string): string => {
  const file = join(work, `${(files += 1)}.yaml`);
  writeFileSync(file, text);
  return file;
};

/** Labels that only an object of Helm's has. */
const ofHelm = [
  "app.kubernetes.io/instance",
  "app.kubernetes.io/managed-by",
  "app.kubernetes.io/version",
  "helm.sh/chart",
];

/** What has names, and no order. */
const named = ["env", "volumes", "volumeMounts"];

/**
 * The objects by kind and name, without Helm's labels, and what has names in their order. A policy's condition is compared by itself: kustomize may
 * still change the service account's name, and the chart knows it.
 */
function comparable(objects: readonly KubernetesObject[]): Record<string, unknown> {
  const plain = JSON.parse(JSON.stringify(objects), (key, value: unknown) => {
    if (key === "labels")
      return Object.fromEntries(Object.entries(value as object).filter(([name]) => !ofHelm.includes(name)));
    if (named.includes(key)) return (value as { name: string }[]).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    if (key === "matchConditions") return (value as { name: string }[]).map(({ name }) => name);
    return value;
  }) as KubernetesObject[];
  return Object.fromEntries(plain.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
}

describe("the chart renders, object by object,", () => {
  /** Values, and what of deployments/ they stand for. */
  const pairs: Readonly<Record<string, { readonly values: Values; readonly paths: readonly string[] }>> = {
    "the base": { values: {}, paths: ["base"] },
    "the overlay cdi": { values: { cdi: on }, paths: ["overlays/cdi"] },
    "the overlay dra": { values: { allocator: "dra" }, paths: ["overlays/dra"] },
    "the overlay net-admin": { values: { netAdmin: on }, paths: ["overlays/net-admin"] },
    "the overlay node-config": { values: { nodeConfig: on }, paths: ["overlays/node-config"] },
    "the overlay openshift": { values: { openshift: on }, paths: ["overlays/openshift"] },
    "the overlay metrics": { values: { metrics: on }, paths: ["overlays/metrics"] },
    "the overlay metrics with the objects of the Prometheus operator": {
      values: { metrics: { ...on, podMonitor: on, prometheusRule: on } },
      paths: ["overlays/metrics", "components/metrics/podmonitor.yaml", "components/metrics/prometheusrule.yaml"],
    },
    "the overlay everything": {
      values: { cdi: on, netAdmin: on, nodeConfig: on, metrics: on },
      paths: ["overlays/everything"],
    },
  };

  for (const [name, { values, paths }] of Object.entries(pairs)) {
    testWhere(missing, name, () => {
      const expected = readManifests(...paths).flatMap(({ objects }) => objects);
      expect(comparable(render({ ...existing, ...values }))).toEqual(comparable(expected));
    });
  }

  testWhere(missing, "every overlay but that of the sample pools", () => {
    const overlays = readdirSync(join(deployments, "overlays")).filter((name) => name !== "sample-config");
    const compared = Object.values(pairs).flatMap(({ paths }) => paths);
    expect(overlays.filter((name) => !compared.includes(`overlays/${name}`))).toEqual([]);
  });
});

describe("with values of a site", () => {
  for (const [name, values] of Object.entries(sites)) {
    testWhere(missing, `${name}: helm lint reports nothing, and the API server takes the objects`, () => {
      const linted = run(values, "lint", "--strict", chart);
      expect([linted.status, linted.stdout.replaceAll(/^\[INFO\].*\n/gm, "")]).toEqual([
        0,
        expect.stringContaining("0 chart(s) failed"),
      ]);
      expect(linted.stdout).not.toMatch(/\[(WARNING|ERROR)\]/);
      const [{ problems, objects } = { problems: ["nothing was read"], objects: [] }] = readManifests(
        writtenFile(template(values)),
      );
      expect(problems).toEqual([]);
      const args = only<DaemonSet>(objects, "DaemonSet").spec.template.spec.containers[0]?.args ?? [];
      expect(parseCommandLine(args.map((arg) => arg.replace("$(HOST_IP)", "127.0.0.1"))).problems).toEqual([]);
    });
  }

  for (const name of ["pools inline", "pools as text with comments", "pools for each node"]) {
    testWhere(missing, `${name}: they are served on a node, and the probes pass`, async () => {
      expect(await runManifest(render(sites[name] ?? {}))).toEqual(["intel.com/mine"]);
    });
  }

  testWhere(missing, "every option: each has its place", () => {
    const objects = render(sites["every option"] ?? {});
    const set = only<DaemonSet>(objects, "DaemonSet");
    const { spec: pod, metadata } = set.spec.template;
    const [container] = pod.containers;
    expect(container?.args).toEqual([
      "--config-file=/etc/pcidp/config.json",
      "--resource-prefix=example.com",
      "--use-cdi",
      "--cdi-mode=annotations",
      "--link-health=false",
      "--kubelet-root-dir=/var/snap/microk8s/common/var/lib/kubelet",
      "--log-format=json",
      "--log-level=debug",
      "--metrics-address=[$(HOST_IP)]:9909",
      "--pod-device-metrics",
      "--resync-interval=600",
    ]);
    expect(container).not.toHaveProperty("ports");
    for (const { name, hostPath } of pod.volumes) {
      const mount = container?.volumeMounts.find((each) => each.name === name);
      if (hostPath) expect(mount?.mountPath).toBe(name === "cgroups" ? `/host${hostPath.path}` : hostPath.path);
    }
    const paths = pod.volumes.map(({ hostPath }) => hostPath?.path);
    expect(paths).toContain("/var/snap/microk8s/common/var/lib/kubelet/pod-resources");
    expect(paths).toContain("/var/lib/kubelet/device-plugins");
    // Labels of the user's are added, and never take the place of what the selectors rely on.
    expect(metadata.labels).toMatchObject({ name: "sriovdp-b", app: "sriovdp", zone: "a", team: "net" });
    expect(set.spec.selector.matchLabels).toEqual({ name: "sriovdp-b" });
    // The user's terms are alternatives: each keeps the pods off kernels on which the executable can't start.
    const { affinity } = pod as unknown as { affinity: unknown };
    expect(affinity).toEqual({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "gpu", operator: "DoesNotExist" }, pages] },
            { matchFields: [{ key: "metadata.name", operator: "In", values: ["a"] }], matchExpressions: [pages] },
          ],
        },
      },
      podAntiAffinity: {},
    });
    expect(pod).toMatchObject({
      serviceAccountName: "other",
      priorityClassName: "system-cluster-critical",
      nodeSelector: {
        "kubernetes.io/os": "linux",
        pool: "sriov",
        "feature.node.kubernetes.io/network-sriov.capable": "true",
      },
    });
    const rule = JSON.stringify(only(objects, "PrometheusRule"));
    expect(rule).toContain('"runbook_url":"https://wiki.example.com/runbooks#sriovdeviceplugindown"');
    expect(rule).not.toContain(manifest.homepage);
    const dashboards = objects.flatMap((object) =>
      object.kind === "ConfigMap" ? ((object as ConfigMap).data["sriovdp.json"] ?? []) : [],
    );
    expect(dashboards.map((text) => JSON.parse(text) as unknown)).toEqual([
      JSON.parse(readFileSync(join(deployments, "monitoring/dashboard.json"), "utf8")),
    ]);
  });

  testWhere(missing, "an image is named by its tag, or by its digest", () => {
    const imageOf = (image: Values) =>
      only<DaemonSet>(render({ ...existing, image }), "DaemonSet").spec.template.spec.containers[0]?.image;
    expect(imageOf({})).toBe(`localhost/sriovdp:${manifest.version}`);
    expect(imageOf({ repository: "r/s", tag: "x" })).toBe("r/s:x");
    expect(imageOf({ repository: "r/s", tag: "x", digest: `sha256:${"0".repeat(64)}` })).toBe(
      `r/s@sha256:${"0".repeat(64)}`,
    );
  });

  testWhere(missing, "changed pools change the ConfigMap alone: no pod is restarted for them", () => {
    const changed = render({ config: { resourceList: [] } });
    const before = render({ config: pools });
    expect(only(changed, "DaemonSet")).toEqual(only(before, "DaemonSet"));
    expect(only(changed, "ConfigMap")).not.toEqual(only(before, "ConfigMap"));
  });

  testWhere(missing, "the ConfigMap of inline pools is never that of the upstream plugin", () => {
    expect(only(render({ config: pools }), "ConfigMap").metadata.name).toBe("kube-sriov-device-plugin-config");
  });

  testWhere(missing, "two releases in one namespace share no object", () => {
    const names = (objects: readonly KubernetesObject[]) =>
      objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    const all = {
      config: pools,
      allocator: "dra",
      openshift: on,
      metrics: { ...on, podMonitor: on, prometheusRule: on, dashboard: on },
    };
    const first = names(render(all));
    const second = names(render({ ...all, fullnameOverride: "sriovdp-b" }));
    expect(first.length).toBe(second.length);
    expect(first.filter((name) => second.includes(name))).toEqual([]);
  });
});

describe("contradictory values are rejected:", () => {
  const cases: Readonly<Record<string, readonly [Values, string]>> = {
    "no pools": [{}, "no pools: set config, nodeConfig.configs, or existingConfigMap"],
    "pools given twice": [{ ...existing, config: pools }, "set only one of config, existingConfigMap"],
    "pools for each node, without a key for each": [
      { nodeConfig: { configs: { a: pools } } },
      "has no effect without nodeConfig.enabled",
    ],
    "one config where each node has its own": [{ config: pools, nodeConfig: on }, "in place of config"],
    "objects of the operator without metrics": [
      { ...existing, metrics: { prometheusRule: on } },
      "need metrics.enabled: true",
    ],
    "rights of DRA for the account of other pods": [
      { ...existing, allocator: "dra", serviceAccount: { create: false } },
      "requires serviceAccount.name",
    ],
    "rights of OpenShift for the account of other pods": [
      { ...existing, openshift: on, serviceAccount: { create: false } },
      "requires serviceAccount.name",
    ],
    "a misspelled name": [{ ...existing, toleration: [] }, "toleration"],
    "a misspelled name further down": [{ ...existing, metrics: { enable: true } }, "enable"],
    "a wrong type": [{ ...existing, linkHealth: "no" }, "linkHealth"],
    "an unknown choice": [{ ...existing, cdi: { mode: "both" } }, "mode"],
    "a port out of range": [{ ...existing, metrics: { port: 70_000 } }, "port"],
    "an invalid digest": [{ ...existing, image: { digest: "latest" } }, "digest"],
    "an unknown role": [{ ...existing, allocator: "kubelet" }, "allocator"],
    "a driver that has no DNS name": [{ ...existing, dra: { driverName: "Dra.example.com" } }, "driverName"],
    "an invalid argument": [{ ...existing, extraArgs: ["resync-interval"] }, "extraArgs"],
    "a relative folder": [{ ...existing, kubeletRootDir: "var/lib/kubelet" }, "kubeletRootDir"],
    "an invalid list of pools": [{ config: { resourceList: {} } }, "resourceList"],
  };
  for (const [name, [values, message]] of Object.entries(cases)) {
    testWhere(missing, name, () => {
      const { status, stderr } = run(values, "template", "test", chart);
      expect([status, stderr]).toEqual([1, expect.stringContaining(message)]);
    });
  }
});

describe("the chart itself", () => {
  testWhere(null, "is of this version, and its schema names every value that it has", () => {
    const { version, appVersion, home } = parse(readFileSync(join(chart, "Chart.yaml"), "utf8")) as Record<
      string,
      string
    >;
    expect([version, appVersion, home]).toEqual([manifest.version, manifest.version, manifest.homepage]);
    interface Schema {
      readonly properties?: Readonly<Record<string, Schema>>;
    }
    const schema = JSON.parse(readFileSync(join(chart, "values.schema.json"), "utf8")) as Schema;
    const values = parse(readFileSync(join(chart, "values.yaml"), "utf8")) as Values;
    const { global: _, ...named } = schema.properties ?? {};
    expect(Object.keys(named).toSorted()).toEqual(Object.keys(values).toSorted());
    for (const [name, value] of Object.entries(values)) {
      const inner = named[name]?.properties;
      if (inner !== undefined && name !== "updateStrategy" && name !== "resources")
        expect([name, Object.keys(inner).toSorted()]).toEqual([name, Object.keys(value as object).toSorted()]);
    }
  });

  testWhere(missing, "is rejected for a cluster whose DaemonSets have no maxSurge", () => {
    const { status, stderr } = run(existing, "template", "test", chart, "--kube-version", "1.21.14");
    expect([status, stderr]).toEqual([1, expect.stringContaining("kubeVersion: >=1.22.0-0")]);
    expect(only(render(existing, "--kube-version", "1.22.0"), "DaemonSet")).toBeDefined();
  });

  testWhere(null, "has each of its values in docs/deploy/helm.md", () => {
    const page = readFileSync(join(deployments, "../docs/deploy/helm.md"), "utf8");
    const values = parse(readFileSync(join(chart, "values.yaml"), "utf8")) as Values;
    expect(Object.keys(values).filter((name) => !page.includes(`\`${name}`))).toEqual([]);
  });

  testWhere(missing, "renders and packs the same twice, and installs from the package", () => {
    expect(template({ config: pools })).toBe(template({ config: pools }));
    const { exitCode, stderr } = Bun.spawnSync([helm, "package", chart, "--destination", work], {
      env: { HOME: work },
      stdout: "pipe",
      stderr: "pipe",
    });
    expect([exitCode, stderr.toString()]).toEqual([0, ""]);
    const { stdout } = run(
      { config: pools },
      "template",
      "test",
      join(work, `sriovdp-${manifest.version}.tgz`),
      "-n",
      "kube-system",
    );
    expect(parseAllDocuments(stdout).map((document) => document.toJS() as unknown)).toEqual(
      parseAllDocuments(template({ config: pools })).map((document) => document.toJS() as unknown),
    );
  });
});
