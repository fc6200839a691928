// A node of a cluster, without an emulated machine: a genuine kubelet, a container runtime that runs nothing (fake-runtime/), and the executable
// on a simulated node's files. What the kubelet writes outside of these stays in a mount namespace of its own.

import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { undocumented } from "../support/log-lines.ts";
import { pciFolder } from "../support/node-entries.ts";
import type { PfPlan } from "../support/node-plan.ts";
import { buildNode } from "../support/node.ts";
import { Plugin, runCommand, temporaryFolder } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";
import type { FullStatus } from "../../src/telemetry/plugin-status.ts";
import { endsWithUs, inNamespace, type Namespace, type Program } from "./namespace.ts";

/** What a node consists of. */
export interface NativeNodeOptions {
  readonly name: string;
  /** An address of the control plane's namespace, for this node alone. */
  readonly address: string;
  readonly pf: PfPlan;
  /** The kubelet's. */
  readonly kubeconfig: string;
  /** What the executable is started with beside --root. */
  readonly args: readonly string[];
  readonly namespace: Namespace;
  readonly kubernetes: string;
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** The executable of fake-runtime/. */
  readonly runtime: string;
}

/** A container as the runtime would have started it: see fake-runtime/main.go. */
export interface StartedContainer {
  readonly pod: string;
  readonly env: readonly string[];
  /** Paths of its device nodes: "/dev/vfio/vfio". */
  readonly nodes: readonly string[];
  /** Names of its CDI devices. */
  readonly cdi: readonly string[];
  /** Why a runtime would have refused it; empty where it would not. */
  readonly error: string;
}

// The kubelet writes these of the whole machine (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables): it finds its own values.
const kernelSettings = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

export class NativeNode {
  readonly name: string;
  readonly root: string = temporaryFolder();
  #kubelet: Program;
  readonly #options: NativeNodeOptions;
  readonly #plugins: Plugin[] = [];

  constructor(options: NativeNodeOptions) {
    this.#options = options;
    this.name = options.name;
    unpack(buildNode({ pfs: [options.pf], vhostNet: false }), this.root);
    for (const folder of ["var/lib/kubelet/device-plugins", "var/lib/kubelet/plugins_registry", "var/run/cdi", "lab"])
      mkdirSync(`${this.root}/${folder}`, { recursive: true });
    this.#startRuntime();
    this.#kubelet = this.#startKubelet();
    this.#startPlugin();
  }

  /** The plugin that was started last. */
  get plugin(): Plugin {
    const plugin = this.#plugins.at(-1);
    if (!plugin) throw new Error("no plugin was started");
    return plugin;
  }

  /** The node's VFs, by their addresses. */
  get vfs(): string[] {
    const { address = "" } = this.#options.pf;
    const folder = `${this.root}/${pciFolder(address)}`;
    return readdirSync(folder)
      .filter((name) => name.startsWith("virtfn"))
      .map((name) => basename(readlinkSync(`${folder}/${name}`)))
      .toSorted();
  }

  /** The device nodes of a VF that is bound to vfio-pci. */
  nodesOf(vf: string): string[] {
    const group = basename(readlinkSync(`${this.root}/${pciFolder(vf)}/iommu_group`));
    return [`/dev/vfio/${group}`, "/dev/vfio/vfio"];
  }

  /** All containers that the kubelet has created since the node was started, and those that were refused. */
  get containers(): StartedContainer[] {
    const path = this.#file("containers");
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
    return lines.map((line) => JSON.parse(line) as StartedContainer);
  }

  /** What sriovdp status says. */
  status(): FullStatus {
    return JSON.parse(runCommand(["status", "--root", this.root, "--output=json"]).stdout) as FullStatus;
  }

  /** The plugin ends and is started again; returns when it is ready. */
  async restartPlugin(): Promise<void> {
    await this.plugin.stop();
    this.#startPlugin();
    await this.plugin.waitUntilReady();
  }

  /** The kubelet is killed and started again. */
  async restartKubelet(): Promise<void> {
    await this.#kubelet.kill();
    this.#kubelet = this.#startKubelet();
  }

  /** Stops the plugin. The other programs end with the namespace. */
  async stop(): Promise<void> {
    await this.plugin.stop();
    const problems = this.#plugins.flatMap(({ lines }) => lines.map(undocumented)).filter((each) => each !== null);
    if (problems.length > 0) throw new Error(`lines that docs/reference/logs.md lacks:\n${problems.join("\n")}`);
  }

  #startPlugin(): void {
    const { args, namespace } = this.#options;
    this.#plugins.push(new Plugin(["--root", this.root, ...args], [...endsWithUs, ...inNamespace(namespace.pid)]));
  }

  #file(name: string): string {
    return `${this.root}/lab/${name}`;
  }

  #startKubelet(): Program {
    const { name, address, kubernetes, kubeconfig, namespace } = this.#options;
    const config = this.#file("kubelet.json");
    writeFileSync(config, JSON.stringify(this.#kubeletConfig()));
    const settings = Object.entries(kernelSettings).map(([setting, value]) => {
      const file = this.#file(setting.replaceAll("/", "."));
      writeFileSync(file, `${value}\n`);
      return `[ ! -e /proc/sys/${setting} ] || mount --bind ${file} /proc/sys/${setting}`;
    });
    const script = [
      // A machine without a kubelet's folder does not get one: an empty one is put over /var/lib, with all else that is there.
      "if [ ! -d /var/lib/kubelet ]; then",
      `  mkdir -p ${this.#file("lib")}; mount --rbind /var/lib ${this.#file("lib")}; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/kubelet`,
      `  for folder in ${this.#file("lib")}/*/; do`,
      '    at="/var/lib/$(basename "$folder")"; mkdir -p "$at"; mount --rbind "$folder" "$at"',
      "  done",
      "fi",
      // Sockets of device plugins are below this path whatever the kubelet's root folder is.
      `mount --bind ${this.root}/var/lib/kubelet /var/lib/kubelet`,
      // Links to the logs of containers, a folder that can't be set.
      "mount -t tmpfs tmpfs /var/log",
      ...settings,
      `until [ -S ${this.#file("cri.sock")} ]; do sleep 0.05; done`,
      `exec ${kubernetes} kubelet --config=${config} --kubeconfig=${kubeconfig} --hostname-override=${name} --node-ip=${address} --cert-dir=${this.#file("pki")}`,
    ];
    return namespace.start(`kubelet-${name}`, inMountNamespace(script));
  }

  /** A runtime for which the node's device nodes are in /dev, each of them a /dev/null: the CDI library looks them up. */
  #startRuntime(): void {
    const { name, namespace, runtime } = this.#options;
    const nodes = readdirSync(`${this.root}/dev`, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath.slice(this.root.length)}/${entry.name}`);
    const script = [
      "mount -t tmpfs tmpfs /dev",
      "mknod /dev/null c 1 3",
      ...nodes.map((node) => `mkdir -p "$(dirname ${node})"; mknod ${node} c 1 3`),
      `exec ${runtime} ${this.#file("cri.sock")} ${this.root}/var/run/cdi ${this.#file("containers")}`,
    ];
    namespace.start(`runtime-${name}`, inMountNamespace(script));
  }

  #kubeletConfig(): object {
    const runtime = `unix://${this.#file("cri.sock")}`;
    return {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      containerRuntimeEndpoint: runtime,
      imageServiceEndpoint: runtime,
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: "AlwaysAllow" },
      address: this.#options.address,
      healthzPort: 0,
      // Nothing of the machine's cgroups, swap, firewall or disks.
      cgroupsPerQOS: false,
      enforceNodeAllocatable: [],
      failSwapOn: false,
      failCgroupV1: false,
      localStorageCapacityIsolation: false,
      makeIPTablesUtilChains: false,
      evictionHard: { "memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
      imageGCHighThresholdPercent: 100,
      podLogsDir: this.#file("logs"),
      volumePluginDir: this.#file("volume-plugins"),
      resolvConf: "",
      nodeStatusUpdateFrequency: "1s",
      syncFrequency: "5s",
      featureGates: this.#options.featureGates,
    };
  }
}

/** The words that run the lines of a script in a mount namespace of its own. */
const inMountNamespace = (script: readonly string[]): string[] => [
  ...["unshare", "--mount", "--propagation=private", "--", "sh", "-euc"],
  script.join("\n"),
];
