// boot: disk=node memory=3072 limit=600 needs=image
// The container image as a cluster runs it: imported into containerd, started by the genuine kubelet as a static pod that is made from the
// shipped DaemonSet, with its security context, mounts and probes; and as the SR-IOV network operator's manifest would start it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import daemonSetText from "../../../deployments/base/daemonset.yaml" with { type: "text" };
import { settings } from "../../../scripts/build/environment.ts";
import { type DaemonSet, objectsOf, only } from "../../support/kubernetes.ts";
import {
  container,
  type Container,
  containerId,
  endContainer,
  findPod,
  freshNode,
  type Kubelet,
  type Pod,
  pod,
  podOutput,
  putPod,
  removePods,
  startKubelet,
  stay,
  waitForPhase,
} from "./node.ts";
import { type Checkpoint, readCheckpoint, waitForAllocatable } from "./kubelet-devices.ts";
import { pluginsRegistry } from "./kubelet-paths.ts";
import { writeConfigFile } from "./plugin.ts";
import {
  bind,
  createVfs,
  devicePath,
  iommuGroupOf,
  loadModules,
  netdevOf,
  pf0,
  sh,
  waitFor,
  writeSys,
} from "./support.ts";

const shipped = only<DaemonSet>(objectsOf(daemonSetText as unknown as string), "DaemonSet").spec.template.spec;
const [shippedContainer] = shipped.containers;
if (!shippedContainer) throw new Error("the DaemonSet has no container");
const { image } = shippedContainer;
const configFolder = "/etc/image-config";

let kubelet: Kubelet;
let dpdk: string[] = [];
let net: string[] = [];

beforeAll(async () => {
  await freshNode();
  await loadModules("vfio-pci", "igbvf");
  writeSys(`${devicePath(pf0)}/sriov_drivers_autoprobe`, "0");
  const vfs = await createVfs(pf0, 4);
  for (const [index, vf] of vfs.entries()) await bind(vf, index < 2 ? "vfio-pci" : "igbvf");
  writeSys(`${devicePath(pf0)}/sriov_drivers_autoprobe`, "1");
  dpdk = vfs.slice(0, 2);
  net = vfs.slice(2);
  offered = { "intel.com/dpdk": dpdk, "intel.com/net": net };
  await Promise.all(net.map(netdevOf));
  await sh("ctr -n k8s.io images import --local /payload/image.tar");
  const pools = [
    { resourceName: "dpdk", selectors: [{ drivers: ["vfio-pci"] }] },
    { resourceName: "net", selectors: [{ drivers: ["igbvf"], pfNames: ["pf0"] }] },
  ];
  // The kubelet alone has no ConfigMaps: what it would mount of one is a folder of the node. The operator's has a key a node.
  for (const key of ["config.json", "lab"]) writeConfigFile(`${configFolder}/${key}`, ...pools);
  kubelet = await startKubelet();
});

afterAll(async () => {
  await kubelet?.stop();
  rmSync("/var/run/cdi", { recursive: true, force: true });
});

let offered: Record<string, string[]> = {};

/** A static pod of these containers: what refers to objects of a cluster is taken out of the spec, and ConfigMaps are folders. */
function staticPod(name: string, spec: object, containers: readonly object[], volumes: readonly object[]): Pod {
  const { serviceAccountName: _, priorityClassName: __, ...kept } = spec as Record<string, unknown>;
  const local = volumes.map((volume) =>
    "configMap" in volume && "name" in volume
      ? { name: volume.name, hostPath: { path: configFolder, type: "Directory" } }
      : volume,
  );
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { ...kept, containers: containers as readonly Container[], volumes: local },
  };
}

/** Starts a pod that has a device of each pool; returns its variables and the nodes that it could open, and its VFs. */
async function devicesOfConsumer(): Promise<{ output: string; vfs: { dpdk: string; net: string } }> {
  const show = `env | grep ^PCIDEVICE_ | sort
for node in /dev/vfio/*; do : <"$node" && echo "node $node"; done
echo ready`;
  putPod(pod("consumer", [container(`${show}\n${stay}`, { "intel.com/dpdk": 1, "intel.com/net": 1 })]));
  await waitForPhase("consumer", "Running");
  const output = await podOutput("consumer");
  const variable = (pool: string) => new RegExp(`^PCIDEVICE_INTEL_COM_${pool}=(.*)$`, "m").exec(output)?.[1] ?? "";
  return { output, vfs: { dpdk: variable("DPDK"), net: variable("NET") } };
}

/** The process of a container, as the host numbers it. */
async function processOf(name: string): Promise<{ pid: string; status: Record<string, string>; mounts: string[] }> {
  const id = await containerId(name, "kube-sriovdp");
  const pid = (await sh(`ctr -n k8s.io tasks ls | awk '$1 == "${id}" { print $2 }'`)).trim();
  const status = Object.fromEntries(
    readFileSync(`/proc/${pid}/status`, "utf8")
      .split("\n")
      .map((line) => line.split(/:\s+/) as [string, string]),
  );
  return { pid, status, mounts: readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n") };
}

/** Runs the executable once more in the container, as kubectl exec and the probes do. */
const inContainer = async (name: string, ...command: readonly string[]): Promise<string> =>
  sh(
    `ctr -n k8s.io tasks exec --exec-id e${crypto.randomUUID()} ${await containerId(name, "kube-sriovdp")} /usr/bin/sriovdp ${command.join(" ")}`,
  );

const waitUntilReady = (name: string) =>
  waitFor(
    `${name} is ready by its probes`,
    async () => {
      await Bun.sleep(500);
      const [status] = (await findPod(name))?.status.containerStatuses ?? [];
      return status?.started === true && status.ready === true && status;
    },
    150,
  );

const restarted = async (name: string): Promise<boolean> =>
  ((await findPod(name))?.status.containerStatuses?.[0]?.restartCount ?? 0) > 0;

describe("as the shipped DaemonSet runs it", () => {
  beforeAll(async () => {
    putPod(staticPod("sriovdp", shipped, shipped.containers, shipped.volumes));
    await waitForPhase("sriovdp", "Running");
    await waitForAllocatable(offered);
  });

  afterAll(() => removePods());

  test("pools are registered, a pod gets its VFs, and the probes say ready", async () => {
    const { output, vfs } = await devicesOfConsumer();
    expect(dpdk).toContain(vfs.dpdk);
    expect(net).toContain(vfs.net);
    // The plugin does not see the host's /dev; the nodes are given all the same.
    expect(output).toContain(`node /dev/vfio/${iommuGroupOf(vfs.dpdk)}\n`);
    expect(existsSync(`/var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-net-${vfs.net}-device.json`)).toBe(true);
    const status = await waitUntilReady("sriovdp");
    expect(status.restartCount).toBe(0);
    expect(await inContainer("sriovdp", "probe", "liveness")).toBe("ok\n");
    const shown = JSON.parse(await inContainer("sriovdp", "status", "-o", "json")) as {
      pools: { resource: string }[];
    };
    expect(shown.pools.map(({ resource }) => resource).toSorted()).toEqual(["intel.com/dpdk", "intel.com/net"]);
  });

  test("the kernel holds it to the manifest: no capability, seccomp's filter, no new privileges, nothing to write to, no token", async () => {
    const { pid, status, mounts } = await processOf("sriovdp");
    expect(status).toMatchObject({ Seccomp: "2", NoNewPrivs: "1", Uid: "0\t0\t0\t0" });
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(status[set]).toBe("0000000000000000");
    const mountAt = (path: string) => mounts.find((line) => line.split(" ")[4] === path)?.split(" ")[5] ?? "none";
    expect(mountAt("/")).toMatch(/^ro\b/);
    expect(mountAt("/etc/pcidp")).toMatch(/^ro\b/);
    expect(mountAt("/var/lib/kubelet/pod-resources")).toMatch(/^ro\b/);
    expect(mountAt("/host/sys/fs/cgroup")).toMatch(/^ro\b/);
    expect(mounts.join("\n")).not.toContain("serviceaccount");
    const variables = readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .filter((line) => /BUN|MIMALLOC|KUBERNETES|SERVICE/.test(line));
    expect(variables).toEqual([...settings]);
    // No shell and no other program is in there.
    expect(readdirSync(`/proc/${pid}/root/usr/bin`)).toEqual(["sriovdp"]);
    expect(statSync(`/proc/${pid}/root/run/sriovdp/status.sock`).mode & 0o077).toBe(0);
    const group = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().replace(/^0::/, "/sys/fs/cgroup");
    expect(readFileSync(`${group}/memory.max`, "utf8").trim()).toBe(String(256 << 20));
    console.log(
      `memory of the container with 4 VFs: peak ${(Number(readFileSync(`${group}/memory.peak`, "utf8")) / 2 ** 20).toFixed(0)} MiB`,
    );
  });

  test("a container that is killed is started again, and its devices are back", async () => {
    await endContainer("sriovdp", "kube-sriovdp", "SIGKILL");
    await waitFor("the container is started again", () => restarted("sriovdp"), 90);
    await waitForAllocatable(offered);
    const checkpoint: Checkpoint = readCheckpoint();
    expect(Object.keys(checkpoint.RegisteredDevices).toSorted()).toEqual(["intel.com/dpdk", "intel.com/net"]);
  });
});

test("a plugin that hangs is started again by its liveness probe", async () => {
  // Probed more often than by the shipped one, which may wait for minutes.
  const livenessProbe = { ...shippedContainer.livenessProbe, periodSeconds: 3, failureThreshold: 2 };
  putPod(staticPod("hanging", shipped, [{ ...shippedContainer, livenessProbe }], shipped.volumes));
  await waitForPhase("hanging", "Running");
  await waitForAllocatable(offered);
  // Until the startup probe has passed there is no liveness probe.
  await waitUntilReady("hanging");
  const { pid } = await processOf("hanging");
  await sh(`kill -STOP ${pid}`);
  await waitFor("the container is started again", () => restarted("hanging"), 150);
  await waitForAllocatable(offered);
  expect((await processOf("hanging")).pid).not.toBe(pid);
  await removePods();
});

/** A folder of the node in the container, at the same path. */
type Folders = Readonly<Record<string, string>>;

const deviceInfo = "/var/run/k8s.cni.cncf.io/devinfo/dp";

/**
 * How others' manifests run the upstream plugin's image, without what refers to a cluster: arguments, mounts, privileges; no probes. Without
 * pod-resources a plugin goes by the kubelet's checkpoint and by pods' cgroups, which a privileged container sees.
 */
const others = {
  "the SR-IOV network operator": {
    args: ["--log-level=10", "--resource-prefix=intel.com", "--config-file=/etc/pcidp/$(NODE_NAME)", "--use-cdi"],
    env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
    securityContext: { privileged: true, readOnlyRootFilesystem: true },
    folders: {
      devicesock: "/var/lib/kubelet/device-plugins",
      "plugins-registry": pluginsRegistry,
      "device-info": deviceInfo,
      "dynamic-cdi": "/var/run/cdi",
    } as Folders,
    left: () => {
      // VFs with an interface have no nodes, and so no spec.
      expect(readdirSync("/var/run/cdi")).toEqual(["sriov-dp-intel.com-net-pci-dpdk.yaml"]);
      // There is no other place for its own socket; it can be queried there, and the kubelet passes over it.
      expect(readdirSync(pluginsRegistry)).toContain(".sriovdp-status.sock");
    },
  },
  "the upstream plugin's manifest": {
    args: ["--log-dir=sriovdp", "--log-level=10"],
    env: [],
    securityContext: { privileged: true },
    folders: { devicesock: "/var/lib/kubelet/", log: "/var/log", "device-info": deviceInfo } as Folders,
    left: () => expect(readFileSync("/var/log/sriovdp/sriovdp.log", "utf8")).toContain(" ready "),
  },
};

describe.each(Object.entries(others))("as %s runs the upstream plugin's image", (_, { folders, left, ...settings }) => {
  const volumes = [
    ...Object.entries(folders).map(([name, path]) => ({ name, hostPath: { path, type: "DirectoryOrCreate" } })),
    { name: "config-volume", configMap: { name: "device-plugin-config" } },
  ];
  const manifest = {
    ...settings,
    name: "kube-sriovdp",
    image,
    imagePullPolicy: "IfNotPresent",
    resources: { requests: { cpu: "10m", memory: "50Mi" } },
    volumeMounts: [
      ...Object.entries(folders).map(([name, mountPath]) => ({ name, mountPath })),
      { name: "config-volume", mountPath: "/etc/pcidp", readOnly: true },
    ],
  };
  const spec = { hostNetwork: true, tolerations: [{ operator: "Exists" }] };

  afterAll(() => removePods());

  test("pools are registered, a pod gets its VFs, and the plugin can be queried", async () => {
    putPod(staticPod("others", spec, [manifest], volumes));
    await waitForPhase("others", "Running");
    await waitForAllocatable(offered);
    const { output, vfs } = await devicesOfConsumer();
    expect(dpdk).toContain(vfs.dpdk);
    expect(output).toContain(`node /dev/vfio/${iommuGroupOf(vfs.dpdk)}\n`);
    left();
    expect(await inContainer("others", "probe", "readiness")).toBe("ok\n");
  });
});
