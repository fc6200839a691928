// Are the manifests what Kubernetes takes, what the executable takes, and as little as it needs? Their kustomize builds, and what the
// API server's own code says, is tested by test/packaging/manifests.test.ts.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { loadConfig } from "../../src/config/load.ts";
import {
  type ConfigMap,
  type DaemonSet,
  hasSchema,
  type KubernetesObject,
  objectsOf,
  only,
  schemaProblems,
} from "../support/kubernetes.ts";
import { containerArgs, runManifest } from "../support/manifest.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const folder = `${import.meta.dir}/../../deployments`;
// monitoring/ holds what Prometheus and Grafana read, helm/ templates (test/packaging/helm.test.ts); neither are objects of a cluster.
const files = [...new Bun.Glob("**/*.yaml").scanSync(folder)]
  .filter((name) => !/^(monitoring|helm)\//.test(name))
  .toSorted();
const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
const kustomizations = files.filter((name) => name.endsWith("kustomization.yaml"));
const manifests = files.filter((name) => !kustomizations.includes(name));
const base = objectsOf(read("base/daemonset.yaml"));
const sample = objectsOf(read("components/sample-config/configmap.yaml"));
const set = only<DaemonSet>(base, "DaemonSet");
/** What app.kubernetes.io labels every object has beside the upstream plugin's. */
const recommended = { "app.kubernetes.io/name": "sriovdp", "app.kubernetes.io/component": "device-plugin" };
const { spec: pod } = set.spec.template;
const [container] = pod.containers;
const loading = { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 };

describe("Kubernetes' schemas", () => {
  // Custom resources, and kinds that are newer than the schemas; their Go types judge them in test/packaging/manifests.test.ts.
  const custom = [
    ...["NetworkAttachmentDefinition", "PodMonitor", "PrometheusRule", "SecurityContextConstraints"],
    ...["DeviceClass", "ResourceClaimTemplate"],
  ];

  test.each(manifests.filter((name) => objectsOf(read(name)).some(({ kind }) => !custom.includes(kind))))(
    "find nothing wrong with %s",
    async (name) => {
      for (const object of objectsOf(read(name)).filter(({ kind }) => !custom.includes(kind))) {
        expect(hasSchema(object)).toBe(true);
        expect(await schemaProblems(object)).toEqual([]);
      }
    },
  );

  test("would find an unknown field at any depth, a wrong type, a missing field and a key given twice", async () => {
    const changed = (from: string, to: string) =>
      schemaProblems(only(objectsOf(read("base/daemonset.yaml").replace(from, to)), "DaemonSet"));
    expect(await changed("hostNetwork: true", "hostNetwrok: true")).toEqual([
      "/spec/template/spec/hostNetwrok: no such field",
    ]);
    expect(await changed("drop:", "dorp:")).toEqual([
      "/spec/template/spec/containers/0/securityContext/capabilities/dorp: no such field",
    ]);
    expect(await changed("hostNetwork: true", "hostNetwork: 1")).toEqual([
      '/spec/template/spec/hostNetwork: type {"type":"boolean"}',
    ]);
    expect(await changed("  selector:", "  selecter:")).toEqual([
      '/spec: required {"missingProperty":"selector"}',
      "/spec/selecter: no such field",
    ]);
    expect(() => objectsOf("a: 1\na: 2\n")).toThrow();
  });
});

describe("the DaemonSet", () => {
  test("has the names by which the upstream plugin's is replaced", () => {
    expect(set.metadata).toMatchObject({ name: "kube-sriov-device-plugin", namespace: "kube-system" });
    expect(set.spec.selector.matchLabels).toEqual({ name: "sriov-device-plugin" });
    expect(set.spec.template.metadata.labels).toEqual({
      name: "sriov-device-plugin",
      tier: "node",
      app: "sriovdp",
      ...recommended,
    });
    expect(container?.name).toBe("kube-sriovdp");
    expect(pod.serviceAccountName).toBe(only(base, "ServiceAccount").metadata.name);
  });

  test("runs this version, by a name that no registry has", () => {
    expect(container?.image).toBe(`localhost/sriovdp:${manifest.version}`);
  });

  test("requests as little as the plugin needs", () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      hostNetwork: true,
      securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    });
    expect(pod).not.toHaveProperty("hostPID");
    expect(container?.env).toBeUndefined();
    expect(container?.securityContext).toEqual({
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    } as never);
    expect(Object.keys(container?.resources.limits ?? {})).toEqual(["memory"]);
  });

  test("mounts each of its volumes, those of the node where they are on the node", () => {
    const mounts = container?.volumeMounts ?? [];
    expect(mounts.map(({ name }) => name)).toEqual(pod.volumes.map(({ name }) => name));
    for (const { name, hostPath, configMap } of pod.volumes) {
      const mount = mounts.find((each) => each.name === name);
      // A container's own cgroups are where the node's would be: these are below /host, which is searched first.
      if (hostPath) expect(mount?.mountPath).toBe(name === "cgroups" ? `/host${hostPath.path}` : hostPath.path);
      if (configMap) {
        expect(configMap.name).toBe(only(sample, "ConfigMap").metadata.name);
        expect(mount).toMatchObject({ mountPath: "/etc/pcidp", readOnly: true });
      }
    }
  });

  test("sees which pods run, and can change nothing there", () => {
    const cgroups = container?.volumeMounts.find(({ name }) => name === "cgroups");
    expect(cgroups).toMatchObject({ mountPath: "/host/sys/fs/cgroup", readOnly: true });
  });

  test("serves its pools on a node, and its probes pass", () => runManifest([...base, ...sample]));

  test("leaves the reason of its end in its status: a rejected config is seen without its log", () => {
    expect(container).toMatchObject({ terminationMessagePolicy: "FallbackToLogsOnError" });
  });
});

describe("all objects of the plugin", () => {
  const objects = manifests
    .filter((name) => /^(base|components)\//.test(name))
    .flatMap((name) => objectsOf(read(name)));

  test("have the labels that Kubernetes recommends, beside those that the upstream plugin has", () => {
    expect(objects.length).toBeGreaterThan(6);
    for (const { kind, metadata } of objects.filter(({ kind }) => kind !== "ConfigMap"))
      expect([kind, metadata.labels]).toEqual([kind, expect.objectContaining(recommended)]);
  });

  test("hold no ConfigMap but the sample's: applying them can't replace the pools of a cluster", () => {
    const holding = manifests.filter(
      (name) => !name.startsWith("examples/") && objectsOf(read(name)).some(({ kind }) => kind === "ConfigMap"),
    );
    expect(holding).toEqual(["components/sample-config/configmap.yaml"]);
    const including = kustomizations.filter((name) => read(name).includes("sample-config"));
    expect(including.filter((name) => (parse(read(name)) as Kustomization).components !== undefined)).toEqual([
      "overlays/sample-config/kustomization.yaml",
    ]);
  });
});

test("the PodMonitor scrapes the port of the metrics at pod addresses of both families", () => {
  const monitor = only<PodMonitor>(objectsOf(read("components/metrics/podmonitor.yaml")), "PodMonitor");
  const [endpoint] = monitor.spec.podMetricsEndpoints;
  // As Prometheus relabels: the expression must match as a whole, and is (.*) by default.
  const addressOf = (ip: string) =>
    endpoint?.relabelings.reduce((address, { sourceLabels, regex = "(.*)", targetLabel, replacement }) => {
      expect([sourceLabels, targetLabel]).toEqual([["__meta_kubernetes_pod_ip"], "__address__"]);
      const match = new RegExp(`^(?:${regex})$`).exec(ip);
      return match ? replacement.replace("$1", match[1] ?? "") : address;
    }, ip);
  expect(addressOf("10.0.0.7")).toBe("10.0.0.7:9808");
  expect(addressOf("fd00::7")).toBe("[fd00::7]:9808");
  expect(read("components/metrics/kustomization.yaml")).toContain("--metrics-address=[$(HOST_IP)]:9808");
});

interface PodMonitor extends KubernetesObject {
  readonly kind: "PodMonitor";
  readonly spec: {
    readonly podMetricsEndpoints: readonly {
      readonly relabelings: readonly {
        readonly sourceLabels: readonly string[];
        readonly regex?: string;
        readonly targetLabel: string;
        readonly replacement: string;
      }[];
    }[];
  };
}

test("the upstream plugin's and the operator's arguments start the executable as they are", async () => {
  // Those of the upstream plugin's own manifests, and of the one that the SR-IOV network operator writes.
  for (const args of [
    ["--log-dir=sriovdp", "--log-level=10"],
    ["--log-level=10", "--resource-prefix=openshift.io", "--config-file=/etc/pcidp/$(NODE_NAME)", "--use-cdi"],
  ]) {
    await runManifest([...base, ...sample], args);
  }
});

test("variables in arguments are expanded as the kubelet does", () => {
  expect(containerArgs(["--a=$(NODE_NAME)", "$(NO_SUCH)", "$$(NODE_NAME)"], { NODE_NAME: "n" })).toEqual([
    "--a=n",
    "$(NO_SUCH)",
    "$(NODE_NAME)",
  ]);
});

describe("configs", () => {
  const configMaps = manifests.flatMap((name) =>
    objectsOf(read(name)).flatMap((object) =>
      object.kind === "ConfigMap" ? [{ name, object: object as ConfigMap }] : [],
    ),
  );

  test.each(configMaps)("$name loads without a warning", ({ object }) => {
    const texts = Object.values(object.data).filter((text) => text !== null);
    expect(texts).not.toEqual([]);
    for (const text of texts) expect(loadConfig(text, loading).problems).toEqual([]);
  });
});

describe("the examples", () => {
  const config = only<ConfigMap>(objectsOf(read("examples/config.yaml")), "ConfigMap").data["config.json"] ?? "";
  const offered = loadConfig(config, loading).specs?.map(({ resource }) => resource) ?? [];
  const networks = new Map(
    manifests
      .filter((name) => name.startsWith("examples/networks/"))
      .map((name) => {
        const network = only<KubernetesObject & { spec: { config: string } }>(
          objectsOf(read(name)),
          "NetworkAttachmentDefinition",
        );
        return [network.metadata.name, network];
      }),
  );
  // Pods with claims have a test of their own, in dra-manifests.test.ts.
  const pods = manifests.filter((name) => /^examples\/pods\/(?!dra)/.test(name));

  test("are there", () => {
    expect(pods.length).toBeGreaterThan(4);
    expect(networks.size).toBeGreaterThan(5);
  });

  test("networks name pools that the example config offers, and hold a CNI configuration of their own name", () => {
    for (const { metadata, spec } of networks.values()) {
      expect(offered).toContain(metadata.annotations?.["k8s.v1.cni.cncf.io/resourceName"] ?? "");
      const network = JSON.parse(spec.config) as { name: string; type?: string; plugins?: { type: string }[] };
      expect(network.name).toBe(metadata.name);
      expect(network.type ?? network.plugins?.[0]?.type).toBeString();
    }
  });

  test.each(pods)("%s requests pools that the example config offers, and each network's device", (name) => {
    const [object] = objectsOf(read(name)) as [KubernetesObject & { spec: { containers: { resources: Resources }[] } }];
    const [resources] = object.spec.containers.map((each) => each.resources);
    expect(resources?.requests).toEqual(resources?.limits ?? {});
    const devices = Object.keys(resources?.limits ?? {}).filter((resource) => resource.includes("/"));
    expect(devices).not.toEqual([]);
    for (const device of devices) expect(offered).toContain(device);
    const annotation = object.metadata.annotations?.["k8s.v1.cni.cncf.io/networks"];
    const expected = (annotation?.split(",") ?? []).map(
      (network) => networks.get(network)?.metadata.annotations?.["k8s.v1.cni.cncf.io/resourceName"],
    );
    if (annotation !== undefined) expect(expected.toSorted()).toEqual(devices.toSorted());
  });
});

interface Resources {
  readonly limits: Readonly<Record<string, string>>;
  readonly requests: Readonly<Record<string, string>>;
}

describe("the kustomizations", () => {
  test("name files and folders that are there", () => {
    for (const name of kustomizations) {
      const at = `${folder}/${name.replace(/kustomization\.yaml$/, "")}`;
      const { resources = [], components = [], patches = [] } = parse(read(name)) as Kustomization;
      const named = [...resources, ...components, ...patches.flatMap(({ path }) => path ?? [])];
      expect(named.filter((path) => !existsSync(`${at}${path}`))).toEqual([]);
    }
  });

  test("each component has an overlay that adds it to the base", () => {
    const components = kustomizations.flatMap((name) => /^components\/([^/]+)\//.exec(name)?.[1] ?? []);
    expect(components.length).toBeGreaterThan(3);
    for (const name of components) {
      const overlay = parse(read(`overlays/${name}/kustomization.yaml`)) as Kustomization;
      expect(overlay).toMatchObject({ resources: ["../../base"], components: [`../../components/${name}`] });
    }
  });
});

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly { readonly path?: string }[];
}
