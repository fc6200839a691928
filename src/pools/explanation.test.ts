import { describe, expect, test } from "bun:test";
import { aDevice, aLink, aParent, aPf, aSpec } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools } from "./assign.ts";
import { explain, explainPool } from "./explanation.ts";
import type { Pool, PoolSpec } from "./pool.ts";

const verdictsOf = (device: Device, ...specs: PoolSpec[]) => explain(device, assignPools(specs, [device]));

test("the pool that took a device says so, and one after it names it", () => {
  expect(verdictsOf(aDevice(), aSpec({ name: "A" }), aSpec({ name: "B" }))).toEqual([
    expect.objectContaining({ resource: "intel.com/A", outcome: "taken", reasons: [], selector: 0, takenBy: null }),
    expect.objectContaining({
      resource: "intel.com/B",
      outcome: "refused",
      reasons: ["intel.com/A claimed it already, listed earlier"],
      selector: null,
      takenBy: "intel.com/A",
    }),
  ]);
});

test("a device that is reported as Unhealthy says why", () => {
  const [verdict] = verdictsOf(aDevice({ pf: aParent({ link: aLink({ operstate: "down" }) }) }), aSpec());
  expect(verdict?.reasons).toEqual(["reported as Unhealthy: the link of its PF ens1f0 is down"]);
});

test("each selector object names the selectors that failed and what the device has", () => {
  const [verdict] = verdictsOf(
    aDevice(),
    aSpec({ selectors: [{ vendors: ["15b3"], isRdma: true }, { drivers: ["ice"] }] }),
  );
  expect(verdict).toEqual({
    resource: "intel.com/sriov_net_A",
    outcome: "refused",
    reasons: ["selectors[0]: vendors: it has 8086; isRdma: it has false", "selectors[1]: drivers: it has iavf"],
    takenBy: null,
    selector: null,
    trials: [
      {
        index: 0,
        passes: false,
        tests: [
          { selector: "vendors", expected: ["15b3"], found: "8086", passes: false },
          { selector: "isRdma", expected: ["true"], found: "false", passes: false },
        ],
      },
      { index: 1, passes: false, tests: [{ selector: "drivers", expected: ["ice"], found: "iavf", passes: false }] },
    ],
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
  const [verdict] = verdictsOf(device, spec);
  expect(verdict?.outcome).toBe("refused");
  expect(verdict?.reasons.join()).toContain(reason);
});

describe("the explanation of a pool", () => {
  const selected = aDevice({ id: "0000:3b:02.0", functionIndex: 0 });
  const taken = aDevice({ id: "0000:3b:02.1", driver: "vfio-pci" });
  const pf = aPf({ host: { defaultRoute: null, vfs: 8 } });
  const others = ["0000:af:02.0", "0000:af:02.1"].map((id, functionIndex) =>
    aDevice({ id, functionIndex, vendor: "15b3", driver: functionIndex === 0 ? "mlx5_core" : "vfio-pci" }),
  );
  const accelerator = aPf({ id: "0000:0d:00.0", pciClass: 0x12 });
  const devices = [accelerator, pf, selected, taken, ...others];
  const pools = assignPools(
    [
      aSpec({ name: "dpdk", selectors: [{ drivers: ["vfio-pci"], vendors: ["8086"] }] }),
      aSpec({ name: "net", selectors: [{ pciAddresses: ["x"] }, { vendors: ["8086"] }] }),
    ],
    devices,
  );
  const [, net] = pools as [Pool, Pool];
  const explanation = explainPool(net, pools, devices);

  test("has the pool's devices and their selector objects", () => {
    expect(explanation.devices).toEqual([{ device: selected, selector: 1, unhealthy: null }]);
  });
  test("has devices that it selects and an earlier pool claimed", () => {
    expect(explanation.taken).toEqual([{ device: taken, by: "intel.com/dpdk" }]);
  });
  test("sums up the devices that fail the same selectors, with all that they have instead", () => {
    expect(explanation.refused).toEqual([
      { reasons: ["it is a PF with 8 VFs"], failed: [], devices: [pf] },
      {
        reasons: [],
        failed: [
          { index: 0, selector: "pciAddresses", expected: ["x"], found: ["0000:af:02.0", "0000:af:02.1"] },
          { index: 1, selector: "vendors", expected: ["8086"], found: ["15b3"] },
        ],
        devices: others,
      },
    ]);
  });
  test("counts devices of other types", () => expect(explanation.others).toBe(1));
});

test("a selector that only requests something is not a test", () => {
  const [verdict] = verdictsOf(aDevice(), aSpec({ selectors: [{ needVhostNet: true, drivers: ["iavf"] }] }));
  expect(verdict?.trials[0]?.tests.map(({ selector }) => selector)).toEqual(["drivers"]);
});
