import { expect, test } from "bun:test";
import { aDevice, aPf, aSpec } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools } from "./assign.ts";
import { explain } from "./explain.ts";
import type { PoolSpec } from "./pool.ts";

const told = (device: Device, ...specs: PoolSpec[]) => explain(device, assignPools(specs, [device]));

test("the pool that took a device says so, and one after it names it", () => {
  expect(told(aDevice(), aSpec({ name: "A" }), aSpec({ name: "B" }))).toEqual([
    { resource: "intel.com/A", outcome: "taken", reasons: [] },
    { resource: "intel.com/B", outcome: "refused", reasons: ["intel.com/A stands before it in the file and took it"] },
  ]);
});

test("a device that is reported as Unhealthy says why", () => {
  const [verdict] = told(aDevice({ vfLinkState: "disable" }), aSpec());
  expect(verdict?.reasons).toEqual([expect.stringContaining("reported as Unhealthy: its link state")]);
});

test("each selector object names the selectors that failed and what the device has", () => {
  const [verdict] = told(aDevice(), aSpec({ selectors: [{ vendors: ["15b3"], isRdma: true }, { drivers: ["ice"] }] }));
  expect(verdict).toEqual({
    resource: "intel.com/sriov_net_A",
    outcome: "refused",
    reasons: ["selectors[0]: vendors: it has 8086; isRdma: it has false", "selectors[1]: drivers: it has iavf"],
  });
});

test.each<[string, Device, PoolSpec, string]>([
  ["of another type", aDevice(), aSpec({ deviceType: "accelerator" }), "it is not of type"],
  [
    "needed by the host",
    aPf({ host: { defaultRoute: "bond0", vfs: 0 } }),
    aSpec(),
    "default route leaves through it (bond0)",
  ],
  ["a PF with VFs", aPf({ host: { defaultRoute: null, vfs: 1 } }), aSpec(), "it is a PF with 1 VF"],
  ["without a driver", aDevice({ driver: null }), aSpec(), "no driver is bound to it"],
])("a device %s is refused with that reason", (_, device, spec, reason) => {
  const [verdict] = told(device, spec);
  expect(verdict?.outcome).toBe("refused");
  expect(verdict?.reasons.join()).toContain(reason);
});
