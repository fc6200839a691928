// What does the plugin do while a driver does not answer? A pipe without a writer in place of a sysfs file blocks open() in the
// kernel, as a wedged driver does.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { functionsChanged, setLink } from "../support/live.ts";
import { pciFolder } from "../support/node-entries.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { askPlugin, healthy, listed, running, statusOf } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(60_000);

const net = "intel.com/net";
const other = "intel.com/other";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
const wedged = "0000:3b:01.0";

/** The driver of a function stops answering for one of its attributes; returns a function that makes it answer again. */
function wedge(root: string, attribute = "numa_node"): () => void {
  const file = `${root}/${pciFolder(wedged)}/${attribute}`;
  const content = readFileSync(file, "utf8");
  const pipe = `${root}/pipe`;
  if (!Bun.spawnSync(["mkfifo", pipe]).success) throw new Error("mkfifo failed");
  renameSync(pipe, file);
  return () => {
    renameSync(file, pipe);
    writeFileSync(file, content);
    // Every process that waits continues.
    writeFileSync(pipe, content);
  };
}

const readyz = async (node: TestNode) => {
  const response = await askPlugin(node, "/readyz");
  return { ok: response.ok, text: await response.text() };
};

const stalled = (node: TestNode) =>
  until("the scan is stalled", async () => (await statusOf(node)).scans.stalled !== null, {
    found: () => node.plugin.log,
  });

describe.concurrent("while a driver does not answer", () => {
  test("Allocate, also of the device itself, lists and probes are answered, and readiness says where the scan is", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const before = listed(node, net);
    const answers = wedge(node.root);
    functionsChanged(node.root);
    await node.plugin.waitForLine(/node scan stalled: a driver does not answer/);
    const began = performance.now();
    for (const id of [wedged, "0000:3b:01.1"]) await node.kubelet.allocate(net, [id], { pod: id });
    expect((await askPlugin(node, "/livez")).status).toBe(200);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(listed(node, net)).toEqual(before);
    expect((await statusOf(node)).scans.stalled).toMatchObject({ reading: `PCI function ${wedged}` });
    expect(await readyz(node)).toMatchObject({ ok: false, text: expect.stringContaining(`at PCI function ${wedged}`) });
    const metrics = await (await askPlugin(node, "/metrics")).text();
    expect(metrics).toMatch(/^sriovdp_scan_stalled 1$/m);
    // What the alert SriovScanHangs is about: it goes on while others try in place of the scan that does not return.
    expect(Number(/^sriovdp_scan_running_seconds (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(5);
    await node.kubelet.restart();
    await node.listed(net);
    answers();
    await node.plugin.waitForLine(/node scans complete again/);
    await until("the plugin is ready", async () => (await readyz(node)).ok, { found: () => node.plugin.log });
    expect(await (await askPlugin(node, "/metrics")).text()).toMatch(/^sriovdp_scan_stalled 0$/m);
    expect(listed(node, net)).toEqual(before);
  });

  test("a new config is taken up with the devices that are known", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const answers = wedge(node.root);
    functionsChanged(node.root);
    await stalled(node);
    node.configure({ resourceList: [{ resourceName: "other", selectors: {} }] });
    await node.listed(other);
    expect(healthy(node, other)).toHaveLength(4);
    answers();
  });

  test("what changed meanwhile is seen as soon as the driver answers", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const answers = wedge(node.root);
    functionsChanged(node.root);
    await stalled(node);
    setLink(node.root, "ens1f0", "down");
    answers();
    await node.kubelet.waitForAllocatable(net, 0);
    expect(listed(node, net)).toHaveLength(4);
  });

  test("SIGTERM ends the plugin and its sockets at once", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    wedge(node.root);
    functionsChanged(node.root);
    await stalled(node);
    const began = performance.now();
    expect(await node.plugin.stop()).toBe(0);
    expect(performance.now() - began).toBeLessThan(5000);
    expect(node.pluginSockets()).toEqual([]);
  });

  test("the plugin that starts serves as soon as the driver answers, and stays alive until then", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const answers = wedge(node.root, "modalias");
    await node.kubelet.start();
    node.startPlugin("-v=5");
    await node.plugin.waitForLine(/node scan failed; retrying reason="a driver does not answer while PCI function/);
    expect((await askPlugin(node, "/livez")).status).toBe(200);
    answers();
    await node.listed(net);
    expect(listed(node, net)).toHaveLength(4);
  });
});

test("a PCI bus that can't be listed is a failed scan: lists stay, readiness says why, and the next scan is tried", async () => {
  await using node = await running({ node: "iavf-vfs", config, resources: [net] });
  const before = listed(node, net);
  const bus = `${node.root}/sys/bus/pci/devices`;
  renameSync(bus, `${bus}.away`);
  functionsChanged(node.root);
  await node.plugin.waitForLine(/node scan failed; retrying reason=".*sys\/bus\/pci\/devices can't be listed/);
  expect(listed(node, net)).toEqual(before);
  expect(healthy(node, net)).toEqual(before);
  expect((await readyz(node)).text).toContain("the last node scan failed");
  renameSync(`${bus}.away`, bus);
  await until("the plugin is ready", async () => (await readyz(node)).ok, { found: () => node.plugin.log });
  expect(listed(node, net)).toEqual(before);
});
