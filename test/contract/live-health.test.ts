import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { functionsChanged, rebind, removeFunction, setLink, setVfLinkState } from "../support/live.ts";
import type { NodePlan } from "../support/node.ts";
import { healthy, lookAgain, modes, onceRegistered, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const resource = "intel.com/net";
const pool = (more: object = {}) => ({ resourceList: [{ resourceName: "net", selectors: {}, ...more }] });
const vfs = (more: { config?: unknown; args?: readonly string[]; mode?: "watcher" | "legacy" } = {}) =>
  running({ node: "iavf-vfs", config: pool(), resources: [resource], ...more });
const vf = (index: number) => `0000:3b:01.${index}`;

describe.concurrent("the link of a PF", () => {
  test.each(modes)("that loses its carrier takes its VFs out of use, and gives them back (%s)", async (mode) => {
    await using node = await vfs({ mode });
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    expect(node.kubelet.resource(resource).capacity).toBe(4);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(touches(node, resource)).toEqual(onceRegistered(3));
    expect(await node.plugin.waitForLine(/WARN .*Unhealthy/)).toContain("the link of its PF ens1f0 is down");
    await node.plugin.waitForLine(/INFO .*Healthy again/);
  });

  test("that is set down by the administrator takes its VFs out of use, and gives them back", async () => {
    await using node = await vfs();
    setLink(node.root, "ens1f0", "disabled");
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.plugin.log).toContain("its PF ens1f0 is administratively down");
  });

  test("counts as down in every operational state but up, dormant and unknown", async () => {
    await using node = await vfs();
    setLink(node.root, "ens1f0", { operstate: "lowerlayerdown" });
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens1f0", { operstate: "dormant" });
    await node.kubelet.waitForAllocatable(resource, 4);
    setLink(node.root, "ens1f0", { operstate: "notpresent" });
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens1f0", { operstate: "unknown", carrier: null });
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("that loses its carrier takes its sub-functions out of use, and gives them back", async () => {
    const config = pool({ deviceType: "auxNetDevice", selectors: { auxTypes: ["sf"] } });
    await using node = await running({ node: "sub-functions", config, resources: [resource] });
    setLink(node.root, "p0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    expect(node.kubelet.resource(resource).capacity).toBe(3);
    setLink(node.root, "p0", "up");
    await node.kubelet.waitForAllocatable(resource, 3);
  });

  test("concerns the VFs of that PF alone", async () => {
    const plan: NodePlan = {
      pfs: ["ens1f0", "ens1f1"].map((name) => ({ nic: "e810", name, vfs: [{ count: 2 }] })),
    };
    await using node = await running({ node: plan, config: pool(), resources: [resource] });
    setLink(node.root, "ens1f1", "down");
    await node.kubelet.waitForAllocatable(resource, 2);
    expect(healthy(node, resource)).toEqual(["0000:3b:01.0", "0000:3b:01.1"]);
  });

  test("does not touch a device that a pod holds: it stays in the list, and in the pod", async () => {
    await using node = await vfs();
    await node.kubelet.allocate(resource, [vf(0)]);
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    expect(node.kubelet.resource(resource).devices.has(vf(0))).toBeTrue();
    expect(node.names(node.deviceInfoFolder)).toHaveLength(1);
  });

  test("that flaps for less than 100 ms is not told", async () => {
    await using node = await vfs();
    const from = node.plugin.lines.length;
    setLink(node.root, "ens1f0", "down");
    setLink(node.root, "ens1f0", "up");
    await node.plugin.waitForLine(/looked at the node stale=links/, from);
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(touches(node, resource)).toEqual(onceRegistered(2));
    expect(node.plugin.log).not.toContain("Unhealthy");
  });

  test("that is down at the start is told in one warning a PF, with the number of functions and the switch", async () => {
    const plan: NodePlan = {
      pfs: [
        { nic: "e810", name: "ens1f0", link: "down", vfs: [{ count: 4 }] },
        { nic: "e810", name: "ens1f1", link: "up", vfs: [{ count: 2 }] },
        { nic: "e810", name: "ens1f2", link: "disabled", vfs: [{ count: 3 }] },
      ],
    };
    await using node = await running({ node: plan, config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 9, allocatable: 2 });
    const warnings = node.plugin.lines.filter((line) => line.includes(" WARN "));
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/ens1f0.* functions=4/);
    expect(warnings[1]).toMatch(/ens1f2.* functions=3/);
    for (const line of warnings) expect(line).toContain("--link-health=false");
  });
});

describe.concurrent("the link-state policy of a VF", () => {
  test("of disable takes the VF out of use whatever the PF does, and auto gives it back", async () => {
    await using node = await vfs();
    setVfLinkState(node.root, "ens1f0", 1, "disable");
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(healthy(node, resource)).not.toContain(vf(1));
    setVfLinkState(node.root, "ens1f0", 1, "auto");
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("of enable keeps the VF in use while the PF is down", async () => {
    await using node = await vfs();
    setVfLinkState(node.root, "ens1f0", 2, "enable");
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 1);
    expect(healthy(node, resource)).toEqual([vf(2)]);
    setVfLinkState(node.root, "ens1f0", 3, "enable");
    await node.kubelet.waitForAllocatable(resource, 2);
  });
});

describe.concurrent("a device without a PF", () => {
  test("follows its own carrier, but is in use while it is administratively down: a pod will set it up", async () => {
    await using node = await running({ node: "bare-pf", config: pool(), resources: [resource] });
    setLink(node.root, "ens6f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens6f0", "disabled");
    await node.kubelet.waitForAllocatable(resource, 1);
    setLink(node.root, "ens6f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens6f0", "up");
    await node.kubelet.waitForAllocatable(resource, 1);
  });
});

describe.concurrent("the switch of link health", () => {
  test.each([
    ['"linkHealth": false in the entry', { config: pool({ linkHealth: false }) }],
    ["--link-health=false", { args: ["--link-health=false"] }],
  ])("%s keeps devices in use whatever their links do", async (_, how) => {
    await using node = await vfs(how);
    setVfLinkState(node.root, "ens1f0", 1, "disable");
    setLink(node.root, "ens1f0", "disabled");
    await lookAgain(node.plugin);
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(touches(node, resource)).toEqual(onceRegistered(2));
    expect(node.plugin.log).not.toContain("Unhealthy");
  });

  test("of one entry leaves the others alone", async () => {
    const config = {
      resourceList: [
        { resourceName: "calm", selectors: { pfNames: ["ens1f0#0-1"] }, linkHealth: false },
        { resourceName: "net", selectors: {} },
      ],
    };
    await using node = await running({ node: "iavf-vfs", config, resources: [resource, "intel.com/calm"] });
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    expect(healthy(node, "intel.com/calm")).toHaveLength(2);
    expect(touches(node, "intel.com/calm")).toEqual(onceRegistered(1));
  });

  test("does not keep a device without its driver in use", async () => {
    await using node = await vfs({ args: ["--link-health=false"] });
    rebind(node.root, vf(0), null);
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(node.kubelet.resource(resource).capacity).toBe(4);
  });
});

describe.concurrent("a claimed device is out of use without, and in use again with", () => {
  test.each([
    ["its VFIO group", "vfio-pci-vfs", "dev/vfio/2", {}],
    ["its UIO device", "uio-vfs", "dev/uio1", {}],
    ["its vhost-vdpa device", "vdpa-vhost", "dev/vhost-vdpa-0", { vdpaType: "vhost" }],
  ])("%s", async (_, fixture, path, selectors) => {
    await using node = await running({ node: fixture, config: pool({ selectors }), resources: [resource] });
    const all = node.kubelet.resource(resource).allocatable;
    rmSync(`${node.root}/${path}`);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, all - 1);
    expect(node.kubelet.resource(resource).capacity).toBe(all);
    expect(await node.plugin.waitForLine(/Unhealthy/)).toContain(`its character device /${path} is gone`);
    writeFileSync(`${node.root}/${path}`, "");
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, all);
  });

  test("its driver", async () => {
    await using node = await vfs();
    rebind(node.root, vf(0), null);
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(node.kubelet.resource(resource).capacity).toBe(4);
    expect(await node.plugin.waitForLine(/Unhealthy/)).toContain("no driver is bound to it any more");
    rebind(node.root, vf(0), "iavf");
    await node.kubelet.waitForAllocatable(resource, 4);
  });
});
