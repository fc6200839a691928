import { expect, test } from "bun:test";
import { aDevice, aSpec } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools, placements } from "./assign.ts";
import type { AllocatedDevice } from "./decide-allocations.ts";
import type { PoolSpec } from "./pool.ts";
import { retentionsOf } from "./retention.ts";

const a = aDevice({ id: "0000:3b:02.0", driver: "iavf" });
const A = aSpec({ name: "A" });
const B = aSpec({ name: "B" });
const vfio = aSpec({ name: "A", selectors: [{ drivers: ["vfio-pci"] }] });
const accelerators = aSpec({ name: "A", deviceType: "accelerator" });
const allocated = (resource: string): AllocatedDevice => ({
  resource,
  id: a.id,
  pod: "default/p",
  container: "main",
  evidence: "pod cgroup",
  uid: "uid",
  namedAt: null,
});

test.each<[string, readonly PoolSpec[], Device, string, string | null, string | null]>([
  ["in the pool that selects it", [A], a, A.resource, null, null],
  ["that an earlier pool selects", [B, A], a, A.resource, "retained", B.resource],
  ["that no pool selects any more", [vfio], a, A.resource, "retained", null],
  ["that the host needs", [A], { ...a, host: { defaultRoute: "eno1", vfs: 0 } }, A.resource, "retained", null],
  ["of a pool that left the config", [B], a, A.resource, "withheld", B.resource],
  ["of a pool that is of another type now", [accelerators, B], a, A.resource, "withheld", B.resource],
  ["that no pool waits for", [vfio], a, "other.io/x", null, null],
])("an allocated device %s", (_, specs, device, resource, kind, nextPool) => {
  const pools = assignPools(specs, [device], new Map([[device.id, resource]]));
  const free = placements(assignPools(specs, [device]));
  const found = retentionsOf([device], new Map([[device.id, allocated(resource)]]), pools, free);
  const expected = { device: device.id, resource, pod: "default/p", kind, nextPool };
  expect(found).toEqual(kind === null ? [] : [expected as (typeof found)[number]]);
});
