// What do kustomize and the API server make of deployments/? Read by manifest-reader.ts; what was built is then run here.

import { afterAll, describe, expect } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { type DaemonSet, type KubernetesObject, only, schemaProblems } from "../support/kubernetes.ts";
import { runManifest } from "../support/manifest.ts";
import { upstreamDaemonSet } from "../support/others-manifests.ts";
import { applied, deployments, missingReader as missing, readManifests } from "./manifest-reader.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const yaml = [...new Bun.Glob("**/*.yaml").scanSync(deployments)]
  .filter((name) => !name.startsWith("helm/"))
  .toSorted();
/** Folders that can be applied: those of kustomizations that are not components. */
const kustomizations = yaml.flatMap((name) => {
  const [, folder] = /^(.*)\/kustomization\.yaml$/.exec(name) ?? [];
  if (folder === undefined) return [];
  const { kind } = parse(readFileSync(join(deployments, name), "utf8")) as { kind: string };
  return kind === "Kustomization" ? [folder] : [];
});
const overlays = kustomizations.filter((name) => name.startsWith("overlays/"));
/** Files that are applied by themselves. */
const files = yaml.filter((name) => /^examples\/|podmonitor|prometheusrule|^base\/(?!kustomization)/.test(name));

const work = mkdtempSync(join(tmpdir(), "sriovdp-manifests-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));
let copies = 0;

describe("the API server", () => {
  testWhere(missing, "takes everything that is applied: the base, the overlays, the examples", () => {
    expect(overlays.length).toBeGreaterThan(4);
    for (const { path, objects, problems } of readManifests(...kustomizations, ...files)) {
      expect({ path, problems }).toEqual({ path, problems: [] });
      expect(objects.length).toBeGreaterThan(0);
    }
  });

  testWhere(missing, "would refuse an unknown field, a value out of range, and a network without a type", () => {
    const spoilt = join(work, "spoilt.yaml");
    const problemsOf = (text: string) => {
      writeFileSync(spoilt, text);
      return readManifests(spoilt).flatMap(({ problems }) => problems);
    };
    const set = readFileSync(join(deployments, "base/daemonset.yaml"), "utf8");
    const network = readFileSync(join(deployments, "examples/networks/sriov.yaml"), "utf8");
    expect(problemsOf(set)).toEqual([]);
    expect(problemsOf(set.replace("hostNetwork:", "hostNetwrok:")).join()).toContain("hostNetwrok");
    expect(problemsOf(set.replace("maxUnavailable: 0", "maxUnavailable: 1")).join()).toContain("maxUnavailable");
    expect(problemsOf(set.replace("mountPath: /run/sriovdp", "mountPath: /etc/pcidp")).join()).toContain("mountPath");
    expect(problemsOf(network.replace('"type": "sriov"', '"typ": "sriov"')).join()).toContain("type");
    const policy = readFileSync(join(deployments, "components/dra/admission.yaml"), "utf8");
    expect(problemsOf(policy)).toEqual([]);
    expect(problemsOf(policy.replace("oldObject : object", "oldObject : objekt")).join()).toContain("objekt");
    const claim = readFileSync(join(deployments, "examples/pods/dra.yaml"), "utf8");
    expect(problemsOf(claim.replace("expression: device.", "expression: devise.")).join()).toContain("devise");
  });
});

const allTogether = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: sriov
resources: [../../base]
components:
  - ../../components/node-config
  - ../../components/dra
  - ../../components/cdi
  - ../../components/net-admin
  - ../../components/metrics
`;

/** Writes kustomizations into overlays of these names, in a copy of deployments/; returns the folder of the last. */
function overlayOf(overlays: Readonly<Record<string, string>>): string {
  const copy = join(work, `deployments-${(copies += 1)}`);
  cpSync(deployments, copy, { recursive: true });
  const folders = Object.entries(overlays).map(([name, text]) => {
    const folder = join(copy, "overlays", name);
    mkdirSync(folder);
    writeFileSync(join(folder, "kustomization.yaml"), text);
    return folder;
  });
  return folders.at(-1) ?? copy;
}

/** What the plugin can't do without, in the words of the Pod Security Standards; and what an overlay adds. */
const needed = ["host namespaces", "hostPath volumes", "seLinuxOptions"];
const added: Readonly<Record<string, readonly string[]>> = {
  "overlays/net-admin": ["non-default capabilities"],
  "overlays/everything": ["non-default capabilities"],
};

describe("what kustomize builds", () => {
  testWhere(missing, "goes beyond the baseline of the Pod Security Standards only in what is known", () => {
    for (const { path, beyondBaseline } of readManifests(...kustomizations)) {
      expect({ path, beyond: beyondBaseline.toSorted() }).toEqual({
        path,
        beyond: [...needed, ...(added[path] ?? [])].toSorted(),
      });
    }
  });

  testWhere(missing, "is what the schemas of the fast tests say, too", async () => {
    for (const { objects } of readManifests(...kustomizations)) {
      for (const object of objects.filter(({ kind }) => kind !== "SecurityContextConstraints")) {
        expect(await schemaProblems(object)).toEqual([]);
      }
    }
  });

  testWhere(missing, "lets a new pod take over before the old one is ended: no port of the node is in its way", () => {
    for (const { path, objects } of readManifests(...kustomizations)) {
      const { spec } = only<DaemonSet>(objects, "DaemonSet");
      expect(spec).toMatchObject({ updateStrategy: { rollingUpdate: { maxSurge: "33%", maxUnavailable: 0 } } });
      expect([path, ...spec.template.spec.containers.filter((each) => "ports" in each)]).toEqual([path]);
    }
  });

  /** The pools of a cluster that applies it: what is applied holds none but the sample's. */
  const poolsFor: Readonly<Record<string, readonly string[]>> = {
    "overlays/sample-config": [],
    "overlays/node-config": ["examples/node-config.yaml"],
    "overlays/everything": ["examples/node-config.yaml"],
  };
  const sample = ["components/sample-config/configmap.yaml"];
  const expected: Readonly<Record<string, readonly string[]>> = {
    "overlays/node-config": ["intel.com/intel_sriov_netdevice"],
    "overlays/everything": ["intel.com/intel_sriov_netdevice"],
  };
  for (const path of kustomizations) {
    testWhere(missing, `${path} serves its pools on a node, and its probes pass`, async () => {
      const objects = readManifests(path, ...(poolsFor[path] ?? sample)).flatMap((each) => each.objects);
      expect(await runManifest(objects)).toEqual([
        ...(expected[path] ?? ["intel.com/intel_sriov_dpdk", "intel.com/intel_sriov_netdevice"]),
      ]);
    });
  }

  testWhere(missing, "keeps the base's mounts and arguments when components are put together", () => {
    const [base, everything] = readManifests("base", "overlays/everything").map(({ objects }) => {
      const [container] = only<DaemonSet>(objects, "DaemonSet").spec.template.spec.containers;
      return container;
    });
    expect(everything?.args).toEqual([
      "--config-file=/etc/pcidp/$(NODE_NAME)",
      "--use-cdi",
      "--metrics-address=[$(HOST_IP)]:9808",
    ]);
    expect(everything?.env?.map(({ name }) => name).toSorted()).toEqual(["HOST_IP", "NODE_NAME"]);
    const paths = (container: typeof base) => container?.volumeMounts.map(({ mountPath }) => mountPath) ?? [];
    expect(paths(everything).toSorted()).toEqual([...paths(base), "/var/run/cdi"].toSorted());
    expect(everything?.securityContext.capabilities).toEqual({ drop: ["ALL"], add: ["NET_ADMIN"] });
  });
});

testWhere(
  missing,
  "an overlay of your own, as docs/deploy/cluster.md describes, has your image, pools and nodes, and runs",
  async () => {
    const page = readFileSync(join(deployments, "../docs/deploy/cluster.md"), "utf8");
    const [, text] = /^```yaml\n(.*?kind: Kustomization.*?)^```$/ms.exec(page) ?? [];
    const mine = overlayOf({ mine: text ?? "" });
    writeFileSync(
      join(mine, "config.json"),
      '{ "resourceList": [{ "resourceName": "mine", "selectors": [{ "drivers": ["iavf"] }] }] }',
    );
    const [{ objects, problems } = { objects: [], problems: ["nothing was read"] }] = readManifests(mine);
    expect(problems).toEqual([]);
    const set = only<DaemonSet>(objects, "DaemonSet").spec.template.spec;
    expect(set.containers[0]?.image).toStartWith("registry.example.com/sriovdp:");
    expect(set).toMatchObject({
      nodeSelector: { "kubernetes.io/os": "linux", "feature.node.kubernetes.io/network-sriov.capable": "true" },
    });
    expect(set.volumes).toContainEqual({ name: "config", configMap: { name: "sriovdp-config" } });
    expect(await runManifest(objects)).toEqual(["intel.com/mine"]);
  },
);

testWhere(missing, "the components dra and cdi can be put together with all others, in another namespace", async () => {
  const [{ objects, problems } = { objects: [], problems: ["nothing was read"] }] = readManifests(
    overlayOf({ all: allTogether }),
  );
  expect(problems).toEqual([]);
  const { spec } = only<DaemonSet>(objects, "DaemonSet").spec.template;
  const [container] = spec.containers;
  expect(container?.args).toEqual([
    "--config-file=/etc/pcidp/$(NODE_NAME)",
    "--allocator=dra",
    "--node-name=$(NODE_NAME)",
    "--pod-uid=$(POD_UID)",
    "--use-cdi",
    "--metrics-address=[$(HOST_IP)]:9808",
  ]);
  const once = (names: readonly string[]) => expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
  once(container?.env?.map(({ name }) => name) ?? []);
  once(container?.volumeMounts.map(({ mountPath }) => mountPath) ?? []);
  once(spec.volumes.map(({ name }) => name));
  expect(only(objects, "ClusterRoleBinding")).toMatchObject({
    subjects: [{ kind: "ServiceAccount", name: "sriov-device-plugin", namespace: "sriov" }],
  });
});

testWhere(
  missing,
  "overlays for nodes of both roles, as docs/deploy/dra.md describes, share no object, no selector and no node",
  async () => {
    const page = readFileSync(join(deployments, "../docs/deploy/dra.md"), "utf8");
    const found = [...page.matchAll(/^`?[^\n]*overlays\/([\w-]+)`:\n\n```yaml\n(.*?)^```$/gms)];
    const texts = Object.fromEntries(found.map(([, name = "", text = ""]) => [name, text]));
    expect(Object.keys(texts)).toEqual(["device-plugin-nodes", "dra-nodes"]);
    const readings = Object.entries(texts).map(([name, text]) => readManifests(overlayOf({ [name]: text }))[0]);
    expect(readings.map((reading) => reading?.problems)).toEqual([[], []]);
    const [plugin = [], dra = []] = readings.map((reading) => reading?.objects ?? []);
    const names = (objects: readonly KubernetesObject[]) =>
      objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names(plugin).filter((name) => names(dra).includes(name))).toEqual([]);
    const [of, ofDra] = [only<DaemonSet>(plugin, "DaemonSet"), only<DaemonSet>(dra, "DaemonSet")];
    expect([of.spec.selector.matchLabels, ofDra.spec.selector.matchLabels]).toEqual([
      { name: "sriov-device-plugin" },
      { name: "sriov-device-plugin-dra" },
    ]);
    const rules = JSON.stringify((of.spec.template.spec as { affinity?: unknown }).affinity);
    expect(rules).toContain('{"key":"sriovdp.io/allocator","operator":"NotIn","values":["dra"]}');
    expect(ofDra.spec.template.spec).toMatchObject({
      nodeSelector: { "sriovdp.io/allocator": "dra" },
      serviceAccountName: "sriov-device-plugin-dra",
    });
    expect(only(dra, "ClusterRoleBinding")).toMatchObject({ subjects: [{ name: "sriov-device-plugin-dra" }] });
    expect(only(dra, "ValidatingAdmissionPolicyBinding")).toMatchObject({
      spec: { policyName: only(dra, "ValidatingAdmissionPolicy").metadata.name },
    });
    // What the device plugin needs when a node comes back.
    expect(of.spec.template.spec.volumes.map(({ name }) => name)).toContain("cdi");
    const pools = readManifests("components/sample-config/configmap.yaml").flatMap(({ objects }) => objects);
    for (const objects of [plugin, dra])
      expect(await runManifest([...objects, ...pools])).toEqual([
        "intel.com/intel_sriov_dpdk",
        "intel.com/intel_sriov_netdevice",
      ]);
  },
);

describe("a migration from the upstream plugin", () => {
  const upstream = upstreamDaemonSet();
  const replacement = () =>
    only<DaemonSet>(
      readManifests("base").flatMap(({ objects }) => objects),
      "DaemonSet",
    );

  testWhere(missing, "changes nothing that can't be changed: name, namespace and selector are the same", () => {
    const { metadata, spec } = replacement();
    expect([metadata.name, metadata.namespace]).toEqual([upstream.metadata.name, upstream.metadata.namespace]);
    expect(spec.selector).toEqual(upstream.spec.selector);
    // The new one adopts the pods of an upstream DaemonSet that was deleted with --cascade=orphan: its selector has to match them.
    expect(upstream.spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
  });

  testWhere(missing, "takes replace: apply would leave mounts and the limit of CPU of the old one", () => {
    const current = join(work, "upstream.json");
    const changed = join(work, "replacement.json");
    writeFileSync(current, JSON.stringify(upstream));
    writeFileSync(changed, JSON.stringify(replacement()));
    const { spec } = applied<DaemonSet>(current, changed).spec.template;
    const [container] = spec.containers;
    expect(container?.volumeMounts.map(({ mountPath }) => mountPath)).toContain("/var/log");
    expect(container?.resources.limits).toHaveProperty("cpu");
    const [replaced] = replacement().spec.template.spec.containers;
    expect(replaced?.volumeMounts.map(({ mountPath }) => mountPath)).not.toContain("/var/log");
    expect(replaced?.resources.limits).not.toHaveProperty("cpu");
  });
});

// The machine's own kubectl, where there is one, is not what is tested; but a user's is of this kind.
testWhere(missingPrograms("kubectl"), "kubectl builds each overlay", () => {
  for (const path of kustomizations) {
    const { exitCode, stderr } = Bun.spawnSync(["kubectl", "kustomize", join(deployments, path)], { stderr: "pipe" });
    expect({ path, exitCode, stderr: stderr.toString() }).toEqual({ path, exitCode: 0, stderr: "" });
  }
});
