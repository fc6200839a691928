// A Kubernetes node in the guest (profile disk=node): containerd and the genuine kubelet, standalone, with static pods.
// Standalone means that there is no API server and so no Node object: pods are read from the kubelet's read-only port,
// devices from its pod-resources socket and from the device manager's checkpoint.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { startContainerd } from "./containerd.ts";
import { allocatableDevices } from "./kubelet-devices.ts";
import { kubeletRoot, kubeletSocket, manifests, nodeName, waitForKubelet } from "./kubelet-paths.ts";
import { attempt, executable, type Program, reset, sh, start } from "./support.ts";

// ---- kubelet

/** Fields of KubeletConfiguration that a test overrides, for instance { topologyManagerPolicy: "single-numa-node" } */
export type KubeletConfiguration = Readonly<Record<string, unknown>>;

const kubeletConfiguration: KubeletConfiguration = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
  staticPodPath: manifests,
  fileCheckFrequency: "2s",
  syncFrequency: "10s",
  cgroupDriver: "cgroupfs",
  failSwapOn: false,
  resolvConf: "",
  readOnlyPort: 10255,
  evictionHard: { "nodefs.available": "0%", "imagefs.available": "0%" },
  localStorageCapacityIsolation: false,
  makeIPTablesUtilChains: false,
};

export interface Kubelet {
  readonly program: Program;
  /** Ends it by SIGTERM, or as a crash would by SIGKILL; pods go on running. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * A node to begin with: nothing of a test file that had no time to clean up, no VFs, and a runtime with a network for pods.
 * Files of one boot share the runtime, so each begins with the common state.
 */
export async function freshNode(): Promise<void> {
  await attempt("pkill -KILL -x kubelet");
  await attempt(`pkill -TERM -f '^${executable} --resource-prefix'`);
  rmSync(manifests, { recursive: true, force: true });
  installCni();
  await Promise.all([reset(), startContainerd()]);
}

/** Starts the kubelet and waits until it takes registrations, answers pod-resources and has its pod list. */
export async function startKubelet(configuration: KubeletConfiguration = {}): Promise<Kubelet> {
  mkdirSync(manifests, { recursive: true });
  writeFileSync("/etc/kubelet.json", JSON.stringify({ ...kubeletConfiguration, ...configuration }));
  // The socket file of an earlier kubelet may still be there: this one puts a new one in its place.
  const before = identity(kubeletSocket);
  const command = [
    "kubelet",
    "--config=/etc/kubelet.json",
    `--hostname-override=${nodeName}`,
    `--root-dir=${kubeletRoot}`,
    "--v=2",
  ];
  const program = start("kubelet", command);
  await waitForKubelet(
    "kubelet",
    async () => {
      if (!program.running()) throw new Error(`kubelet ended: ${program.output().slice(-2000)}`);
      await readPods();
      await allocatableDevices();
      return identity(kubeletSocket) !== null && identity(kubeletSocket) !== before;
    },
    120,
  );
  return {
    program,
    stop: async (signal = "SIGTERM") => {
      await program.stop(signal);
    },
  };
}

function identity(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? `${found.ino} ${found.ctimeMs}` : null;
}

// ---- static pods

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly resources?: { readonly limits: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

export interface Pod {
  readonly apiVersion: "v1";
  readonly kind: "Pod";
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly containers: readonly Container[]; readonly [field: string]: unknown };
}

export interface PodStatus {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly phase?: "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";
    readonly reason?: string;
    readonly message?: string;
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly containerID?: string;
      readonly state: object;
      readonly ready?: boolean;
      readonly started?: boolean;
      readonly restartCount?: number;
    }[];
  };
}

export const busybox = "lab.local/busybox:1";

/** The end of a script that stays. Process 1 is deaf to SIGTERM without a trap, and killed only after seconds. */
export const stay = "trap exit TERM; sleep 10000 & wait";

/** A container "main" that runs a shell script, with so many devices of each resource */
export function container(script: string, devices: Readonly<Record<string, number>> = {}, name = "main"): Container {
  const limits = Object.fromEntries(Object.entries(devices).map(([resource, count]) => [resource, String(count)]));
  return { name, image: busybox, imagePullPolicy: "Never", command: ["/bin/sh", "-c", script], resources: { limits } };
}

/** A pod in the host's network (one of its own is the CNI program's), never restarted, quickly ended */
export function pod(name: string, containers: readonly Container[], spec: Readonly<Record<string, unknown>> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { hostNetwork: true, restartPolicy: "Never", terminationGracePeriodSeconds: 1, ...spec, containers },
  };
}

export const manifestOf = (name: string): string => `${manifests}/${name}.json`;

/**
 * Without a scheduler nothing keeps a pod waiting for its devices. If their resource was never registered, it runs without
 * any; if the resource is known but has too few, it is rejected for good. So register first, then put the pod.
 */
export function putPod(pod: Pod): void {
  // By rename, so that the kubelet never reads half of it; files with a leading dot are ignored.
  const temporary = `${manifests}/.${pod.metadata.name}.json`;
  // Of the same UID it would be the pod that was there before, together with its containers.
  const metadata = { ...pod.metadata, uid: crypto.randomUUID() };
  writeFileSync(temporary, JSON.stringify({ ...pod, metadata }));
  renameSync(temporary, manifestOf(pod.metadata.name));
}

/** Takes the manifest away and waits until the kubelet has forgotten the pod. */
export async function removePod(name: string): Promise<void> {
  rmSync(manifestOf(name), { force: true });
  await waitForKubelet(`${name} removed`, async () => (await findPod(name)) === null, 60);
}

/** Takes all pods away but those named, and waits until the kubelet has forgotten them. */
export async function removePods(...keep: readonly string[]): Promise<void> {
  for (const file of readdirSync(manifests)) {
    if (!keep.some((name) => manifestOf(name) === `${manifests}/${file}`)) rmSync(`${manifests}/${file}`);
  }
  const kept = keep.map((name) => `${name}-${nodeName}`);
  const removed = async () => (await readPods()).every(({ metadata }) => kept.includes(metadata.name));
  await waitForKubelet("pods removed", removed, 120);
}

/** Sees to it that a pod that several tests share is running. */
export async function keepPod(pod: Pod): Promise<void> {
  const { name } = pod.metadata;
  const { phase } = (await findPod(name))?.status ?? {};
  if (phase === "Running") return;
  if (phase !== "Pending") await removePod(name);
  putPod(pod);
  await waitForPhase(name, "Running");
}

export async function readPods(): Promise<PodStatus[]> {
  const response = await fetch("http://127.0.0.1:10255/pods");
  if (!response.ok) throw new Error(`/pods: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { items: PodStatus[] | null }).items ?? [];
}

/** The kubelet appends the node's name to a static pod's. */
export const findPod = async (name: string): Promise<PodStatus | null> =>
  (await readPods()).find(({ metadata }) => metadata.name === `${name}-${nodeName}`) ?? null;

/** Waits for one of the phases; ends at once when the pod has ended otherwise, or has been rejected. */
export async function waitForPhase(
  name: string,
  ...phases: NonNullable<PodStatus["status"]["phase"]>[]
): Promise<PodStatus> {
  let last: PodStatus | null = null;
  const ended = () => last?.status.phase === "Succeeded" || last?.status.phase === "Failed";
  const reached = () => last?.status.phase !== undefined && phases.includes(last.status.phase);
  await waitForKubelet(
    name,
    async () => {
      last = await findPod(name);
      return reached() || ended();
    },
    90,
  ).catch(() => {});
  if (last === null || !reached()) {
    const details = await attempt(
      "grep -h -E 'Error syncing pod|level=error' /share/kubelet.log /share/containerd.log | tail -n 4",
    );
    throw new Error(
      `pod ${name} isn't ${phases.join(" or ")}: ${JSON.stringify((last as PodStatus | null)?.status)}\n${details.stdout}`,
    );
  }
  return last;
}

/** What each run of a container has printed so far, by the number of its restarts; the kubelet may remove what earlier runs printed. */
async function logsOf(name: string, container: string): Promise<Map<number, string>> {
  const folder = `/var/log/pods/default_${name}-${nodeName}_${(await findPod(name))?.metadata.uid}/${container}`;
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".log")) : [];
  const read = (file: string) =>
    readFileSync(`${folder}/${file}`, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        // CRI's format: time, stream, F for a full line or P for a part of one, text
        const [, part = "F", text = ""] = line.match(/^\S+ \S+ ([FP])\S* (.*)$/) ?? [];
        return part === "F" ? `${text}\n` : text;
      })
      .join("");
  const runs = files.map((file) => [Number.parseInt(file, 10), read(file)] as const);
  return new Map(runs.toSorted(([a], [b]) => a - b));
}

/** What a container has printed so far */
export const podLog = async (name: string, container = "main"): Promise<string> =>
  [...(await logsOf(name, container)).values()].join("");

/** Waits until a container has printed a line, by default "ready", and returns all that it has printed. */
export const podOutput = (name: string, container = "main", line = "ready"): Promise<string> =>
  waitForKubelet(
    `${name}/${container} prints "${line}"`,
    async () => {
      const log = await podLog(name, container);
      return `\n${log}`.includes(`\n${line}\n`) && log;
    },
    90,
  );

/** Waits until the container "main" has printed "ready" after its first restart, and returns what it has printed since. */
export const secondOutput = (name: string): Promise<string> =>
  waitForKubelet(
    `${name} runs a second time`,
    async () => {
      const log = (await logsOf(name, "main")).get(1);
      return log?.endsWith("ready\n") === true && log;
    },
    90,
  );

/** The runtime's name of a container. */
export const containerId = (name: string, container = "main"): Promise<string> =>
  // The kubelet may report a container only after it has printed something.
  waitForKubelet(`container ${container} of ${name}`, async () => {
    const statuses = (await findPod(name))?.status.containerStatuses;
    return statuses?.find((found) => found.name === container)?.containerID?.replace("containerd://", "");
  });

/** Ends a container from outside, as a crash would. */
export async function endContainer(name: string, container = "main", signal = "SIGTERM"): Promise<void> {
  await sh(`ctr -n k8s.io tasks kill --signal ${signal} ${await containerId(name, container)}`);
}

// ---- pod networks

/** Lets pods have a network of their own, into which the CNI plugin (programs/cni.ts) moves the netdevs of their devices as
 *  net1, net2 …, and back again afterwards. Containerd must not run yet. */
function installCni(): void {
  mkdirSync("/opt/cni/bin", { recursive: true });
  mkdirSync("/etc/cni/net.d", { recursive: true });
  writeFileSync("/opt/cni/bin/vf", `#!/usr/bin/dash\nexport BUN_BE_BUN=1\nexec ${executable} /payload/cni.js\n`);
  chmodSync("/opt/cni/bin/vf", 0o755);
  // containerd calls this one for lo in every pod.
  rmSync("/opt/cni/bin/loopback", { force: true });
  symlinkSync("vf", "/opt/cni/bin/loopback");
  writeFileSync(
    "/etc/cni/net.d/10-vf.conflist",
    JSON.stringify({ cniVersion: "1.0.0", name: "vf", plugins: [{ type: "vf" }] }),
  );
}
