import { expect, test } from "bun:test";
import { aDevice, aParent, aPf, aSpec, pciAddress } from "../../test/support/device.ts";
import { assignPools } from "../pools/assign.ts";
import { explain, explainPool } from "../pools/explanation.ts";
import { deviceText, poolText } from "./explain-text.ts";

const style = { color: false, columns: null, all: false, allocations: new Map(), withheld: new Map() };

test("a device in no pool of a config without pools says so", () => {
  expect(deviceText(aDevice({ driver: null }), [], [], style)).toBe(
    "0000:3b:02.1 is VF 1 of ens1f0, driver none; it is in no pool\n\n  no pool is configured\n",
  );
});

test("an empty selector object matches every device of the type", () => {
  const pools = assignPools([aSpec()], [aDevice()]);
  expect(deviceText(aDevice(), explain(aDevice(), pools), [], style)).toContain(
    "selectors[0]  {}  passes  matches every device of the type",
  );
});

test("a pool for which the node has nothing says so", () => {
  const pools = assignPools([aSpec({ deviceType: "accelerator" })], [aDevice()]);
  expect(pools.map((pool) => poolText(explainPool(pool, pools, [aDevice()]), style))).toEqual([
    "intel.com/sriov_net_A (accelerator) has 0 devices\n\n  1 device of this node is of another type\n\n  no device of this node is of its type\n",
  ]);
});

test("refused devices are a line each for neighbors, and beyond a few only counted", () => {
  const devices = Array.from({ length: 14 }, (_, index) =>
    aDevice({ id: `0000:3b:02.${index * 2}`, functionIndex: index * 2, vendor: "15b3" }),
  );
  const pools = assignPools([aSpec({ selectors: [{ vendors: ["8086"] }] })], devices);
  const text = pools.map((pool) => poolText(explainPool(pool, pools, devices), style)).join("");
  expect(text).toContain("    0000:3b:02.6  VF 6 of ens1f0\n    and 10 more\n");
  expect(poolText(explainPool(pools[0]!, pools, devices), { ...style, all: true })).toContain("VF 26 of ens1f0");
});

test("names of interfaces, which a pod may have given, can't reach into the terminal", () => {
  const name = "a\u001B[2J\u009Bb";
  const devices = [
    aPf({ id: "0000:5e:00.0", interfaces: [name], host: { defaultRoute: name, vfs: 1 } }),
    aDevice({ pf: aParent({ address: pciAddress("0000:5e:00.0"), interfaceName: name, link: null }), driver: name }),
  ];
  const pools = assignPools([aSpec(), aSpec({ name: "b", selectors: [{ drivers: ["x"] }] })], devices);
  const texts = [
    ...devices.map((device) => deviceText(device, explain(device, pools), [], style)),
    ...pools.map((pool) => poolText(explainPool(pool, pools, devices), style)),
  ];
  for (const text of texts) {
    expect(text).toContain("a\\u001b[2J");
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
  }
});
