// boot: topology=flat iommu=off
// Shows what is seen of a node without an IOMMU and without NUMA.
import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { discover, discovered } from "./facts.ts";
import {
  bind,
  bindDefault,
  createVfs,
  iommuGroupOf,
  loadModules,
  pf0,
  readSys,
  reset,
  waitFor,
  writeSys,
} from "./support.ts";

let vf = "";

beforeAll(async () => {
  await reset();
  [vf = ""] = await createVfs(pf0, 2);
});

test("functions of a machine without NUMA have no NUMA node", async () => {
  for (const { numaNode } of (await discover()).values()) expect(numaNode).toBeNull();
});

test("a VF that vfio-pci has without an IOMMU is known by the node of its no-IOMMU group", async () => {
  await loadModules("vfio");
  writeSys("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
  expect(iommuGroupOf(vf)).toBeNull();
  await bind(vf, "vfio-pci");
  const group = iommuGroupOf(vf);
  expect(readSys(`/sys/bus/pci/devices/${vf}/iommu_group/name`)).toBe("vfio-noiommu");
  await waitFor("group node", () => existsSync(`/dev/vfio/noiommu-${group}`));
  expect((await discovered(vf)).vfio).toEqual({
    group,
    noIommu: true,
    node: { path: `/dev/vfio/noiommu-${group}`, present: true },
    cdev: null,
  });
  await bindDefault(vf);
  expect((await discovered(vf)).vfio).toBeNull();
});
