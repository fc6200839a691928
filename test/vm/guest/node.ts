// A Kubernetes node in the guest (profile disk=node): containerd and the genuine kubelet, standalone, with static pods.
// Standalone means that there is no API server and so no Node object: pods are read from the kubelet's read-only port,
// devices from its pod-resources socket and from the device manager's checkpoint.
import { credentials, type ServiceError } from "@grpc/grpc-js";
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
import type {
  AllocatableResourcesResponse,
  ContainerDevices,
  ListPodResourcesResponse,
} from "../../../src/kubelet/api/podresources.ts";
import { PodResourcesListerClient } from "../../support/grpc.ts";
import { attempt, executable, loadModules, reset, sh, start, waitFor, type Program } from "./support.ts";

export const kubeletRoot = "/var/lib/kubelet";
export const devicePlugins = `${kubeletRoot}/device-plugins`;
export const pluginsRegistry = `${kubeletRoot}/plugins_registry`;
export const podResourcesSocket = `${kubeletRoot}/pod-resources/kubelet.sock`;
const kubeletSocket = `${devicePlugins}/kubelet.sock`;
const manifests = "/etc/kubernetes/manifests";
const nodeName = "lab";

// ---- containerd

/** Starts containerd, unless it runs: files share boots, and this takes its time. */
async function startContainerd(): Promise<void> {
  if ((await attempt("ctr version")).status === 0) return;
  await loadModules("overlay", "veth", "br_netfilter");
  // The kubelet wants mounts that containers share with the node.
  await sh("mount --make-rshared /");
  await sh("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf");
  mkdirSync("/etc/containerd", { recursive: true });
  writeFileSync("/etc/containerd/config.toml", containerdConfig);
  start("containerd", ["containerd"]);
  await waitFor("containerd", async () => await sh("ctr version"), 60);
  for (const image of readdirSync("/images")) await sh(`ctr -n k8s.io images import --local /images/${image}`);
}

const containerdConfig = `
version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:1"
  disable_apparmor = true
  enable_cdi = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`;

// ---- kubelet

/** waitFor, at a pace that leaves the emulated processors to the kubelet that is asked */
const waitForKubelet: typeof waitFor = (what, condition, seconds) =>
  waitFor(
    what,
    async () => {
      await Bun.sleep(200);
      return condition();
    },
    seconds,
  );

/** Fields of KubeletConfiguration that a test wants otherwise, for instance { topologyManagerPolicy: "single-numa-node" } */
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
 * Files of one boot share the runtime, so each begins it as all want it.
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
    const trouble = await attempt(
      "grep -h -E 'Error syncing pod|level=error' /share/kubelet.log /share/containerd.log | tail -n 4",
    );
    throw new Error(
      `pod ${name} isn't ${phases.join(" or ")}: ${JSON.stringify((last as PodStatus | null)?.status)}\n${trouble.stdout}`,
    );
  }
  return last;
}

/** What a container has printed so far */
export async function podLog(name: string, container = "main"): Promise<string> {
  const folder = `/var/log/pods/default_${name}-${nodeName}_${(await findPod(name))?.metadata.uid}/${container}`;
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".log")) : [];
  return files
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    .flatMap((file) => readFileSync(`${folder}/${file}`, "utf8").split("\n"))
    .filter(Boolean)
    .map((line) => {
      // CRI's format: time, stream, F for a full line or P for a part of one, text
      const [, part = "F", text = ""] = line.match(/^\S+ \S+ ([FP])\S* (.*)$/) ?? [];
      return part === "F" ? `${text}\n` : text;
    })
    .join("");
}

/** Waits until a container has printed a line, by default "ready", and gives all that it has printed. */
export const podOutput = (name: string, container = "main", line = "ready"): Promise<string> =>
  waitForKubelet(
    `${name}/${container} prints "${line}"`,
    async () => {
      const log = await podLog(name, container);
      return `\n${log}`.includes(`\n${line}\n`) && log;
    },
    90,
  );

/** Waits until the container "main" has started a second time, and gives what it printed each time down to "ready". */
export const podRuns = (name: string): Promise<string[]> =>
  waitForKubelet(
    `${name} runs a second time`,
    async () => {
      const runs = (await podLog(name)).split("ready\n").slice(0, -1);
      return runs.length > 1 && runs;
    },
    90,
  );

/** The runtime's name of a container. */
export const containerId = (name: string, container = "main"): Promise<string> =>
  // The kubelet may tell of a container only after it has printed something.
  waitForKubelet(`container ${container} of ${name}`, async () => {
    const statuses = (await findPod(name))?.status.containerStatuses;
    return statuses?.find((found) => found.name === container)?.containerID?.replace("containerd://", "");
  });

/** Ends a container from outside, as a crash would. */
export async function endContainer(name: string, container = "main", signal = "SIGTERM"): Promise<void> {
  await sh(`ctr -n k8s.io tasks kill --signal ${signal} ${await containerId(name, container)}`);
}

// ---- devices as the kubelet sees them

type Answer<T> = (error: ServiceError | null, response: T) => void;

async function podResources<T>(call: (client: PodResourcesListerClient, answer: Answer<T>) => void): Promise<T> {
  const client = new PodResourcesListerClient(`unix:${podResourcesSocket}`, credentials.createInsecure(), {
    // The kubelet refuses the escaped socket path that would otherwise be the authority.
    "grpc.default_authority": "localhost",
  });
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  call(client, (error, response) => (error ? reject(error) : resolve(response)));
  return promise.finally(() => client.close());
}

export const listPodResources = (): Promise<ListPodResourcesResponse> =>
  podResources<ListPodResourcesResponse>((client, answer) => client.list({}, answer));

const getAllocatableResources = (): Promise<AllocatableResourcesResponse> =>
  podResources<AllocatableResourcesResponse>((client, answer) => client.getAllocatableResources({}, answer));

/** The healthy devices of each resource, whether in use or not: what status.allocatable of the Node counts */
export async function allocatableDevices(): Promise<Record<string, string[]>> {
  return byResource((await getAllocatableResources()).devices);
}

/** Waits until the healthy devices are these, resource by resource; one without any need not be named. */
export async function waitForAllocatable(wanted: Readonly<Record<string, readonly string[]>>): Promise<void> {
  let last: Record<string, string[]> = {};
  const sorted = (lists: Readonly<Record<string, readonly string[]>>) =>
    Object.fromEntries(
      Object.entries(lists)
        .filter(([, ids]) => ids.length > 0)
        .map(([resource, ids]) => [resource, ids.toSorted()]),
    );
  const asked = async () => Bun.deepEquals(sorted((last = await allocatableDevices())), sorted(wanted));
  await waitForKubelet("the devices wanted are allocatable", asked, 90).catch((cause: unknown) => {
    throw new Error(`allocatable is ${JSON.stringify(last)}, not ${JSON.stringify(wanted)}`, { cause });
  });
}

/** The devices that each container of a pod holds: { main: { "example.com/vf": ["0000:41:10.0"] } } */
export async function allocatedDevices(podName: string): Promise<Record<string, Record<string, string[]>>> {
  const { podResources } = await listPodResources();
  const found = podResources.find(({ name }) => name === `${podName}-${nodeName}`);
  return Object.fromEntries((found?.containers ?? []).map(({ name, devices }) => [name, byResource(devices)]));
}

function byResource(devices: readonly ContainerDevices[]): Record<string, string[]> {
  // One entry a device or one for many, as the kubelet likes.
  const groups = Map.groupBy(devices, ({ resourceName }) => resourceName);
  return Object.fromEntries(
    [...groups].map(([resource, entries]) => [
      resource,
      [...new Set(entries.flatMap(({ deviceIds }) => deviceIds))].sort(),
    ]),
  );
}

export interface Checkpoint {
  /** healthy devices of each registered resource */
  readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>;
  readonly PodDeviceEntries:
    | readonly {
        readonly PodUID: string;
        readonly ContainerName: string;
        readonly ResourceName: string;
        /** by NUMA node, -1 for none */
        readonly DeviceIDs: Readonly<Record<string, readonly string[]>>;
        /** ContainerAllocateResponse, base64 */
        readonly AllocResp: string;
      }[]
    | null;
}

export const checkpointFile = `${devicePlugins}/kubelet_internal_checkpoint`;

/** The device manager's checkpoint, which it writes on every change; there is none before the first registration. */
export const readCheckpoint = (): Checkpoint =>
  (JSON.parse(readFileSync(checkpointFile, "utf8")) as { Data: Checkpoint }).Data;

// ---- pod networks

/** Lets pods have a network of their own, into which the CNI plugin (programs/cni.ts) moves the netdevs of their devices as
 *  net1, net2 …, and back again afterwards. Containerd must not run yet. */
function installCni(): void {
  mkdirSync("/opt/cni/bin", { recursive: true });
  mkdirSync("/etc/cni/net.d", { recursive: true });
  writeFileSync("/opt/cni/bin/vf", `#!/usr/bin/dash\nexport BUN_BE_BUN=1\nexec ${executable} /payload/cni.js\n`);
  chmodSync("/opt/cni/bin/vf", 0o755);
  // containerd asks this one for lo in every pod.
  rmSync("/opt/cni/bin/loopback", { force: true });
  symlinkSync("vf", "/opt/cni/bin/loopback");
  writeFileSync(
    "/etc/cni/net.d/10-vf.conflist",
    JSON.stringify({ cniVersion: "1.0.0", name: "vf", plugins: [{ type: "vf" }] }),
  );
}
