// Do the manifests and the unit say what the executable takes? Read as their users' tools read them.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { loadConfig } from "../../src/config/load.ts";

const read = (name: string) => readFileSync(`${import.meta.dir}/../../deployments/${name}`, "utf8");

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly selector: { readonly matchLabels: object };
    readonly template: { readonly metadata: { readonly labels: object }; readonly spec: PodSpec };
  };
}

interface PodSpec {
  readonly serviceAccountName: string;
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly securityContext: { readonly capabilities: { readonly drop: readonly string[] } };
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  }[];
  readonly volumes: readonly {
    readonly name: string;
    readonly configMap?: { readonly name: string };
    readonly hostPath?: { readonly path: string };
  }[];
}

const manifests = (name: string) => parseAllDocuments(read(name)).map((document) => document.toJS() as Manifest);
const loading = { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 };

describe("the DaemonSet", () => {
  const [account, set] = manifests("daemonset.yaml");
  const pod = set?.spec?.template.spec;
  const [container] = pod?.containers ?? [];

  test("gives the executable arguments that it takes", () => {
    expect(parseCommandLine(container?.args ?? ["--no"]).problems).toEqual([]);
  });

  test("mounts each of its volumes, those of the node where they are on the node", () => {
    const mounts = container?.volumeMounts ?? [];
    expect(mounts.map(({ name }) => name)).toEqual((pod?.volumes ?? []).map(({ name }) => name));
    for (const { name, hostPath } of pod?.volumes ?? []) {
      if (hostPath) expect(mounts.find((mount) => mount.name === name)?.mountPath).toBe(hostPath.path);
    }
  });

  test("takes its config from the ConfigMap, and runs under its own account without any capability", () => {
    const [config] = manifests("configmap.yaml");
    const volume = pod?.volumes.find(({ configMap }) => configMap);
    expect(volume?.configMap?.name).toBe(config?.metadata.name ?? "");
    expect(set?.metadata.namespace).toBe(config?.metadata.namespace ?? "");
    expect(pod?.serviceAccountName).toBe(account?.metadata.name ?? "");
    expect(container?.securityContext.capabilities.drop).toEqual(["ALL"]);
    expect(set?.spec?.template.metadata.labels).toEqual(set?.spec?.selector.matchLabels ?? {});
  });
});

test("the ConfigMap's config loads without a word", () => {
  const [{ data } = {}] = manifests("configmap.yaml") as [Manifest];
  const loaded = loadConfig(data?.["config.json"] ?? "", loading);
  expect(loaded.problems).toEqual([]);
  expect(loaded.specs?.map(({ resource }) => resource)).toEqual([
    "intel.com/intel_sriov_netdevice",
    "intel.com/intel_sriov_dpdk",
  ]);
});

test("the systemd unit starts the executable with arguments that it takes, and reloads it by SIGHUP", () => {
  const unit = read("sriovdp.service");
  const [, ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  expect(args).not.toEqual([]);
  expect(parseCommandLine(args).problems).toEqual([]);
  expect(unit).toContain("ExecReload=/bin/kill -HUP $MAINPID");
});

test("the operator's manifest can be kept: its arguments are taken as they are", () => {
  const args = ["--log-level=10", "--resource-prefix=openshift.io", "--config-file=/etc/pcidp/node-1", "--use-cdi"];
  const { problems, options } = parseCommandLine(args);
  expect(problems).toEqual([]);
  expect(options).toMatchObject({ "log-level": 10, "resource-prefix": "openshift.io", "use-cdi": true });
});
