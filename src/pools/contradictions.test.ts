import { expect, test } from "bun:test";
import { aDevice } from "../../test/support/device.ts";
import { contradictionsIn } from "./contradictions.ts";
import { matches, type SelectorObject } from "./selectors.ts";

test.each<[SelectorObject, string]>([
  [
    { drivers: ["vfio-pci"], isRdma: true },
    "drivers and isRdma can never match together: a function bound to vfio-pci has no",
  ],
  [{ drivers: ["vfio-pci", "igb_uio"], vdpaType: "vhost" }, "drivers and vdpaType can never match together: "],
  [{ linkTypes: ["ether"], pKeys: ["0x7fff"] }, 'only links of type "infiniband" have P_Keys'],
  [{ vendors: ["15b3"], drivers: ["iavf", "ice"] }, "iavf, ice bind only to functions of vendor 8086"],
])("%j can't match anything", (selectorObject, message) => {
  expect(contradictionsIn(selectorObject)).toEqual([expect.stringContaining(message)]);
});

test.each<SelectorObject>([
  {},
  { drivers: [], isRdma: true },
  { drivers: ["vfio-pci", "mlx5_core"], isRdma: true },
  { drivers: ["vfio-pci"], isRdma: false, vdpaType: "" },
  { drivers: ["mlx5_core"], vdpaType: "vhost" },
  { linkTypes: ["infiniband"], pKeys: ["0x7fff"] },
  { pKeys: ["0x7fff"] },
  { vendors: ["8086", "15b3"], drivers: ["iavf"] },
  { vendors: ["15b3"], drivers: ["iavf", "unheard_of"] },
  { vendors: ["15b3"], drivers: ["constructor"] },
])("%j may match something", (selectorObject) => {
  expect(contradictionsIn(selectorObject)).toEqual([]);
});

test("what is said to match nothing matches no device that its selectors match one by one", () => {
  const device = aDevice({ vendor: "8086", driver: "iavf" });
  expect(matches(device, { vendors: ["15b3"], drivers: ["iavf"] })).toBe(false);
});
