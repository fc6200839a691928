import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  functionsChanged,
  moveNetdevAway,
  rebind,
  remakeInterface,
  removeFunction,
  setLink,
  setPortState,
  setVfLinkState,
} from "../support/live.ts";
import { changeFacts } from "../support/node-changes.ts";
import { linkStates } from "../support/node-entries.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { healthy, listed, modes, onceRegistered, rescan, running, touches } from "./live.ts";
import { pool, resource, vf, vfs } from "./live-vfs.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

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

  test("that is set down by the administrator takes its VFs out of use where its driver does, and gives them back", async () => {
    const plan: NodePlan = {
      pfs: [
        { nic: "x520", name: "ens1f0", vfs: [{ count: 4 }] },
        { nic: "x710", name: "ens2f0", vfs: [{ count: 2 }] },
      ],
    };
    await using node = await running({ node: plan, config: pool(), resources: [resource] });
    setLink(node.root, "ens2f0", "disabled");
    setLink(node.root, "ens1f0", "disabled");
    await node.kubelet.waitForAllocatable(resource, 2);
    changeFacts(node.root, () => ({ ethtool: [{ interfaceName: "ens2f0", linkDownOnClose: true }] }));
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens1f0", "up");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.plugin.log).toContain("its PF ens1f0 is administratively down, and ixgbe takes its VFs down with it");
    expect(node.plugin.log).toContain("its private flag link-down-on-close takes the link down");
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

  test("that flaps for less than 100 ms is not reported", async () => {
    await using node = await vfs();
    const from = node.plugin.lines.length;
    setLink(node.root, "ens1f0", "down");
    setLink(node.root, "ens1f0", "up");
    await node.plugin.waitForLine(/scanned the node stale=links/, from);
    removeFunction(node.root, vf(3));
    await node.kubelet.waitForAllocatable(resource, 3);
    expect(touches(node, resource)).toEqual(onceRegistered(2));
    expect(node.plugin.log).not.toContain("Unhealthy");
  });

  test("that is down at the start causes one warning per PF, with the number of functions and the switch", async () => {
    const plan: NodePlan = {
      pfs: [
        { nic: "e810", name: "ens1f0", link: "down", vfs: [{ count: 4 }] },
        { nic: "e810", name: "ens1f1", link: "up", vfs: [{ count: 2 }] },
        { nic: "x520", name: "ens1f2", link: "disabled", vfs: [{ count: 3 }] },
        { nic: "x710", name: "ens1f3", link: "disabled", vfs: [{ count: 1 }] },
      ],
    };
    await using node = await running({ node: plan, config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 10, allocatable: 3 });
    const warnings = node.plugin.lines.filter((line) => line.includes(" WARN "));
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/ens1f0.* functions=4/);
    expect(warnings[1]).toMatch(/ens1f2 is administratively down, and ixgbe takes its VFs down with it.* functions=3/);
    for (const line of warnings) expect(line).toContain("--link-health=false");
  });
});

describe.concurrent("the link-state policy of a VF", () => {
  test("of disable keeps the VF in use: what a CNI sets when a pod is given it can't count before", async () => {
    await using node = await vfs();
    setVfLinkState(node.root, "ens1f0", 1, "disable");
    await rescan(node.plugin);
    expect(healthy(node, resource)).toContain(vf(1));
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
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

describe.concurrent("an InfiniBand port", () => {
  test("that goes down without an event is noticed within ten seconds, and so is its return", async () => {
    await using node = await running({ node: "infiniband-vfs", config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 4, allocatable: 4 });
    setPortState(node.root, "0000:17:00.0", "1: DOWN");
    await node.kubelet.waitForAllocatable(resource, 2, 10_000);
    expect(await node.plugin.waitForLine(/WARN .*Unhealthy/)).toContain("its PF's port mlx5_0/1 is DOWN");
    setPortState(node.root, "0000:17:00.0", "2: INIT");
    await node.kubelet.waitForAllocatable(resource, 4, 10_000);
  });

  test("is not read again and again where links don't count", async () => {
    const args = ["--link-health=false"];
    await using node = await running({ node: "infiniband-vfs", config: pool(), resources: [resource], args });
    await using other = await running({ node: "infiniband-vfs", config: pool(), resources: [resource] });
    await other.plugin.waitForLine(/scanned the node stale=links/);
    expect(node.plugin.log).not.toContain("stale=links");
  });
});

describe.concurrent("a PF that never had a carrier", () => {
  const plan = (uptime: number): NodePlan => ({
    uptime,
    pfs: [{ nic: "e810", name: "ens1f0", link: "down", carrierUps: 0, vfs: [{ count: 2 }] }],
  });

  test("has VFs for pods that the kubelet admits right after a boot, until 30 s are over", async () => {
    await using node = await running({ node: plan(60), config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 2, allocatable: 2 });
    await node.kubelet.waitForAllocatable(resource, 0, 40_000);
  }, 60_000);

  test("has none on a node that has been up for long", async () => {
    await using node = await running({ node: plan(181), config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 2, allocatable: 0 });
  });

  test("gets its carrier, and loses it at once like any other", async () => {
    await using node = await running({ node: plan(60), config: pool(), resources: [resource] });
    setLink(node.root, "ens1f0", { ...linkStates.up, carrierUps: 1 });
    await rescan(node.plugin);
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
  });
});

describe.concurrent("an interface of a PF that is re-created", () => {
  const config = {
    resourceList: [
      { resourceName: "net", selectors: { pfNames: ["ens1f0"] } },
      { resourceName: "rest", selectors: { drivers: ["mlx5_core"] } },
    ],
  };
  const plan: NodePlan = {
    pfs: [
      { nic: "connectx6", name: "ens1f0", vfs: [{ count: 4 }] },
      { nic: "connectx6", name: "ens9f0", vfs: [{ count: 1 }] },
    ],
  };
  const pf = "0000:3b:00.0";
  const start = async () => {
    const node = await running({ node: plan, config, resources: [resource, "intel.com/rest"] });
    await node.kubelet.waitForAllocatable(resource, 4);
    return node;
  };

  test.each([
    ["the kernel's own", 1],
    ["no PF's", null],
  ])("leaves its VFs in their pool while its name is %s, as at a change of the eswitch mode", async (_, assigned) => {
    await using node = await start();
    const from = node.plugin.lines.length;
    remakeInterface(node.root, pf, "eth0", assigned);
    await node.plugin.waitForLine(/scanned the node stale=links/, from);
    functionsChanged(node.root);
    await node.plugin.waitForLine(/scanned the node stale=\S*functions/, from);
    remakeInterface(node.root, pf, "ens1f0", 4);
    functionsChanged(node.root);
    await rescan(node.plugin);
    expect(touches(node, resource)).toEqual(onceRegistered(1));
    expect(touches(node, "intel.com/rest")).toEqual(onceRegistered(1));
  });

  test("leaves a VF in its pool that is rebound in the meantime", async () => {
    await using node = await start();
    remakeInterface(node.root, pf, "eth0", 1);
    rebind(node.root, "0000:3b:01.0", null);
    await node.kubelet.waitForAllocatable(resource, 3);
    rebind(node.root, "0000:3b:01.0", "mlx5_core");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(listed(node, resource)).toHaveLength(4);
    expect(touches(node, "intel.com/rest")).toEqual(onceRegistered(1));
  });

  test("has the name that udev gives it once the functions are scanned, not from the links' events", async () => {
    await using node = await start();
    const from = node.plugin.lines.length;
    remakeInterface(node.root, pf, "ens7", 4);
    await node.plugin.waitForLine(/scanned the node stale=links/, from);
    expect(touches(node, resource)).toEqual(onceRegistered(1));
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable("intel.com/rest", 5);
    await node.kubelet.waitForAllocatable(resource, 0);
  });

  test("has a name of the kernel's that it keeps for ten seconds", async () => {
    await using node = await start();
    remakeInterface(node.root, pf, "eth0", 1);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable("intel.com/rest", 5, 20_000);
  });
});

describe.concurrent("a bond in hardware", () => {
  test("keeps the VFs of both PFs in use until its last port is down", async () => {
    await using node = await running({ node: "vf-lag", config: pool(), resources: [resource] });
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 4, allocatable: 4 });
    setLink(node.root, "ens2f1np1", "down");
    await node.kubelet.waitForAllocatable(resource, 0);
    setLink(node.root, "ens2f0np0", "up");
    await node.kubelet.waitForAllocatable(resource, 4);
  });
});

describe.concurrent("a PF with two ports", () => {
  test("has VFs that follow their own port, also while a pod has their interface", async () => {
    await using node = await running({ node: "two-ports", config: pool(), resources: [resource] });
    expect(healthy(node, resource)).toEqual(["0000:0b:01.2", "0000:0b:01.3"]);
    await node.kubelet.allocate(resource, ["0000:0b:01.2"]);
    moveNetdevAway(node.root, "0000:0b:01.2");
    setLink(node.root, "ens3", "up");
    await node.kubelet.waitForAllocatable(resource, 4);
    setLink(node.root, "ens3d1", "down");
    await node.kubelet.waitForAllocatable(resource, 2);
    expect(healthy(node, resource)).toEqual(["0000:0b:01.0", "0000:0b:01.1"]);
  });
});
