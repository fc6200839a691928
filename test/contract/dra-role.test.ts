// The DRA role of the executable: what the API server, the kubelet and the node have of it.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { aResult } from "../support/claims.ts";
import { failureOf } from "../support/dra-driver.ts";
import { DraNode, driver, nodeName } from "../support/dra-node.ts";
import { setLink } from "../support/live.ts";
import { host } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { statusOf } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(60_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: { pfNames: ["ens1f0"] } }] };
const [first, second, third, fourth] = ["0000:3b:01.0", "0000:3b:01.1", "0000:3b:01.2", "0000:3b:01.3"] as const;
const all = [first, second, third, fourth];
const options = { entries: host("iavf-vfs"), config } as const;

/** A node whose devices are published. */
async function publishing(...args: readonly string[]): Promise<DraNode> {
  const node = await DraNode.start(options);
  try {
    node.startPlugin(...node.args, ...args);
    await node.waitForPublished(...all);
    await node.dra.waitForPlugins(driver);
    return node;
  } catch (error) {
    await node.close();
    throw error;
  }
}

describe.concurrent("in the DRA role", () => {
  test("a PF's VFs are one ResourceSlice, and a claim is prepared, explained and unprepared", async () => {
    await using node = await publishing();
    expect(node.slices.map(({ spec }) => [spec.pool.name, spec.nodeName])).toEqual([
      [`${nodeName}/0000-3b-00.0`, nodeName],
    ]);
    const claim = node.claim("pod", node.result("nics", second));
    const answers = await node.dra.prepare(driver, claim);
    expect(answers[claim.uid]?.devices.map(({ deviceName }) => deviceName)).toEqual(["0000-3b-01-1"]);
    const [name = ""] = node.names(node.cdiFolder);
    expect(readFileSync(`${node.cdiFolder}/${name}`, "utf8")).toContain(`PCIDEVICE_INTEL_COM_NET=${second}`);
    expect(node.names(node.deviceInfoFolder)).toEqual([`intel.com-net-${second}-device.json`]);
    const { dra, pools, allocated } = await statusOf(node);
    expect(dra).toMatchObject({
      driver,
      node: nodeName,
      publication: { mode: "publishing", isCurrent: true, problem: null },
      published: { slices: 1, devices: 4, tainted: 0 },
      claims: 1,
    });
    expect(pools).toMatchObject([{ resource: net, registration: { state: "connected" }, counts: { allocated: 1 } }]);
    expect(allocated).toMatchObject([{ id: second, pod: "default/pod-pod", evidence: "prepared claim" }]);
    expect((await node.command("status")).stdout).toContain("default/pod-pod");
    expect((await node.command("probe", "readiness")).status).toBe(0);
    await node.dra.unprepare(driver, claim);
    expect([node.names(node.deviceInfoFolder), (await statusOf(node)).dra?.claims]).toEqual([[], 0]);
  });

  test("a link that goes down taints the devices of its PF, and is in the health stream", async () => {
    await using node = await publishing();
    setLink(node.root, "ens1f0", "down");
    await node.waitForPublished(...all.map((id) => `${id} ${driver}/unhealthy`));
    const health = () => node.dra.healthOf(`${nodeName}/0000-3b-00.0`, "0000-3b-01-0");
    await until("the kubelet knows it", () => health()[0] === "Unhealthy");
    expect(health()[1]).toContain("ens1f0");
    setLink(node.root, "ens1f0", "up");
    await node.waitForPublished(...all);
  });

  test("a restart of the plugin writes nothing, and what was prepared stays prepared", async () => {
    await using node = await publishing();
    const claim = node.claim("pod", node.result("nics", first));
    const before = await node.dra.prepare(driver, claim);
    const writes = node.writes;
    expect(await node.plugin.stop()).toBe(0);
    await node.dra.waitForPlugins(driver, 0);
    node.startPlugin(...node.args);
    await node.dra.waitForPlugins(driver);
    expect(await node.dra.prepare(driver, claim)).toEqual(before);
    const other = node.claim("other", node.result("nics", first));
    expect(await failureOf(node.dra.prepare(driver, other))).toContain("is prepared for claim default/pod");
    await until("it is published", async () => (await statusOf(node)).dra?.publication.isCurrent === true);
    expect(node.writes).toBe(writes);
  });

  test("two instances serve the driver during an update, and the claim of one is unprepared by the other", async () => {
    await using node = await publishing("--pod-uid", crypto.randomUUID());
    const claim = node.claim("pod", node.result("nics", first));
    await node.dra.prepare(driver, claim);
    const old = node.plugin;
    const writes = node.writes;
    node.startPlugin(...node.args, "--pod-uid", crypto.randomUUID());
    await node.dra.waitForPlugins(driver, 2);
    expect(await old.stop()).toBe(0);
    await node.dra.waitForPlugins(driver, 1);
    await node.dra.unprepare(driver, claim);
    expect(node.names(node.cdiFolder).filter((name) => !name.startsWith("."))).toEqual([]);
    expect(node.writes).toBe(writes);
  });
});

describe.concurrent("a node that changes its role", () => {
  test("publishes nothing while the device plugin runs, and taints what its pods have until they end", async () => {
    await using node = await DraNode.start(options);
    node.startPlugin("-v=5");
    await node.listed(net);
    await node.kubelet.allocate(net, [second], { pod: "default/pod" });
    const old = node.plugin;
    const plugin = node.startPlugin(...node.args);
    await plugin.waitForLine(/a device plugin offers this node's devices; publishing none until it ends/);
    await node.dra.waitForPlugins(driver);
    const claim = node.claim("early", aResult("nics", first, { driver, pool: `${nodeName}/0000-3b-00.0` }));
    expect(await failureOf(node.dra.prepare(driver, claim))).toContain("a device plugin still offers");
    expect(node.published).toEqual([]);
    expect(await old.stop()).toBe(0);
    await node.waitForPublished(first, `${second} ${driver}/held`, third, fourth);
    await node.dra.prepare(driver, claim);
    const taken = node.claim("taken", node.result("nics", second));
    expect(await failureOf(node.dra.prepare(driver, taken))).toContain("default/pod");
    node.kubelet.release("default/pod");
    await node.waitForPublished(...all);
    await node.dra.prepare(driver, taken);
    expect(node.names(node.deviceInfoFolder)).toHaveLength(2);
  });

  test("publishes what pods got from a device plugin meanwhile with its taint, from the first write on", async () => {
    await using node = await publishing();
    const plugin = node.startPlugin("-v=5");
    await node.listed(net);
    await until("nothing is published", () => node.published.length === 0);
    await node.kubelet.allocate(net, [second], { pod: "default/pod" });
    const before = node.api.requests.length;
    expect(await plugin.stop()).toBe(0);
    await node.waitForPublished(first, `${second} ${driver}/held`, third, fourth);
    const created = node.api.requests
      .slice(before)
      .find(({ method, query }) => method === "POST" && !query.has("dryRun"));
    expect(created?.body).toContain(`${driver}/held`);
  });

  test("taints what a pod got a moment ago that nothing shows yet but the checkpoint", async () => {
    await using node = await DraNode.start(options);
    node.startPlugin("-v=5");
    await node.listed(net);
    await node.kubelet.allocate(net, [second], { pod: "default/pod" });
    // As before the pod's first sync.
    node.kubelet.namesPods = false;
    rmSync(node.kubelet.cgroupOf("default/pod") ?? "", { recursive: true });
    await node.plugin.stop();
    node.startPlugin(...node.args);
    await node.waitForPublished(first, `${second} ${driver}/held`, third, fourth);
    expect(node.api.requests.filter(({ method }) => method === "POST").at(-1)?.body).toContain(`${driver}/held`);
  });

  test("publishes nothing where the folder is missing that shows what a device plugin has", async () => {
    await using node = await DraNode.start(options);
    rmSync(node.kubelet.devicePlugins, { recursive: true });
    node.startPlugin(...node.args);
    await node.plugin.waitForLine(/cannot read allocations; publishing no device until it can.*is missing/);
    expect([node.published, (await node.command("probe", "readiness")).status]).toEqual([[], 1]);
  });

  test("publishes nothing before the kubelet has registered the driver: pods would wait on this node", async () => {
    await using node = await DraNode.start(options);
    node.dra.refusal = "no such plugin here";
    node.startPlugin(...node.args);
    await node.plugin.waitForLine(/kubelet rejected the DRA driver.*no such plugin here/);
    await until("the driver waits", async () => (await statusOf(node)).dra?.publication.mode === "publishing");
    expect([node.published, (await statusOf(node)).dra?.publication.isCurrent]).toEqual([[], false]);
    expect((await node.command("probe", "readiness")).status).toBe(1);
    node.dra.refusal = null;
    await node.waitForPublished(...all);
  });

  test("gives no device away that a pod has by another program of the driver's name, as after dra-driver-sriov", async () => {
    await using node = await DraNode.start(options);
    node.kubelet.claims = [{ pod: "running", driver, device: "0000-3b-01-1" }];
    node.startPlugin(...node.args);
    await node.waitForPublished(first, `${second} ${driver}/held`, third, fourth);
    await node.dra.waitForPlugins(driver);
    const other = node.claim("other", aResult("nics", second, { driver, pool: `${nodeName}/0000-3b-00.0` }));
    expect(await failureOf(node.dra.prepare(driver, other))).toContain("is held by pod default/running");
    // The record of the pod's own claim may be lost; the kubelet prepares it again when it restarts.
    const own = node.claim("own", aResult("nics", second, { driver, pool: `${nodeName}/0000-3b-00.0` }));
    node.kubelet.claims = [{ pod: "own-pod", driver, device: "0000-3b-01-1" }];
    await until("its pod is seen", async () => (await failureOf(node.dra.prepare(driver, own))) === "", {
      within: 30_000,
    });
  });

  test("back to the device plugin keeps the devices of claims from pods, and withdraws what is published", async () => {
    await using node = await publishing();
    const claim = node.claim("pod", node.result("nics", second));
    await node.dra.prepare(driver, claim);
    const old = node.plugin;
    node.startPlugin("-v=5");
    await node.listed(net);
    await until("nothing is published", () => node.published.length === 0);
    expect(await old.stop()).toBe(0);
    expect(node.kubelet.free(net)).toEqual([first, third, fourth]);
    expect(node.names(node.deviceInfoFolder)).toEqual([`intel.com-net-${second}-device.json`]);
    expect((await node.command("status")).stdout).toContain("default/pod-pod");
    const explained = (await node.command("explain", second)).stdout;
    expect(explained).toContain("default/pod-pod");
  });

  test("removes the socket of a driver that was killed, which the kubelet would dial forever", async () => {
    await using node = await publishing("--pod-uid", crypto.randomUUID());
    const sockets = () => node.names(node.dra.registry).filter((name) => name.startsWith(driver));
    node.plugin.kill();
    expect(sockets()).toHaveLength(1);
    node.startPlugin("-v=5");
    await node.listed(net);
    expect(sockets()).toEqual([]);
  });

  test("withholds a device from the device plugin that another process prepares for a claim", async () => {
    await using node = await publishing();
    const claim = node.claim("pod", node.result("nics", third));
    await node.dra.prepare(driver, claim);
    const [name = ""] = node.names(node.cdiFolder);
    const spec = readFileSync(`${node.cdiFolder}/${name}`, "utf8");
    await node.dra.unprepare(driver, claim);
    await node.plugin.stop();
    node.startPlugin("-v=5");
    await node.listed(net);
    expect(node.kubelet.free(net)).toEqual(all);
    writeFileSync(`${node.cdiFolder}/${name}`, spec);
    await node.kubelet.waitForAllocatable(net, 3);
    expect(node.kubelet.free(net)).toEqual([first, second, fourth]);
  });
});

describe.concurrent("a device plugin that cannot see the files of claims", () => {
  test("offers no device that pods have by claims, of whichever driver", async () => {
    await using node = await DraNode.start(options);
    node.kubelet.claims = [
      { pod: "left", driver, device: "0000-3b-01-1" },
      { pod: "other", driver: "sriovnetwork.k8snetworkplumbingwg.io", device: "0000-3b-01-2" },
      { pod: "gpu", driver: "gpu.example.com", device: "gpu-0" },
    ];
    node.startPlugin("-v=5");
    await node.listed(net);
    expect(node.kubelet.free(net)).toEqual([first, fourth]);
    expect((await statusOf(node)).retentions).toMatchObject([
      { device: second, resource: driver, pod: "default/left", kind: "withheld", nextPool: net },
      { device: third, pod: "default/other", kind: "withheld" },
    ]);
  });
});

describe.concurrent("the options of the DRA role", () => {
  test("name what is wrong with a driver's name", async () => {
    await using node = await DraNode.start(options);
    const { status, stderr } = await node.command("run", "--allocator=dra", "--dra-driver-name=Intel.com");
    expect([status, stderr]).toEqual([2, expect.stringContaining("--dra-driver-name")]);
  });

  test("outside a pod, without a kubeconfig, say what is missing, and nothing else fails", async () => {
    await using node = await DraNode.start(options);
    node.startPlugin("-v=5", "--allocator=dra", "--node-name", nodeName);
    await node.plugin.waitForLine(/set --kubeconfig/);
    await node.dra.waitForPlugins(driver);
    expect((await statusOf(node)).dra?.publication.problem).toContain("--kubeconfig");
  });
});
