// Are the manifests of the DRA role what the executable takes and requests, and no more? What kustomize and the API server's own code make of
// them is tested with the others: manifests.test.ts here, in test/packaging and in test/cluster.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { parse } from "yaml";
import { options } from "../../src/cli/options.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { loadConfig } from "../../src/config/load.ts";
import { attributes } from "../../src/dra/attributes.ts";
import { deviceClassesOf } from "../../src/dra/device-classes.ts";
import { publishingProblem } from "../../src/dra/publishing-problem.ts";
import { desiredSlices } from "../../src/dra/slices.ts";
import { isPoolOfNode } from "../../src/pools/dra-names.ts";
import { type ConfigMap, type DaemonSet, type KubernetesObject, objectsOf, only } from "../support/kubernetes.ts";
import { containerArgs } from "../support/manifest.ts";
import { aPool, context, vfs } from "../support/published-slices.ts";

const folder = `${import.meta.dir}/../../deployments`;
const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
const base = objectsOf(read("base/daemonset.yaml"));

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Policy extends KubernetesObject {
  readonly kind: "ValidatingAdmissionPolicy";
  readonly spec: {
    readonly matchConditions: readonly { readonly expression: string }[];
    readonly validations: readonly { readonly expression: string }[];
  };
}

interface ClaimTemplate extends KubernetesObject {
  readonly kind: "ResourceClaimTemplate";
  readonly spec: {
    readonly spec: {
      readonly devices: {
        readonly requests: readonly { readonly name: string; readonly exactly: { readonly deviceClassName: string } }[];
        readonly constraints?: readonly { readonly requests: readonly string[]; readonly matchAttribute: string }[];
      };
    };
  };
}

interface ClaimingPod extends KubernetesObject {
  readonly kind: "Pod";
  readonly spec: {
    readonly resourceClaims: readonly { readonly name: string; readonly resourceClaimTemplateName: string }[];
    readonly containers: readonly { readonly resources: { readonly claims: readonly { readonly name: string }[] } }[];
  };
}

interface Component {
  readonly patches: readonly { readonly patch: string }[];
}

describe("the component dra", () => {
  const objects = ["rbac", "admission"].flatMap((name) => objectsOf(read(`components/dra/${name}.yaml`)));
  const component = parse(read("components/dra/kustomization.yaml")) as Component;
  const [operations, merge] = component.patches.map(({ patch }) => parse(patch) as unknown);

  test("starts the executable with arguments that it takes, and has the variables that they name", () => {
    const args = (operations as { path: string; value: string }[]).flatMap(({ path, value }) =>
      path.endsWith("/args/-") ? [value] : [],
    );
    expect(args).toEqual(["--allocator=dra", "--node-name=$(NODE_NAME)", "--pod-uid=$(POD_UID)"]);
    const [{ env = [], volumeMounts } = { env: [], volumeMounts: [] }] = (merge as DaemonSet).spec.template.spec
      .containers;
    const variables = Object.fromEntries(env.map(({ name }) => [name, "value"]));
    expect(parseCommandLine(containerArgs(args, variables)).options).toMatchObject({
      allocator: "dra",
      "node-name": "value",
      "pod-uid": "value",
    });
    expect(volumeMounts).toMatchObject([{ mountPath: "/var/run/cdi" }]);
  });

  test("mounts a token, which the base does not", () => {
    expect(operations).toContainEqual({
      op: "replace",
      path: "/spec/template/spec/automountServiceAccountToken",
      value: true,
    });
  });

  test("grants what the driver requests, and no more", () => {
    const { rules } = only<KubernetesObject & { rules: readonly Rule[] }>(objects, "ClusterRole");
    const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
      verbs.map((verb) => `${verb} ${apiGroups.join()}/${resources.join()}`),
    );
    expect(granted.toSorted()).toEqual([
      "create resource.k8s.io/resourceslices",
      "delete resource.k8s.io/resourceslices",
      "get /nodes",
      "get resource.k8s.io/resourceclaims",
      "list resource.k8s.io/resourceslices",
      "update resource.k8s.io/resourceslices",
      "watch resource.k8s.io/resourceslices",
    ]);
    // A missing right is reported with its rule.
    for (const step of ["watch", "create", "update", "delete", "node", "taints"] as const) {
      const problem = publishingProblem(step, { kind: "forbidden", message: "" });
      const missing = JSON.parse(problem.slice(problem.indexOf("{"))) as Rule;
      expect(rules).toContainEqual(
        expect.objectContaining({
          apiGroups: missing.apiGroups,
          resources: missing.resources,
          verbs: expect.arrayContaining([...missing.verbs]) as unknown,
        }),
      );
    }
  });

  test("has a policy for the plugin's service account, in any namespace and under any name that kustomize gives it", () => {
    const policy = only<Policy>(objects, "ValidatingAdmissionPolicy");
    const [, pattern = ""] = /matches\("(.*)"\)/.exec(policy.spec.matchConditions[0]?.expression ?? "") ?? [];
    const matches = (name: string) => new RegExp(pattern).test(`system:serviceaccount:${name}`);
    const account = only(base, "ServiceAccount").metadata.name;
    for (const name of [`kube-system:${account}`, `sriov:${account}`, `kube-system:${account}-dra`, `a:b-${account}`])
      expect([name, matches(name)]).toEqual([name, true]);
    for (const name of ["kube-system:default", `${account}:default`, `kube-system:x${account}`])
      expect([name, matches(name)]).toEqual([name, false]);
    expect(policy.spec.validations.map(({ expression }) => expression).join()).toContain(
      `"${options["dra-driver-name"].default}"`,
    );
  });
});

describe("the policy of the component dra", () => {
  const policy = only<Policy>(objectsOf(read("components/dra/admission.yaml")), "ValidatingAdmissionPolicy");
  const rules = policy.spec.validations.filter(({ expression }) => expression.includes("pool.name"));

  /** Whether the rule on pools lets a plugin on the node write: as it is, the expression means the same in JavaScript as in CEL. */
  const mayWrite = (node: string, pool: string, operation = "CREATE") =>
    runInNewContext(rules.map(({ expression }) => expression).join(), {
      request: { operation },
      variables: { node, slice: { spec: { pool: { name: pool } } } },
      size: (text: string) => text.length,
    }) as unknown;

  test("has one rule on the names of pools", () => expect(rules).toHaveLength(1));

  test.each([
    "a",
    "node-a.example.com",
    "n".repeat(63),
    "n".repeat(150),
    "n".repeat(151),
    `${"n".repeat(160)}.${"m".repeat(92)}`,
  ])("lets a plugin on node %p write its own pools, and no other's", (name) => {
    const slices = desiredSlices([aPool(vfs(3))], { ...context, node: { ...context.node, name } });
    expect(slices.map(({ pool }) => mayWrite(name, pool))).toEqual([true]);
    for (const { pool } of slices)
      for (const node of [`x${name}`, name.slice(1)])
        expect([node, mayWrite(node, pool)]).toEqual([node, isPoolOfNode(pool, node)]);
    expect(mayWrite(name, "other/0000-3b-00.0")).toBe(false);
    expect(mayWrite(name, `${name.slice(0, 150)}x/0000-3b-00.0`)).toBe(
      isPoolOfNode(`${name.slice(0, 150)}x/0000-3b-00.0`, name),
    );
  });

  test("lets a plugin delete what another driver of its name left on the node", () =>
    expect(mayWrite("node-a", "node-b", "DELETE")).toBe(true));
});

test("docs/deploy/dra.md has every attribute, and the driver's name", () => {
  const page = readFileSync(`${folder}/../docs/deploy/dra.md`, "utf8");
  expect(Object.keys(attributes).filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  expect(page).toContain(`\`${options["dra-driver-name"].default}\``);
});

describe("the examples of pods with claims", () => {
  const config = only<ConfigMap>(objectsOf(read("examples/config.yaml")), "ConfigMap").data["config.json"] ?? "";
  const { specs } = loadConfig(config, { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 });
  const classes = deviceClassesOf(specs ?? [], "dra.sriovdp.io").map(({ metadata }) => metadata.name);
  const files = [...new Bun.Glob("examples/pods/dra*.yaml").scanSync(folder)].toSorted();

  test("are there", () => expect(files.length).toBeGreaterThan(1));

  test.each(files)("%s requests classes of the example config, by attributes that are published", (file) => {
    const objects = objectsOf(read(file));
    const template = only<ClaimTemplate>(objects, "ResourceClaimTemplate");
    const { requests, constraints = [] } = template.spec.spec.devices;
    // The GPU of dra-gpu.yaml is another driver's.
    const named = requests.map(({ exactly }) => exactly.deviceClassName).filter((name) => name !== "gpu.example.com");
    expect(named.length).toBeGreaterThan(0);
    for (const name of named) expect(classes).toContain(name);
    for (const constraint of constraints) {
      expect(Object.keys(attributes)).toContain(constraint.matchAttribute);
      expect(requests.map(({ name }) => name)).toEqual(expect.arrayContaining([...constraint.requests]));
    }
    const { resourceClaims, containers } = only<ClaimingPod>(objects, "Pod").spec;
    expect(resourceClaims.map((claim) => claim.resourceClaimTemplateName)).toEqual([template.metadata.name]);
    expect(containers.flatMap(({ resources }) => resources.claims.map(({ name }) => name))).toEqual(
      resourceClaims.map(({ name }) => name),
    );
  });
});
