import { describe, expect, test } from "bun:test";
import { aDevice, aLink, aParent, aPf, aSubFunction, pciAddress } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { runLabel, deviceLabel, compact, firstFew, follows, runIdRange, linkOf, runsOf, span } from "./describe.ts";

test.each<[string, Device]>([
  ["VF 1 of ens1f0", aDevice()],
  ["VF ? of 0000:3b:00.0", aDevice({ functionIndex: null, pf: aParent({ link: null }) })],
  ["PF ens1f0", aPf()],
  ["PF", aPf({ interfaces: [] })],
  ["accelerator", aPf({ pciClass: 0x12, interfaces: [] })],
  ["SF 4 of p0", aSubFunction()],
  ["eth of p0", aSubFunction({ id: "mlx5_core.eth.0", auxType: "eth", functionIndex: null })],
])("a device is called %p", (name, device) => {
  expect(deviceLabel(device)).toBe(name);
});

test.each([
  ["0000:3b:02.0", "0000:3b:02.0", "0000:3b:02.0"],
  ["0000:3b:02.0", "0000:3b:09.7", "0000:3b:02.0-09.7"],
  ["0000:3b:02.0", "0000:3c:01.1", "0000:3b:02.0-3c:01.1"],
  ["0000:a1:02.0", "0000:a3:01.1", "0000:a1:02.0-a3:01.1"],
  ["ens1f0v0", "ens1f0v31", "ens1f0v0-31"],
  ["ens1f0v9", "ens1f0v91", "ens1f0v9-91"],
  ["mlx5_core.sf.2", "mlx5_core.sf.12", "mlx5_core.sf.2-12"],
  ["9", "10", "9-10"],
  ["a", "b", "a-b"],
])("from %s to %s is written as %s", (first, last, written) => {
  expect(span(first, last)).toBe(written);
});

describe("neighbors", () => {
  const vf = (functionIndex: number | null, id: string, more: Partial<Device> = {}) =>
    aDevice({ functionIndex, id, ...more });
  const run = [vf(0, "0000:3b:02.0"), vf(1, "0000:3b:02.1"), vf(2, "0000:3b:02.2")];

  test("are named by their first and last", () => {
    expect(runIdRange(run)).toBe("0000:3b:02.0-02.2");
    expect(runLabel(run)).toBe("VF 0-2 of ens1f0");
  });

  test("are the next function of the same kind below the same PF", () => {
    const other = aParent({ address: pciAddress("0000:5e:00.0"), interfaceName: "ens2f0", link: null });
    const [first, second, third] = run as [Device, Device, Device];
    expect(follows(second, first)).toBe(true);
    expect(follows(third, first)).toBe(false);
    expect(follows(first, second)).toBe(false);
    expect(follows(vf(1, "0000:5e:02.1", { pf: other }), first)).toBe(false);
    expect(follows(vf(null, "0000:3b:02.1"), vf(null, "0000:3b:02.0"))).toBe(false);
    expect(follows(aPf({ id: "0000:3b:00.1" }), aPf())).toBe(false);
    expect(follows(aSubFunction({ functionIndex: 1, pf: first.pf }), first)).toBe(false);
  });

  test("make runs, cut where the next is not alike", () => {
    expect(runsOf([1, 2, 4, 5, 7], (before, next) => next === before + 1)).toEqual([[1, 2], [4, 5], [7]]);
    expect(runsOf([], () => true)).toEqual([]);
  });
});

test("indexes in a row are shown as a range, and other values as they are", () => {
  expect(compact(["p0#0", "p0#1", "p0#2", "p1#3", "p1#5", "none", "iavf"])).toEqual([
    ...["p0#0-2", "p1#3", "p1#5", "none", "iavf"],
  ]);
});

test("of many values the first few are shown; one more than those is shown too", () => {
  expect(firstFew(["a", "b", "c", "d"])).toBe("a, b, c, d");
  expect(firstFew(["a", "b", "c", "d", "e"])).toBe("a, b, c, d, e");
  expect(firstFew(["a", "b", "c", "d", "e", "f"])).toBe("a, b, c, d and 2 more");
});

test.each([
  [null, null],
  ["up", aLink()],
  ["lowerlayerdown", aLink({ operstate: "lowerlayerdown" })],
  ["no carrier", aLink({ carrier: false, operstate: "down" })],
  ["admin down", aLink({ adminUp: false, carrier: false, operstate: "down" })],
  ["unknown", aLink({ carrier: null, operstate: "unknown" })],
])("a link is %p", (word, link) => {
  expect(linkOf(link)).toBe(word);
});
