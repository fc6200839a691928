import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { readUseSigns } from "./use-signs.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(`${tmpdir()}/signs-`);
});
afterEach(() => rmSync(root, { recursive: true }));

const folder = (path: string) => mkdirSync(`${root}/sys/bus/${path}`, { recursive: true });
const id = "0000:3b:01.0";

function vfio(enable: string, driver = "vfio-pci") {
  folder(`pci/devices/${id}`);
  folder(`pci/drivers/${driver}`);
  symlinkSync(`../../drivers/${driver}`, `${root}/sys/bus/pci/devices/${id}/driver`);
  writeFileSync(`${root}/sys/bus/pci/devices/${id}/enable`, enable);
}

test.each([
  ["an interface that the host has", () => folder(`pci/devices/${id}/net/eth0`), null],
  ["an interface in another namespace", () => folder(`pci/devices/${id}/net`), "interface"],
  ["an RDMA device that the host has", () => folder(`pci/devices/${id}/infiniband/mlx5_0`), null],
  ["an RDMA device in another namespace", () => folder(`pci/devices/${id}/infiniband`), "RDMA"],
  ["a VFIO device that is open", () => vfio("1\n"), "VFIO"],
  ["a VFIO device of a variant driver that is open twice", () => vfio("2\n", "mlx5_vfio_pci"), "VFIO"],
  ["a VFIO device that is closed", () => vfio("0\n"), null],
  ["a VFIO device that does not show it", () => vfio(""), null],
  ["an enabled function of a kernel driver", () => vfio("1\n", "iavf"), null],
  ["nothing at all", () => {}, null],
])("%s", (_, make, sign) => {
  make();
  const found = readUseSigns(root, [id]).get(id) ?? null;
  if (sign === null) expect(found).toBeNull();
  else expect(found).toContain(sign);
});

test("an RDMA device that a program has open counts, and one that is not open does not", () => {
  folder(`pci/devices/${id}/infiniband/mlx5_0`);
  expect(readUseSigns(root, [id], new Map([["mlx5_0", 1]])).get(id)).toBe("its RDMA device is open");
  const others = new Map([
    ["mlx5_0", 0],
    ["mlx5_1", 3],
  ]);
  expect(readUseSigns(root, [id], others).size).toBe(0);
});

test("an SF's interface counts too, and ids that are not names in sysfs are left out", () => {
  folder("auxiliary/devices/mlx5_core.sf.4/net");
  folder("net");
  expect([...readUseSigns(root, ["mlx5_core.sf.4", "..", "../..", "GPU-1", "", "a/b"]).keys()]).toEqual([
    "mlx5_core.sf.4",
  ]);
});
