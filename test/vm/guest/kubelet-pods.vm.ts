// boot: disk=node memory=3072 limit=400
// What pods get: the genuine kubelet allocates devices of the plugin to pods, on NUMA nodes that belong together.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  container,
  endContainer,
  freshNode,
  type Kubelet,
  pod,
  podLog,
  podOutput,
  putPod,
  removePod,
  removePods,
  secondOutput,
  startKubelet,
  stay,
  waitForPhase,
} from "./node.ts";
import { allocatableDevices, allocatedDevices, readCheckpoint, waitForAllocatable } from "./kubelet-devices.ts";
import { ContainerAllocateResponse } from "../../../src/kubelet/api/deviceplugin.ts";
import { startPluginIn, writeConfig } from "./plugin.ts";
import {
  bind,
  createVfs,
  devicePath,
  iommuGroupOf,
  loadModules,
  netdevOf,
  netdevsOf,
  pf0,
  pf1,
  type Program,
  readSys,
  waitFor,
  writeSys,
} from "./support.ts";

let kubelet: Kubelet;
let plugin: Program;
/** the only device of the pool "few" */
let few = "";
const dpdk: string[] = [];
const net: string[] = [];

beforeAll(async () => {
  await freshNode();
  await loadModules("vfio-pci", "igbvf", "vhost_net", "tun");
  // Below each PF 4 VFs for DPDK and some with an interface, and a further one for DPDK below the second PF.
  for (const [pf, forDpdk] of [
    [pf0, 4],
    [pf1, 5],
  ] as const) {
    writeSys(`${devicePath(pf)}/sriov_drivers_autoprobe`, "0");
    const vfs = await createVfs(pf, 7);
    for (const [index, vf] of vfs.entries()) await bind(vf, index < forDpdk ? "vfio-pci" : "igbvf");
    writeSys(`${devicePath(pf)}/sriov_drivers_autoprobe`, "1");
    dpdk.push(...vfs.slice(0, 4));
    few = vfs[4] ?? "";
    net.push(...vfs.slice(forDpdk));
  }
  await Promise.all(net.map(netdevOf));
  writeConfig(
    { resourceName: "few", selectors: [{ pciAddresses: [few] }] },
    { resourceName: "dpdk", selectors: [{ drivers: ["vfio-pci"], needVhostNet: true }] },
    { resourceName: "net", selectors: [{ pfNames: ["pf0", "pf1"], linkTypes: ["ether"] }] },
  );
  kubelet = await startKubelet({ topologyManagerPolicy: "single-numa-node" });
});

afterEach(() => removePods());

afterAll(async () => {
  await kubelet?.stop();
});

const offered = () => ({ "test.io/few": [few], "test.io/dpdk": dpdk, "test.io/net": net });

const numaNodeOf = (bdf: string): number => Number(readSys(`${devicePath(bdf)}/numa_node`));
const numaNodesOf = (devices: readonly string[]): number[] => [...new Set(devices.map(numaNodeOf))];

/** Prints what a container has of devices, and opens all VFIO nodes: the device cgroup must let it. */
const show = `env | grep ^PCIDEVICE_ | sort
for node in /dev/vfio/* /dev/vhost-net; do if [ -c "$node" ]; then : <"$node" && echo "node $node"; fi; done
echo ready`;
const showAndStay = `${show}\n${stay}`;

/** The device nodes that a container could open */
const nodesIn = (output: string): string[] =>
  output.split("\n").flatMap((line) => (line.startsWith("node ") ? [line.slice(5)] : []));

/** The device nodes that belong to these VFs */
const nodesOf = (...vfs: readonly string[]): string[] =>
  [...vfs.map((vf) => `/dev/vfio/${iommuGroupOf(vf)}`), "/dev/vfio/vfio", "/dev/vhost-net"].toSorted();

/** The devices in a container's variable for a resource of test.io */
function devicesIn(output: string, resource: string): string[] {
  const variable = `PCIDEVICE_TEST_IO_${resource.toUpperCase()}=`;
  const line = output.split("\n").find((found) => found.startsWith(variable));
  return line?.slice(variable.length).split(",") ?? [];
}

describe.each(["watcher", "legacy"] as const)("in %s mode", (mode) => {
  beforeAll(async () => {
    plugin = startPluginIn(mode);
    await waitForAllocatable(offered());
  });

  afterAll(async () => {
    await plugin?.stop();
  });

  test("pods get the devices that they ask for, from one NUMA node, with variables and device nodes", async () => {
    const asking = { one: 1, four: 4 };
    for (const [name, count] of Object.entries(asking))
      putPod(pod(name, [container(showAndStay, { "test.io/dpdk": count })]));
    for (const [name, count] of Object.entries(asking)) {
      await waitForPhase(name, "Running");
      const output = await podOutput(name);
      const devices = devicesIn(output, "dpdk");
      expect(devices).toHaveLength(count);
      expect(await allocatedDevices(name)).toEqual({ main: { "test.io/dpdk": devices.toSorted() } });
      expect(numaNodesOf(devices)).toHaveLength(1);
      expect(nodesIn(output).toSorted()).toEqual(nodesOf(...devices));
      const [, info = ""] = output.match(/^PCIDEVICE_TEST_IO_DPDK_INFO=(.*)$/m) ?? [];
      expect(Object.keys(JSON.parse(info)).toSorted()).toEqual(devices.toSorted());
    }
    expect((await allocatableDevices())["test.io/dpdk"]).toEqual(dpdk.toSorted());
  });
});

describe("in one pod", () => {
  beforeAll(async () => {
    plugin = startPluginIn("watcher");
    await waitForAllocatable(offered());
  });

  afterAll(async () => {
    await plugin?.stop();
  });

  test("a pod that no single NUMA node can satisfy is refused", async () => {
    putPod(pod("five", [container("true", { "test.io/dpdk": 5 })]));
    expect((await waitForPhase("five", "Failed")).status.reason).toBe("TopologyAffinityError");
  });

  test("two pools serve one container, which takes over from an init container and leaves a sidecar its own", async () => {
    const sidecar = { ...container(showAndStay, { "test.io/net": 1 }, "sidecar"), restartPolicy: "Always" };
    const init = container(show, { "test.io/net": 1 }, "init");
    const main = container(showAndStay, { "test.io/net": 1, "test.io/dpdk": 2 });
    putPod(pod("mixed", [main], { initContainers: [sidecar, init] }));
    await waitForPhase("mixed", "Running");
    const output = await podOutput("mixed");
    const mainNet = devicesIn(output, "net");
    const mainDpdk = devicesIn(output, "dpdk");
    expect(mainDpdk).toHaveLength(2);
    expect(numaNodesOf([...mainNet, ...mainDpdk])).toHaveLength(1);
    expect(devicesIn(await podLog("mixed", "init"), "net")).toEqual(mainNet);
    const sidecarNet = devicesIn(await podLog("mixed", "sidecar"), "net");
    expect(sidecarNet).toHaveLength(1);
    expect(sidecarNet).not.toEqual(mainNet);
    expect(await allocatedDevices("mixed")).toEqual({
      sidecar: { "test.io/net": sidecarNet },
      main: { "test.io/net": mainNet, "test.io/dpdk": mainDpdk.toSorted() },
    });
  });

  test("a container that is restarted in its pod has the device that it had", async () => {
    putPod(pod("restarting", [container(showAndStay, { "test.io/dpdk": 1 })], { restartPolicy: "Always" }));
    const first = await podOutput("restarting");
    await endContainer("restarting");
    expect(devicesIn(first, "dpdk")).toHaveLength(1);
    expect(await secondOutput("restarting")).toBe(first);
    expect((await allocatableDevices())["test.io/dpdk"]).toEqual(dpdk.toSorted());
  });

  test("a device is free again when its pod is deleted, and not before", async () => {
    const asking = (name: string) => pod(name, [container(showAndStay, { "test.io/few": 1 })]);
    putPod(asking("first"));
    expect(devicesIn(await podOutput("first"), "few")).toEqual([few]);
    putPod(asking("second"));
    expect((await waitForPhase("second", "Failed")).status.reason).toBe("TopologyAffinityError");
    expect(await allocatableDevices()).toHaveProperty(["test.io/few"], [few]);
    await removePod("first");
    expect(await allocatableDevices()).toHaveProperty(["test.io/few"], [few]);
    putPod(asking("third"));
    expect(devicesIn(await podOutput("third"), "few")).toEqual([few]);
  });

  test("a CNI plugin moves the interface of the pod's device into it, and the node gets it back", async () => {
    const names = new Map(await Promise.all(net.map(async (vf) => [vf, await netdevOf(vf)] as const)));
    putPod(pod("networked", [container(`ip -o link; ${showAndStay}`, { "test.io/net": 1 })], { hostNetwork: false }));
    const output = await podOutput("networked");
    const [device = ""] = devicesIn(output, "net");
    expect(output).toMatch(/ net1: <[^>]*\bUP\b/);
    expect(netdevsOf(device)).toEqual([]);
    expect(await allocatableDevices()).toHaveProperty(["test.io/net"], net.toSorted());
    await removePod("networked");
    await waitFor("the interface has its name again", () => netdevsOf(device)[0] === names.get(device));
    expect(await allocatableDevices()).toHaveProperty(["test.io/net"], net.toSorted());
  });
});

describe("with --use-cdi", () => {
  beforeAll(async () => {
    plugin = startPluginIn("watcher", "--use-cdi");
    await waitForAllocatable(offered());
  });

  afterAll(async () => {
    await plugin?.stop();
  });

  test("the runtime gives a container the device nodes of its pools, also when it restarts while the plugin is away", async () => {
    const requests = { "test.io/few": 1, "test.io/dpdk": 1, "test.io/net": 1 };
    putPod(pod("cdi", [container(showAndStay, requests)], { restartPolicy: "Always" }));
    const output = await podOutput("cdi");
    const [mine = ""] = devicesIn(output, "dpdk");
    expect(devicesIn(output, "few")).toEqual([few]);
    expect(devicesIn(output, "net")).toHaveLength(1);
    expect(nodesIn(output).toSorted()).toEqual(nodesOf(few, mine));
    const answers = readCheckpoint().PodDeviceEntries?.map(({ AllocResp }) =>
      ContainerAllocateResponse.decode(Buffer.from(AllocResp, "base64")),
    );
    expect(answers?.flatMap(({ devices }) => devices)).toEqual([]);
    expect(answers?.flatMap(({ cdiDevices }) => cdiDevices.map(({ name }) => name)).toSorted()).toEqual(
      [few, mine].map((vf) => `test.io/net-pci=${vf}`).toSorted(),
    );
    await plugin.stop();
    await endContainer("cdi");
    expect(await secondOutput("cdi")).toBe(output);
  });
});
