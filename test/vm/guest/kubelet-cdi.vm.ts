// boot: disk=node memory=3072 limit=400
// How the genuine runtime handles CDI: with devices that are named by annotations, and with nodes that change.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { ContainerAllocateResponse } from "../../../src/kubelet/api/deviceplugin.ts";
import {
  container,
  endContainer,
  freshNode,
  type Kubelet,
  pod,
  podOutput,
  putPod,
  removePods,
  secondOutput,
  startKubelet,
  stay,
} from "./node.ts";
import { readCheckpoint, waitForAllocatable } from "./kubelet-devices.ts";
import { startPluginIn, writeConfig } from "./plugin.ts";
import {
  addNetns,
  addRdma,
  bind,
  createVfs,
  deleteNetns,
  devicePath,
  iommuGroupOf,
  loadModules,
  netdevOf,
  pf0,
  pf1,
  type Program,
  rdmaDevicesOf,
  readSys,
  sh,
  waitFor,
  writeSys,
} from "./support.ts";

let kubelet: Kubelet;
let plugin: Program;

beforeAll(async () => {
  await freshNode();
  await loadModules("vfio-pci", "igbvf");
  kubelet = await startKubelet();
});

afterEach(() => removePods());

afterAll(async () => {
  await kubelet?.stop();
});

/** Makes VFs below a PF and binds all to vfio-pci. */
async function createDpdkVfs(pf: string, count: number): Promise<string[]> {
  writeSys(`${devicePath(pf)}/sriov_drivers_autoprobe`, "0");
  const vfs = await createVfs(pf, count);
  for (const vf of vfs) await bind(vf, "vfio-pci");
  writeSys(`${devicePath(pf)}/sriov_drivers_autoprobe`, "1");
  return vfs;
}

/** Prints the nodes of VFIO and RDMA that a container has, and those that it can open. */
const show = `for node in /dev/vfio/[0-9]* /dev/infiniband/uverbs*; do
  if [ -c "$node" ]; then echo "has $node"; (: <"$node") 2>/dev/null && echo "node $node"; fi; done
echo ready
${stay}`;

const nodesIn = (output: string): string[] =>
  output.split("\n").flatMap((line) => (line.startsWith("node ") ? [line.slice(5)] : []));

const groupNodes = (...vfs: readonly string[]): string[] => vfs.map((vf) => `/dev/vfio/${iommuGroupOf(vf)}`).toSorted();

/** What Allocate answered, as the kubelet keeps it. */
const answers = (): ContainerAllocateResponse[] =>
  (readCheckpoint().PodDeviceEntries ?? []).map(({ AllocResp }) =>
    ContainerAllocateResponse.decode(Buffer.from(AllocResp, "base64")),
  );

/** The nodes in the spec of a pool, by device. */
function specOf(pool: string): Record<string, string[]> {
  const file = `/var/run/cdi/sriov-dp-test.io-net-pci-${pool}.yaml`;
  if (!existsSync(file)) return {};
  const { devices } = parse(readFileSync(file, "utf8")) as {
    devices: { name: string; containerEdits: { deviceNodes: { hostPath: string }[] } }[];
  };
  return Object.fromEntries(
    devices.map(({ name, containerEdits }) => [name, containerEdits.deviceNodes.map(({ hostPath }) => hostPath)]),
  );
}

describe("by annotations", () => {
  afterAll(async () => {
    await plugin?.stop();
  });

  test("the runtime gives a container the device nodes of two pools of one kind", async () => {
    const [first = "", second = ""] = await createDpdkVfs(pf0, 2);
    writeConfig(
      { resourceName: "first", selectors: [{ pciAddresses: [first] }] },
      { resourceName: "second", selectors: [{ pciAddresses: [second] }] },
    );
    plugin = startPluginIn("watcher", "--use-cdi", "--cdi-mode=annotations");
    await waitForAllocatable({ "test.io/first": [first], "test.io/second": [second] });
    putPod(pod("annotated", [container(show, { "test.io/first": 1, "test.io/second": 1 })]));
    expect(nodesIn(await podOutput("annotated")).toSorted()).toEqual(groupNodes(first, second));
    expect(answers().flatMap(({ cdiDevices, devices }) => [...cdiDevices, ...devices])).toEqual([]);
    expect(Object.assign({}, ...answers().map(({ annotations }) => annotations))).toEqual({
      "cdi.k8s.io/test.io_net-pci_first": `test.io/net-pci=${first}`,
      "cdi.k8s.io/test.io_net-pci_second": `test.io/net-pci=${second}`,
    });
  });
});

describe("nodes that change", () => {
  let vfs: string[] = [];

  beforeAll(async () => {
    await createVfs(pf0, 0);
    vfs = await createDpdkVfs(pf1, 2);
    writeConfig(
      { resourceName: "dpdk", selectors: [{ drivers: ["vfio-pci"] }] },
      { resourceName: "rdma", selectors: [{ isRdma: true }] },
    );
    plugin = startPluginIn("watcher", "--use-cdi");
    await waitForAllocatable({ "test.io/dpdk": vfs });
  });

  afterAll(async () => {
    await plugin?.stop();
  });

  test("a VF that has another VFIO group after it was re-created is allocated by that", async () => {
    const [vf = ""] = vfs;
    const before = iommuGroupOf(vf);
    expect(specOf("dpdk")[vf]).toContain(`/dev/vfio/${before}`);
    await createVfs(pf1, 0);
    // Takes the groups that are free now, so that others are left for the VFs below pf1.
    await createDpdkVfs(pf0, 2);
    await createDpdkVfs(pf1, 2);
    const now = iommuGroupOf(vf);
    expect(now).not.toBe(before);
    await waitFor("the spec names the new group", () => specOf("dpdk")[vf]?.includes(`/dev/vfio/${now}`));
    await createVfs(pf0, 0);
    await waitForAllocatable({ "test.io/dpdk": vfs });
    putPod(pod("renumbered", [container(show, { "test.io/dpdk": 2 })]));
    expect(nodesIn(await podOutput("renumbered")).toSorted()).toEqual(groupNodes(...vfs));
  });

  test("an RDMA device that came is given, also to a container that restarts while it is in the pod's network", async () => {
    const [vf = ""] = await createVfs(pf0, 1);
    const netdev = await netdevOf(vf);
    await sh(`ip link set ${netdev} up`);
    await sh("rdma system set netns exclusive");
    expect(specOf("rdma")).toEqual({});
    await addRdma("rxe0", netdev);
    await waitForAllocatable({ "test.io/dpdk": vfs, "test.io/rdma": [vf] });
    const [verbs = ""] = readdirSync(`${devicePath(vf)}/infiniband_verbs`);
    expect(readSys(`${devicePath(vf)}/infiniband_verbs/${verbs}/ibdev`)).toBe("rxe0");
    expect(specOf("rdma")[vf]).toContain(`/dev/infiniband/${verbs}`);
    putPod(pod("rdma", [container(show, { "test.io/rdma": 1 })], { restartPolicy: "Always" }));
    expect(nodesIn(await podOutput("rdma"))).toEqual([`/dev/infiniband/${verbs}`]);
    await addNetns("held");
    await sh("rdma dev set rxe0 netns held");
    await waitFor("the RDMA device is away", () => rdmaDevicesOf(vf).length === 0);
    await endContainer("rdma");
    // In this lab the pod is in the host's network, from where it may not be opened now.
    expect(await secondOutput("rdma")).toContain(`has /dev/infiniband/${verbs}`);
    expect(specOf("rdma")[vf]).toContain(`/dev/infiniband/${verbs}`);
    await deleteNetns("held");
    await waitFor("the RDMA device is back", () => rdmaDevicesOf(vf).length === 1);
    await removePods();
    await sh("rdma link delete rxe0");
    await waitFor("the spec is gone with it", () => Object.keys(specOf("rdma")).length === 0);
    await sh("rdma system set netns shared");
  });
});
