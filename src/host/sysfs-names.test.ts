import { expect, test } from "bun:test";
import { auxiliaryType } from "./auxiliary.ts";
import { isPciAddress, pcieRootOf } from "./pci.ts";
import { tryRead, type ReadProblem } from "./read-problem.ts";

test.each([
  ["mlx5_core.sf.4", "sf"],
  ["mlx5_core.eth.0", "eth"],
  ["ice.roce.12", "roce"],
  ["mlx5_core.sf", null],
  ["mlx5_core.sf.", null],
  ["mlx5_core.sf.x", null],
  ["mlx5_core.sf.-1", null],
  ["mlx5_core.sf.4.5", null],
  ["mlx5_core..4", null],
  [".sf.4", null],
  ["mlx5 core.sf.4", null],
  ["mlx5_core.sf.4\n", null],
  ["", null],
])("the auxiliary device %p is of type %p", (name, type) => {
  expect(auxiliaryType(name)).toBe(type);
});

test.each([
  ["0000:3b:02.1", true],
  ["10000:e1:00.0", true],
  ["0000:ff:1f.7", true],
  ["0000:3B:02.1", false],
  ["000:3b:02.1", false],
  ["3b:02.1", false],
  ["0000:3b:02.8", false],
  ["0000:3b:02", false],
  ["0000:3b:02.1 ", false],
  ["0000:3b:02.1\n", false],
  ["pci0000:3b", false],
  ["../0000:3b:02.1", false],
  ["", false],
])("%p is a PCI address: %p", (text, is) => {
  expect(isPciAddress(text)).toBe(is);
});

test("what can't be read is noted with its reason, and its neighbors are read", () => {
  const problems: ReadProblem[] = [];
  const read = (what: string) =>
    tryRead(problems, what, `function ${what}`, () => {
      if (what === "b") throw new Error("/sys/b/class holds nonsense");
      return what;
    });
  expect(["a", "b", "c"].map(read)).toEqual(["a", null, "c"]);
  expect(problems).toEqual([{ key: "b", message: "function b is skipped: /sys/b/class holds nonsense" }]);
});

test.each([
  ["../../../devices/pci0000:40/0000:40:00.0/0000:41:10.0", "pci0000:40"],
  ["../../../devices/pci0000:00/0000:00:1f.6", "pci0000:00"],
  ["../../../devices/platform/40000000.pcie/pci0000:00/0000:00:01.0", "pci0000:00"],
  ["../../../devices/pci0000:80/0000:80:05.5/pci10000:00/10000:00:00.0/10000:01:00.0", "pci0000:80"],
  [
    "../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/47505500-0001/pci10001:00/10001:00:02.0",
    "pci10001:00",
  ],
  ["../../../devices/0000:41:10.0", null],
  ["", null],
  [null, null],
])("the PCIe root of a function at %p is %p", (path, root) => {
  expect(pcieRootOf(path)).toBe(root);
});
