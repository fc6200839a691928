// boot: topology=numa iommu=on memory=2048 limit=120
// A driver that does not answer: its devlink operation waits in the kernel and holds the instance's lock, as while firmware resets.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { idsOf, type Node, startNode } from "./plugin.ts";
import { addDevlink, attempt, createVfs, executable, labsim, pf0, pf1, reset, vfsOf, waitFor } from "./support.ts";

let node: Node;

beforeAll(async () => {
  await reset();
  await createVfs(pf0, 2);
  await createVfs(pf1, 2);
  await addDevlink(pf0, 2);
  node = await startNode(
    "watcher",
    { resourceName: "near", selectors: [{ rootDevices: [pf0] }] },
    { resourceName: "far", selectors: [{ rootDevices: [pf1] }] },
  );
  await node.kubelet.waitForAllocatable("test.io/near", 2, 60_000);
  await node.kubelet.waitForAllocatable("test.io/far", 2, 60_000);
});

afterAll(async () => {
  labsim("unwedge");
  await node.stop();
});

const says = (text: string) => waitFor(`the plugin says ${text}`, () => node.plugin.output().includes(text));

test("a driver that does not answer delays neither Allocate nor probes, and lists follow once it answers", async () => {
  const { kubelet, plugin } = node;
  labsim("wedge");
  plugin.signal("SIGHUP");
  await says("node scan stalled");
  expect(plugin.output()).toContain(`reading="devlink pci/${pf0}"`);
  const began = performance.now();
  for (const [resource, pf] of [
    ["test.io/near", pf0],
    ["test.io/far", pf1],
  ] as const) {
    await kubelet.allocate(resource, [vfsOf(pf)[0] ?? ""], { pod: resource });
  }
  expect(performance.now() - began).toBeLessThan(5000);
  expect((await attempt(`${executable} probe liveness`)).status).toBe(0);
  expect((await attempt(`${executable} probe readiness`)).stderr).toContain(`degraded: a node scan has been stalled`);
  expect(idsOf(kubelet, "test.io/near")).toEqual(vfsOf(pf0));
  await createVfs(pf1, 0);
  const vfs = await createVfs(pf1, 3);
  labsim("unwedge");
  await says("node scans complete again");
  await kubelet.waitForAllocatable("test.io/far", 3, 60_000);
  expect(idsOf(kubelet, "test.io/far")).toEqual(vfs);
  expect((await attempt(`${executable} probe readiness`)).status).toBe(0);
});
