import { expect, test } from "bun:test";
import { aDevice, aPf, aSpec, aSubFunction, pciAddress } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { assignPools } from "../pools/assign.ts";
import { deviceTable, explanation, kindOf } from "./report.ts";

test.each<[string, Device]>([
  ["VF 1 of ens1f0", aDevice()],
  [
    "VF ? of 0000:3b:00.0",
    aDevice({ functionIndex: null, pf: { address: pciAddress("0000:3b:00.0"), interfaceName: null, link: null } }),
  ],
  ["PF", aPf()],
  ["PF with 8 VFs", aPf({ host: { defaultRoute: null, vfs: 8 } })],
  ["accelerator", aPf({ pciClass: 0x12 })],
  ["SF 4 of p0", aSubFunction()],
  ["eth of p0", aSubFunction({ id: "mlx5_core.eth.0", auxType: "eth", functionIndex: null })],
])("a device is called %p", (kind, device) => {
  expect(kindOf(device)).toBe(kind);
});

test("the node is shown one device a line, with pool and health", () => {
  const down = aDevice({ id: "0000:3b:02.2", vfLinkState: "disable", interfaces: [], numaNode: null });
  const devices = [aDevice(), down, aDevice({ id: "0000:3b:02.3", driver: null, linkType: null })];
  expect(deviceTable(devices, assignPools([aSpec()], devices), { colour: false, columns: null })).toBe(
    [
      "DEVICE        KIND            ID         DRIVER  NUMA  INTERFACE  LINK TYPE  POOL                   HEALTH",
      "0000:3b:02.1  VF 1 of ens1f0  8086:1889  iavf    0     ens1f0v1   ether      intel.com/sriov_net_A  Healthy",
      "0000:3b:02.2  VF 1 of ens1f0  8086:1889  iavf    -     -          ether      intel.com/sriov_net_A  Unhealthy",
      "0000:3b:02.3  VF 1 of ens1f0  8086:1889  -       0     ens1f0v1   -          -",
      "",
    ].join("\n"),
  );
});

test("an explanation names each pool with its reasons", () => {
  const verdicts = [
    { resource: "intel.com/a", outcome: "taken", reasons: [] },
    { resource: "intel.com/b", outcome: "refused", reasons: ["first", "second"] },
  ] as const;
  expect(explanation(aDevice(), verdicts)).toBe(
    "0000:3b:02.1 (VF 1 of ens1f0, driver iavf)\n  + intel.com/a taken\n  - intel.com/b refused: first\n      second\n",
  );
  expect(explanation(aDevice({ driver: null }), [])).toContain("driver none)\n  no pool is configured\n");
});
