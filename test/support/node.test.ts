import { describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync, realpathSync } from "node:fs";
import { addVf, moveNetdevAway, rebind, removeFunction } from "./live.ts";
import { readFacts } from "./node-changes.ts";
import { buildNode } from "./node.ts";
import { modalias, vfAddress } from "./node-entries.ts";
import { host, hostNames, removeTemporaryFolder, temporaryFolder } from "./plugin.ts";
import { type Entry, unpack } from "./tree.ts";

/** Unpacks a tree for the time of a test. */
function unpacked(entries: readonly Entry[], use: (root: string) => void): void {
  const root = temporaryFolder();
  try {
    unpack(entries, root);
    use(root);
  } finally {
    removeTemporaryFolder(root);
  }
}

const twoVfs = buildNode({ pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 2 }] }] });

describe("a node that is built", () => {
  test("has every function in the list of its bus, PF and VFs linked to one another", () =>
    unpacked(twoVfs, (root) => {
      const functions = `${root}/sys/bus/pci/devices`;
      expect(readdirSync(functions).toSorted()).toEqual(["0000:3b:00.0", "0000:3b:01.0", "0000:3b:01.1"]);
      expect(realpathSync(`${functions}/0000:3b:00.0/virtfn1`)).toBe(realpathSync(`${functions}/0000:3b:01.1`));
      expect(realpathSync(`${functions}/0000:3b:01.1/physfn`)).toBe(realpathSync(`${functions}/0000:3b:00.0`));
      expect(readFacts(root).links.map(({ name }) => name)).toEqual(["ens1f0", "ens1f0v0", "ens1f0v1"]);
    }));

  test("of 1,024 VFs has as many addresses, beyond the end of a bus too", () => {
    const vfs = Array.from({ length: 1024 }, (_, index) => vfAddress("0000:3b:00.0", index));
    expect(new Set(vfs).size).toBe(1024);
    expect(vfs.at(-1)).toBe("0000:3f:00.7");
  });

  test("spells modaliases as the kernel does", () => {
    expect(modalias("8086", "159b", "020000")).toBe("pci:v00008086d0000159Bsv00008086sd00000000bc02sc00i00");
  });

  test("says every path once", () => {
    const paths = buildNode({
      pfs: [{ nic: "connectx6", name: "p0", rdma: true, vfs: [{ count: 4, rdma: true }] }],
    }).map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
  });
});

describe("a node that changes", () => {
  test("gets a VF like the others", () =>
    unpacked(twoVfs, (root) => {
      expect(addVf(root, "0000:3b:00.0")).toBe("0000:3b:01.2");
      const vf = `${root}/sys/bus/pci/devices/0000:3b:01.2`;
      expect(readlinkSync(`${vf}/driver`)).toEndWith("/iavf");
      expect(readlinkSync(`${vf}/iommu_group`)).toEndWith("/4");
      expect(readFacts(root).links.at(-1)).toMatchObject({ index: 5, name: "ens1f0v2", parentDevice: "0000:3b:01.2" });
    }));

  test("loses a function with everything below it", () =>
    unpacked(twoVfs, (root) => {
      removeFunction(root, "0000:3b:01.0");
      expect(readdirSync(`${root}/sys/bus/pci/devices`).toSorted()).toEqual(["0000:3b:00.0", "0000:3b:01.1"]);
      expect(readdirSync(`${root}/sys/bus/pci/devices/0000:3b:00.0`)).not.toContain("virtfn0");
      expect(readdirSync(`${root}/sys/class/net`)).not.toContain("ens1f0v0");
      expect(readFacts(root).links.map(({ name }) => name)).toEqual(["ens1f0", "ens1f0v1"]);
    }));

  test("shows what another driver makes, and nothing of the driver before", () =>
    unpacked(twoVfs, (root) => {
      const vf = `${root}/sys/bus/pci/devices/0000:3b:01.0`;
      rebind(root, "0000:3b:01.0", "vfio-pci");
      expect(readdirSync(`${root}/dev/vfio`).toSorted()).toEqual(["2", "vfio"]);
      expect(readdirSync(vf)).not.toContain("net");
      rebind(root, "0000:3b:01.0", "igb_uio");
      expect(readdirSync(`${root}/dev/vfio`)).toEqual(["vfio"]);
      expect(readdirSync(`${vf}/uio`)).toEqual(["uio0"]);
    }));

  test("hides a netdev that is in a pod, and shows it again", () =>
    unpacked(twoVfs, (root) => {
      const net = `${root}/sys/bus/pci/devices/0000:3b:01.0/net`;
      const back = moveNetdevAway(root, "0000:3b:01.0");
      expect(readdirSync(net)).toEqual([]);
      expect(readFacts(root).links).toHaveLength(2);
      back();
      expect(readdirSync(net)).toEqual(["ens1f0v0"]);
      expect(readFacts(root).links).toHaveLength(3);
    }));
});

describe.each(hostNames())("the recorded node %s", (name) => {
  test("can be unpacked, and its netlink facts can be read", () =>
    unpacked(host(name), (root) => {
      // Recordings from before ethtool was used do not have its answers.
      const { configuredRouteExits, ethtool: _, ...facts } = readFacts(root);
      expect(Object.keys(facts).toSorted()).toEqual(["defaultRouteExits", "devlink", "links", "vdpa"]);
      expect(configuredRouteExits ?? []).toEqual(facts.defaultRouteExits);
    }));
});
