import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { functionsChanged, rebind, removeFunction, setLink } from "../support/live.ts";
import { host, TestNode } from "../support/plugin.ts";
import { folder } from "../support/tree.ts";
import { healthy, onceRegistered, rescan, running, touches } from "./live.ts";
import { pool, resource, vf, vfs } from "./live-vfs.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

describe.concurrent("the switch of link health", () => {
  test.each([
    ['"linkHealth": false in the entry', { config: pool({ linkHealth: false }) }],
    ["--link-health=false", { args: ["--link-health=false"] }],
  ])("%s keeps devices in use whatever their links do", async (_, how) => {
    await using node = await vfs(how);
    setLink(node.root, "ens1f0", "down");
    await rescan(node.plugin);
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

  test("its vhost-vdpa device, which only sysfs shows", async () => {
    const entries = host("vdpa-vhost").filter(({ path }) => !path.startsWith("dev/"));
    await using node = new TestNode({ entries, config: pool({ selectors: { vdpaType: "vhost" } }) });
    await node.start([resource]);
    await node.kubelet.waitForAllocatable(resource, 2);
    const path = `${node.root}/sys/bus/vdpa/devices/vdpa0/vhost-vdpa-0`;
    rmdirSync(path);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, 1);
    expect(await node.plugin.waitForLine(/Unhealthy/)).toContain("the vhost-vdpa device of vdpa0 is gone");
    mkdirSync(path);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, 2);
  });

  test("its VFIO group, by sysfs where /dev is a copy from the container's start", async () => {
    const entries = [...host("vfio-pci-vfs"), folder("sys/class/vfio/2"), folder("sys/class/vfio/3")];
    await using node = new TestNode({ entries, config: pool() });
    await node.start([resource]);
    await node.kubelet.waitForAllocatable(resource, 2);
    rmdirSync(`${node.root}/sys/class/vfio/2`);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, 1);
    rmSync(`${node.root}/dev/vfio/2`);
    mkdirSync(`${node.root}/sys/class/vfio/2`);
    functionsChanged(node.root);
    await node.kubelet.waitForAllocatable(resource, 2);
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
