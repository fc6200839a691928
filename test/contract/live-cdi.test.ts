// Do the CDI specs say what is so? Devices and their nodes come, go and change while the plugin runs, or while it is away.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { parse } from "yaml";
import type { CdiSpec } from "../../src/allocation/cdi.ts";
import {
  addRdma,
  addVf,
  functionsChanged,
  moveNetdevAway,
  removeFunction,
  removeRdma,
  renumberGroup,
  setLink,
} from "../support/live.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { until } from "../support/until.ts";
import type { TestNode } from "../support/plugin.ts";
import { healthy, listed, rescan, running } from "./live.ts";

setDefaultTimeout(30_000);

const a = "intel.com/a";
const b = "intel.com/b";

/** A PF with 4 VFs for DPDK: 0000:3b:01.0 to 01.3, in VFIO groups 2 to 5. */
const dpdk: NodePlan = { pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 4, driver: "vfio-pci" }] }] };
const vf = (index: number) => `0000:3b:01.${index}`;

/** Pools by the indexes of the VFs that they select. */
const poolsOf = (pools: Readonly<Record<string, string>>) => ({
  resourceList: Object.entries(pools).map(([resourceName, indexes]) => ({
    resourceName,
    selectors: { pfNames: [`ens1f0#${indexes}`] },
  })),
});

const start = (pools: Readonly<Record<string, string>>, ...args: readonly string[]) =>
  running({
    node: dpdk,
    config: poolsOf(pools),
    resources: Object.keys(pools).map((name) => `intel.com/${name}`),
    args: ["--use-cdi", ...args],
  });

const specFile = (node: TestNode, pool: string) => `${node.cdiFolder}/sriov-dp-intel.com-net-pci-${pool}.yaml`;

/** The devices in each of the plugin's specs, and the nodes of each that are not VFIO's own; "" for a file that is not there. */
function specs(node: TestNode): Record<string, Record<string, string>> {
  const files = node.names(node.cdiFolder).filter((name) => name.endsWith(".yaml"));
  const found = files.map((name) => {
    const { devices } = parse(readFileSync(`${node.cdiFolder}/${name}`, "utf8")) as CdiSpec;
    const nodes = devices.map(({ name, containerEdits: { deviceNodes } }) => [
      name,
      deviceNodes
        .map(({ hostPath }) => hostPath)
        .filter((path) => path !== "/dev/vfio/vfio")
        .join(" "),
    ]);
    return [name.replace(/^sriov-dp-intel\.com-net-pci-|\.yaml$/g, ""), Object.fromEntries(nodes)] as const;
  });
  return Object.fromEntries(found);
}

const specsToBe = (node: TestNode, expected: Record<string, Record<string, string>>) =>
  until("the CDI specs are as expected", () => Bun.deepEquals(specs(node), expected), {
    found: () => `${JSON.stringify(specs(node))}\n${node.plugin.log}`,
  });

describe.concurrent("a container with devices of two pools of one kind", () => {
  test("has them in two annotations, since the kubelet merges annotations by key", async () => {
    await using node = await start({ a: "0-1", b: "2-3" }, "--cdi-mode=annotations");
    const answers = [
      await node.kubelet.allocate(a, [vf(0), vf(1)], { pod: "pod" }),
      await node.kubelet.allocate(b, [vf(3)], { pod: "pod" }),
    ];
    expect(Object.assign({}, ...answers.map(({ annotations }) => annotations))).toEqual({
      "cdi.k8s.io/intel.com_net-pci_a": `intel.com/net-pci=${vf(0)},intel.com/net-pci=${vf(1)}`,
      "cdi.k8s.io/intel.com_net-pci_b": `intel.com/net-pci=${vf(3)}`,
    });
    expect(answers.flatMap(({ cdiDevices, devices }) => [...cdiDevices, ...devices])).toEqual([]);
    expect(node.plugin.log).not.toContain("has no effect");
  });
});

test("a way of naming CDI devices without CDI has no effect, and is warned about", async () => {
  await using node = await running({
    node: dpdk,
    config: poolsOf({ a: "0-3" }),
    resources: [a],
    args: ["--cdi-mode=annotations"],
  });
  await node.plugin.waitForLine(/WARN .*--cdi-mode has no effect without --use-cdi/);
  expect((await node.kubelet.allocate(a, 1)).annotations).toEqual({});
  expect(specs(node)).toEqual({});
});

describe.concurrent("specs follow", () => {
  test("the config: two devices that change places are named once each", async () => {
    await using node = await start({ a: "0-1", b: "2-3" });
    node.configure(poolsOf({ a: "0,3", b: "1-2" }));
    await specsToBe(node, {
      a: { [vf(0)]: "/dev/vfio/2", [vf(3)]: "/dev/vfio/5" },
      b: { [vf(1)]: "/dev/vfio/3", [vf(2)]: "/dev/vfio/4" },
    });
  });

  test("VFs that come and go", async () => {
    await using node = await start({ a: "0-9" });
    const added = addVf(node.root, "0000:3b:00.0");
    await node.kubelet.waitForAllocatable(a, 5);
    expect(specs(node)["a"]?.[added]).toBe("/dev/vfio/6");
    removeFunction(node.root, added);
    await node.kubelet.waitForAllocatable(a, 4);
    await until("the VF left the spec", () => specs(node)["a"]?.[added] === undefined);
  });

  test("RDMA devices that come and go, and not those that are in a pod for a while", async () => {
    const [id, other] = ["0000:d8:01.0", "0000:d8:01.1"];
    const nodesOf = (number: number) =>
      [`issm${number}`, `umad${number}`, `uverbs${number}`, "rdma_cm"]
        .map((name) => `/dev/infiniband/${name}`)
        .join(" ");
    await using node = await running({
      node: "mlx5-rdma-vfs",
      config: { resourceList: [{ resourceName: "a", selectors: { isRdma: true } }] },
      resources: [a],
      args: ["--use-cdi"],
    });
    expect(specs(node)["a"]?.[id]).toBe(nodesOf(1));
    await node.kubelet.allocate(a, [id], { pod: "pod" });
    const back = moveNetdevAway(node.root, id, { rdma: true });
    await rescan(node.plugin);
    expect(specs(node)["a"]?.[id]).toBe(nodesOf(1));
    back();
    node.kubelet.release("pod");
    await rescan(node.plugin);
    expect(specs(node)["a"]?.[id]).toBe(nodesOf(1));
    removeRdma(node.root, other);
    await until("the device left the spec", () => specs(node)["a"]?.[other] === undefined);
    addRdma(node.root, other);
    await until("the device is in the spec again", () => specs(node)["a"]?.[other] === nodesOf(3));
  });

  test("a VFIO group's new number, by the answer to Allocate at the latest", async () => {
    await using node = await start({ a: "0-3" });
    renumberGroup(node.root, vf(1), "40");
    expect(specs(node)["a"]?.[vf(1)]).toBe("/dev/vfio/3");
    const { cdiDevices } = await node.kubelet.allocate(a, [vf(1)]);
    expect(cdiDevices).toEqual([{ name: `intel.com/net-pci=${vf(1)}` }]);
    expect(specs(node)["a"]?.[vf(1)]).toBe("/dev/vfio/40");
    renumberGroup(node.root, vf(2), "41");
    await rescan(node.plugin);
    await until("the spec has the new number", () => specs(node)["a"]?.[vf(2)] === "/dev/vfio/41");
  });

  test("that were removed are back before the answer to Allocate, and with the next scan", async () => {
    await using node = await start({ a: "0-3" });
    const before = specs(node);
    rmSync(specFile(node, "a"));
    await node.kubelet.allocate(a, 1);
    expect(specs(node)).toEqual(before);
    rmSync(node.cdiFolder, { recursive: true });
    await rescan(node.plugin);
    expect(specs(node)).toEqual(before);
  });

  test("nothing when they can't be written: then a device whose nodes changed is not handed out", async () => {
    await using node = await start({ a: "0-3" });
    renumberGroup(node.root, vf(1), "40");
    rmSync(node.cdiFolder, { recursive: true });
    writeFileSync(node.cdiFolder, "a file where a folder should be");
    const refusal = await node.kubelet.allocate(a, [vf(1)]).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ details: expect.stringContaining("cannot write the pool's CDI spec") });
    expect(listed(node, a)).toHaveLength(4);
    rmSync(node.cdiFolder);
    expect((await node.kubelet.allocate(a, [vf(1)])).cdiDevices).toHaveLength(1);
  });

  test("nothing when they can't be written: health is reported all the same", async () => {
    await using node = await start({ a: "0-3" });
    rmSync(node.cdiFolder, { recursive: true });
    writeFileSync(node.cdiFolder, "a file where a folder should be");
    renumberGroup(node.root, vf(1), "40");
    setLink(node.root, "ens1f0", "down");
    functionsChanged(node.root);
    await node.plugin.waitForLine(/ ERROR .*cannot write the pool's CDI spec/);
    await node.kubelet.waitFor(() => healthy(node, a).length === 0, "devices are Unhealthy");
    expect(listed(node, a)).toHaveLength(4);
  });
});

describe.concurrent("a device that a pod holds stays in its spec", () => {
  const four = { [vf(0)]: "/dev/vfio/2", [vf(1)]: "/dev/vfio/3", [vf(2)]: "/dev/vfio/4", [vf(3)]: "/dev/vfio/5" };
  const { [vf(1)]: _, ...three } = four;

  test("when its pool leaves the config and another one takes the others, until the pod ends", async () => {
    await using node = await start({ a: "0-3" });
    expect(specs(node)).toEqual({ a: four });
    await node.kubelet.allocate(a, [vf(1)], { pod: "pod" });
    node.configure(poolsOf({ b: "0-3" }));
    await specsToBe(node, { a: { [vf(1)]: "/dev/vfio/3" }, b: three });
    node.kubelet.release("pod");
    await rescan(node.plugin);
    await specsToBe(node, { b: four });
  });

  test("when the plugin is started with another config", async () => {
    await using node = await start({ a: "0-3" });
    await node.kubelet.allocate(a, [vf(1)], { pod: "pod" });
    expect(await node.plugin.stop()).toBe(0);
    expect(specs(node)).toEqual({ a: four });
    node.configure(poolsOf({ b: "0-3" }));
    mkdirSync(`${node.root}/etc/cdi`, { recursive: true });
    writeFileSync(`${node.root}/etc/cdi/sriov-dp-intel.com-net-pci-b.yaml`, "");
    node.startPlugin("-v=5", "--use-cdi");
    await node.listed(b);
    await specsToBe(node, { a: { [vf(1)]: "/dev/vfio/3" }, b: three });
    expect(node.names(`${node.root}/etc/cdi`)).toEqual([]);
    node.kubelet.release("pod");
    await rescan(node.plugin);
    await specsToBe(node, { b: four });
  });
});
