import { describe, expect, test } from "bun:test";
import { aDevice, aPf, aSubFunction } from "../../../test/support/device.ts";
import type { Device } from "../../host/device.ts";
import { kindOf } from "../../pools/device-kind.ts";
import { deviceTable, type Discovered, rowsOf } from "./discover.ts";
import { displayWidth } from "../table.ts";

const found = (device: Device, more: Partial<Discovered> = {}): Discovered => ({
  kind: kindOf(device),
  ...device,
  iommuGroup: null,
  pool: null,
  health: null,
  unhealthyReason: null,
  excluded: [],
  allocation: null,
  withheld: false,
  ...more,
});

const pf = found(aPf({ host: { defaultRoute: null, vfs: 4 }, pcieRoot: "pci0000:3a" }), { iommuGroup: "1" });
const vf = (index: number, more: Partial<Device> = {}, place: Partial<Discovered> = {}) =>
  found(
    aDevice({
      id: `0000:3b:02.${index}`,
      functionIndex: index,
      interfaces: [`ens1f0v${index}`],
      pcieRoot: "pci0000:3a",
      ...more,
    }),
    { pool: "intel.com/net", health: "Healthy", iommuGroup: String(index + 2), ...place },
  );
const folded = (devices: readonly Discovered[], all = false) =>
  rowsOf(devices, all).map(({ run, isBelow }) => [isBelow, ...run.map(({ id }) => id)]);

describe("a line", () => {
  test("is one PF, or neighbors below it that are alike", () => {
    const ill = vf(3, {}, { health: "Unhealthy", unhealthyReason: "reason" });
    expect(folded([pf, vf(0), vf(1), vf(2), ill])).toEqual([
      [false, "0000:3b:00.0"],
      [true, "0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2"],
      [true, "0000:3b:02.3"],
    ]);
  });
  test.each<[string, Partial<Device>, Partial<Discovered>]>([
    ["a driver", { driver: "vfio-pci" }, {}],
    ["no interface", { interfaces: [] }, {}],
    ["a policy", { vfLinkState: "enable" }, {}],
    ["a pool", {}, { pool: null, health: null }],
    ["an RDMA device", { rdma: { names: ["mlx5_0"] } }, {}],
    ["a NUMA node", { numaNode: 1 }, {}],
  ])("of its own is for what differs by %s", (_, device, place) => {
    expect(folded([pf, vf(0), vf(1, device, place)])).toHaveLength(3);
  });
  test("is for one device with --all", () => expect(folded([pf, vf(0), vf(1)], true)).toHaveLength(3));
  test("shows VFs in the order of their indexes, then SFs", () => {
    const sf = found(aSubFunction({ pci: pf.pci, pf: vf(0).pf }));
    expect(folded([pf, sf, vf(3), vf(1)])).toEqual([
      [false, "0000:3b:00.0"],
      [true, "0000:3b:02.1"],
      [true, "0000:3b:02.3"],
      [true, "mlx5_core.sf.4"],
    ]);
  });
  test("is for VFs too whose PF is not there", () => {
    expect(folded([vf(0), vf(1)])).toEqual([
      [false, "0000:3b:02.0"],
      [false, "0000:3b:02.1"],
    ]);
  });
  test("is for auxiliary devices that no pool can have with --all only", () => {
    const eth = found(aSubFunction({ id: "mlx5_core.eth.0", auxType: "eth", pci: pf.pci, pf: vf(0).pf }));
    expect(folded([pf, eth])).toHaveLength(1);
    expect(folded([pf, eth], true)).toHaveLength(2);
  });
});

describe("the table", () => {
  const many = [pf, ...Array.from({ length: 256 }, (_, index) => vf(index, { id: `0000:3b:${index}` }))];
  const shown = (columns: number | null) =>
    deviceTable(many, { color: false, columns, all: false, pooled: true }).trimEnd().split("\n");

  test("shows every fact that some device has where there is no terminal", () => {
    expect(shown(null)).toEqual([
      "DEVICE           WHAT      INTERFACE     ID         DRIVER  LINK  NUMA  PCIE ROOT   IOMMU  POOL",
      "0000:3b:00.0     PF        ens1f0        8086:1592  ice     up    0     pci0000:3a  1      excluded: PF with 4 VFs",
      "  0000:3b:0-255  VF 0-255  ens1f0v0-255  8086:1889  iavf    up    0     pci0000:3a  2-257  intel.com/net",
    ]);
  });

  test.each([60, 80, 100, 120, 200])("fits into %i columns, and says what it leaves out", (columns) => {
    const lines = shown(columns);
    for (const line of lines.slice(0, 3)) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
    expect(lines[0]).toMatch(/^DEVICE +WHAT .* DRIVER .*POOL$/);
    const [, ...missing] = lines.length > 3 ? (lines[3] ?? "").split(/: |, |; /) : [""];
    for (const title of missing.slice(0, -1)) expect(lines[0]).not.toContain(title);
    expect(lines.length > 3).toBe(columns < 104);
  });

  test("names a PF's interface whatever the room", () => {
    for (const columns of [40, 60, 80, 100]) expect(shown(columns)[1]).toContain("ens1f0");
  });
});
