import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parse } from "yaml";
import { aClaim, aDevice, aSpec } from "../../test/support/device.ts";
import { cdiFileName } from "../pools/names.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { CdiFiles, removeCdiSpecs } from "./cdi-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-cdi-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const net = aSpec({ prefix: "intel.com", name: "net" });
const other = aSpec({ prefix: "intel.com", name: "other" });
const file = cdiFileName(net);
const node = { hostPath: "/dev/vfio/2", containerPath: "/dev/vfio/2" };
const nodesOf = (...ids: readonly string[]) => new Map(ids.map((id) => [id, [node]]));
const poolOf = (spec: PoolSpec, ...ids: readonly string[]): Pool => ({
  spec,
  claims: new Map(ids.map((id) => [id, aClaim(aDevice({ id }))])),
  unhealthy: new Map(),
});

const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
const inode = (name: string) => statSync(`${folder}/${name}`).ino;

/** The names in each of the plugin's specs, as a reader finds them. */
const named = () =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((name) => name.startsWith("sriov-dp-"))
      .sort()
      .map((name) => [
        name.replace(/^sriov-dp-intel\.com-net-pci-|\.yaml$/g, ""),
        (parse(read(name)) as { devices: { name: string }[] }).devices.map((device) => device.name).join(" "),
      ]),
  );

describe("a spec", () => {
  test("is written once, as YAML with the same content, readable by all", () => {
    const specs = new CdiFiles(`${folder}/made`);
    expect(specs.describe(net, nodesOf("0000:3b:02.1", "0000:3b:02.2"))).toBe(true);
    const written = read(`made/${file}`);
    expect(parse(written)).toMatchObject({ cdiVersion: "0.5.0", kind: "intel.com/net-pci" });
    expect(written).not.toMatch(/[&*]a\d/);
    expect(statSync(`${folder}/made/${file}`).mode & 0o777).toBe(0o644);
    const before = inode(`made/${file}`);
    expect(specs.describe(net, nodesOf("0000:3b:02.1", "0000:3b:02.2"))).toBe(false);
    expect(inode(`made/${file}`)).toBe(before);
  });

  // "0000:03:02.1" is 182.1 in base 60 (YAML 1.1, 10.2.1.4); the upstream plugin's writer quotes it.
  test("spells PCI addresses that YAML 1.1 takes for numbers as texts", () => {
    new CdiFiles(folder).describe(net, nodesOf("0000:03:02.1"));
    expect(parse(read(file), { version: "1.1" })).toMatchObject({ devices: [{ name: "0000:03:02.1" }] });
  });

  test("says what changes of some devices, goes on with the others, and removes the file when nothing is left", () => {
    const specs = new CdiFiles(folder);
    specs.describe(net, nodesOf("a", "b"));
    specs.describe(
      net,
      new Map([
        ["b", []],
        ["c", [node]],
      ]),
    );
    expect(named()).toEqual({ net: "a c" });
    expect(
      specs.describe(
        net,
        new Map([
          ["a", []],
          ["c", []],
        ]),
      ),
    ).toBe(true);
    expect(specs.describe(net, new Map([["a", []]]))).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that is as it should be is not written; one that was removed or replaced, or has other nodes, is", () => {
    const specs = new CdiFiles(folder);
    expect(specs.says(net, new Map([["a", []]]))).toBe(true);
    specs.describe(net, nodesOf("a", "b"));
    expect(specs.says(net, nodesOf("a"))).toBe(true);
    expect(specs.says(net, new Map([["a", [{ ...node, hostPath: "/dev/vfio/3" }]]]))).toBe(false);
    expect(specs.says(net, nodesOf("c"))).toBe(false);
    rmSync(`${folder}/${file}`);
    expect(specs.says(net, nodesOf("a"))).toBe(false);
    expect(specs.restore([other, net])).toEqual([file]);
    expect(specs.restore([other, net])).toEqual([]);
    expect(named()).toEqual({ net: "a b" });
    new CdiFiles(folder).describe(net, nodesOf("a"));
    expect(specs.says(net, nodesOf("b"))).toBe(false);
    expect(specs.restore([other, net])).toEqual([file]);
    expect(named()).toEqual({ net: "a b" });
  });

  test("stays as it was when it can't be written", () => {
    const specs = new CdiFiles(folder);
    specs.describe(net, nodesOf("a"));
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "");
    expect(() => specs.describe(net, nodesOf("b"))).toThrow("ENOTDIR");
    expect([...specs.devicesOf(net).keys()]).toEqual(["a"]);
  });
});

describe("specs of an earlier process", () => {
  test("are taken up as they are, those of the upstream plugin too; what can't be read is removed, other programs' stay", () => {
    const before = new CdiFiles(folder);
    before.describe(net, nodesOf("0000:3b:02.1"));
    // As the upstream plugin writes them.
    writeFileSync(
      `${folder}/${cdiFileName(other)}`,
      "cdiVersion: 0.5.0\ncontainerEdits: {}\ndevices:\n- containerEdits:\n    deviceNodes:\n    - hostPath: /dev/vfio/2\n" +
        '      path: /dev/vfio/2\n      permissions: rw\n  name: "0000:03:02.1"\nkind: intel.com/net-pci\n',
    );
    for (const name of ["sriov-dp-odd.yaml", "vendor.yaml"]) writeFileSync(`${folder}/${name}`, "devices: 7");
    const identity = inode(file);
    const specs = new CdiFiles(folder);
    expect(specs.load()).toEqual(["sriov-dp-odd.yaml"]);
    expect([specs.devicesOf(net), specs.devicesOf(other)]).toEqual([nodesOf("0000:3b:02.1"), nodesOf("0000:03:02.1")]);
    expect(specs.describe(net, nodesOf("0000:3b:02.1"))).toBe(false);
    expect(inode(file)).toBe(identity);
    expect(existsSync(`${folder}/vendor.yaml`)).toBe(true);
  });

  test("are removed where none should be; other programs' stay", () => {
    for (const name of [file, "vendor.yaml"]) writeFileSync(`${folder}/${name}`, "");
    expect(removeCdiSpecs(folder)).toEqual([file]);
    expect(readdirSync(folder)).toEqual(["vendor.yaml"]);
    expect(removeCdiSpecs(`${folder}/missing`)).toEqual([]);
  });
});

describe("devices that change their pool", () => {
  test("are taken out of the one spec before the other one names them", () => {
    const specs = new CdiFiles(folder);
    specs.describe(net, nodesOf("a", "b"));
    specs.describe(other, nodesOf("c", "d"));
    const pools = [poolOf(net, "a", "c"), poolOf(other, "b", "d")];
    expect(specs.withdraw(pools)).toEqual([file, cdiFileName(other)]);
    expect(named()).toEqual({ net: "a", other: "d" });
    expect(specs.withdraw(pools)).toEqual([]);
  });

  test("may stand in the specs of two kinds", () => {
    const specs = new CdiFiles(folder);
    specs.describe(net, nodesOf("a"));
    expect(specs.withdraw([poolOf(aSpec({ prefix: "other.com", name: "net" }), "a")])).toEqual([]);
  });

  test("go when no pool has them any more, unless a pod holds them", () => {
    const specs = new CdiFiles(folder);
    specs.describe(net, nodesOf("a", "b", "c"));
    specs.describe(other, nodesOf("d"));
    specs.prune([poolOf(net, "a")], (name, id) => name === file && id === "c");
    expect(named()).toEqual({ net: "a c" });
    specs.prune([], () => false);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("are in no two specs of one kind at any instant, wherever they go, also after a restart", () => {
    const specs = [net, other, aSpec({ prefix: "intel.com", name: "third" })];
    const ids = ["a", "b", "c", "d", "e"];
    /** The pool of each device, by its index; -1 for none. */
    const layout = fc.tuple(...ids.map(() => fc.integer({ min: -1, max: specs.length - 1 })));
    const poolsOf = (homes: readonly number[]) =>
      specs.map((spec, index) => poolOf(spec, ...ids.filter((_, device) => homes[device] === index)));
    const isConsistent = () => {
      const all = Object.values(named()).flatMap((names) => names.split(" "));
      expect(new Set(all).size).toBe(all.length);
    };
    fc.assert(
      fc.property(fc.array(layout, { minLength: 1, maxLength: 4 }), fc.boolean(), (layouts, restarts) => {
        let written = new CdiFiles(folder);
        written.load();
        for (const homes of layouts) {
          const pools = poolsOf(homes);
          if (restarts) {
            written = new CdiFiles(folder);
            written.load();
          }
          written.withdraw(pools);
          isConsistent();
          for (const { spec, claims } of pools) {
            written.describe(spec, nodesOf(...claims.keys()));
            isConsistent();
          }
          written.prune(pools, () => false);
          for (const { spec, claims } of pools) {
            expect([...written.devicesOf(spec).keys()].sort()).toEqual([...claims.keys()]);
          }
        }
      }),
      { seed: 20_261_124, numRuns: 15 },
    );
  });
});
