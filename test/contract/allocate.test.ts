import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { addRdma, moveNetdevAway, rebind, removeRdma } from "../support/live.ts";
import { pciFolder } from "../support/node-entries.ts";
import { host, TestNode } from "../support/plugin.ts";
import { rescan } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const resource = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
const ids = ["0000:3b:01.0", "0000:3b:01.1", "0000:3b:01.2", "0000:3b:01.3"] as const;
const infoName = (id: string) => `intel.com-net-${id}-device.json`;

/** Root without privileges over files, as in a container that drops all. */
const withoutCapabilities = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

describe("an Allocate call that can't be answered", () => {
  let node: TestNode;
  beforeAll(async () => {
    node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([resource]);
  });
  afterAll(() => node.close());

  test.each([
    ["an unknown id", [["0000:ff:00.0"]], '"0000:ff:00.0" is not in pool intel.com/net'],
    ["an unknown id behind a known one", [[ids[0], "nonsense"]], '"nonsense" is not in pool intel.com/net'],
    ["an unknown id for the second container", [[ids[0]], ["nonsense"]], '"nonsense" is not in pool intel.com/net'],
    ["the same id twice", [[ids[0], ids[0]]], '"0000:3b:01.0" was requested twice'],
    ["no id", [[]], "no device id was requested"],
    ["an empty id", [[""]], '"" is not in pool'],
    ["the PF's id", [["0000:3b:00.0"]], '"0000:3b:00.0" is not in pool'],
    ["a path", [["../../../etc/passwd"]], "is not in pool"],
    ["a very long id", [["x".repeat(100_000)]], "is not in pool"],
  ])("for %s is refused, and leaves nothing behind", async (_, containers, message) => {
    const refusal = await node.kubelet.callAllocate(resource, containers).then(
      () => null,
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(message),
    });
    expect(node.names(node.deviceInfoFolder)).toEqual([]);
    expect(node.kubelet.resource(resource)).toMatchObject({ connected: true, allocatable: 4 });
  });

  test("keeps no later one from being answered, one answer per container in their order", async () => {
    const { containerResponses } = await node.kubelet.callAllocate(resource, [[ids[2], ids[1]], [ids[3]]]);
    expect(containerResponses.map(({ envs }) => envs["PCIDEVICE_INTEL_COM_NET"])).toEqual([
      "0000:3b:01.2,0000:3b:01.1",
      "0000:3b:01.3",
    ]);
    expect(node.names(node.deviceInfoFolder)).toEqual([ids[1], ids[2], ids[3]].map(infoName));
  });

  test("for no container is answered with nothing", async () => {
    expect(await node.kubelet.callAllocate(resource, [])).toEqual({ containerResponses: [] });
  });
});

describe.concurrent("the folder for device-info files", () => {
  test("that can't be made fails the Allocate, which says why; the next one after it was mended is answered", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const inTheWay = dirname(node.deviceInfoFolder);
    mkdirSync(dirname(inTheWay), { recursive: true });
    writeFileSync(inTheWay, "a file where a folder should be");
    await node.start([resource]);
    expect(await failureOf(node.kubelet.callAllocate(resource, [[ids[0]]]))).toMatchObject({
      code: status.INTERNAL,
      details: expect.stringContaining("device-info file can't be written"),
    });
    rmSync(inTheWay);
    await node.kubelet.allocate(resource, [ids[0]]);
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0])]);
  });

  test.skipIf(!canMount())("on a full disk fails the Allocate and leaves no half of a file", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    mkdirSync(node.deviceInfoFolder, { recursive: true });
    run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", node.deviceInfoFolder);
    try {
      writeFileSync(`${node.deviceInfoFolder}/other`, "x".repeat(4096));
      await node.start([resource]);
      expect(await failureOf(node.kubelet.callAllocate(resource, [[ids[0]]]))).toMatchObject({
        code: status.INTERNAL,
        details: expect.stringContaining("ENOSPC"),
      });
      expect(node.names(node.deviceInfoFolder)).toEqual(["other"]);
      rmSync(`${node.deviceInfoFolder}/other`);
      await node.kubelet.allocate(resource, [ids[0]]);
      expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0])]);
      await node.plugin.stop();
    } finally {
      run("umount", node.deviceInfoFolder);
    }
  });

  // The upstream plugin's library makes every level that is missing without permission bits.
  test.skipIf(!run(...withoutCapabilities, "true")).each([
    ["the folder", 1],
    ["the folder and those above it", 3],
  ])(
    "that another plugin left without any permissions is mended by a plugin without capabilities: %s",
    async (_, levels) => {
      await using node = new TestNode({ entries: host("iavf-vfs"), config });
      mkdirSync(node.deviceInfoFolder, { recursive: true });
      for (let level = 0, path = node.deviceInfoFolder; level < levels; level++, path = dirname(path))
        chmodSync(path, 0);
      await node.kubelet.start();
      node.startPluginUnder(withoutCapabilities);
      await node.listed(resource);
      await node.kubelet.allocate(resource, [ids[0]]);
      expect(statSync(node.deviceInfoFolder).mode & 0o777).toBe(0o755);
      expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0])]);
    },
  );

  test("is rid of files that no pod needs when the plugin starts, and of no others", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    mkdirSync(node.deviceInfoFolder, { recursive: true });
    const others = [`mellanox.com-net-${ids[0]}-device.json`, `intel.com-net-b-${ids[0]}-device.json`, "intel.com-net"];
    for (const name of [infoName(ids[0]), infoName("0000:99:00.0"), ...others]) {
      writeFileSync(`${node.deviceInfoFolder}/${name}`, "{}");
    }
    await node.start([resource]);
    expect(node.names(node.deviceInfoFolder)).toEqual(others.toSorted());
  });

  test("keeps the files of running pods when the plugin ends or starts, and loses them after the pods ended", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([resource]);
    await node.kubelet.allocate(resource, [ids[0]], { pod: "stays" });
    await node.kubelet.allocate(resource, [ids[1]], { pod: "leaves" });
    await node.plugin.stop();
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0]), infoName(ids[1])]);
    node.kubelet.release("leaves");
    node.startPlugin();
    await node.listed(resource);
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0])]);
    await node.plugin.stop();
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(ids[0])]);
  });

  test("replaces a file that already exists", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([resource]);
    await node.kubelet.callAllocate(resource, [[ids[0]]]);
    const path = `${node.deviceInfoFolder}/${infoName(ids[0])}`;
    const before = readFileSync(path, "utf8");
    rmSync(path);
    writeFileSync(path, "half of a fi", { mode: 0o444 });
    await node.kubelet.callAllocate(resource, [[ids[0]]]);
    expect(readFileSync(path, "utf8")).toBe(before);
  });
});

describe.concurrent("a device", () => {
  test("that left the node a moment ago is refused, and the others are not", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([resource]);
    // No event: the plugin has not noticed it yet.
    rmSync(`${node.root}/${pciFolder(ids[0])}`, { recursive: true });
    expect(await failureOf(node.kubelet.callAllocate(resource, [[ids[0]]]))).toMatchObject({
      details: expect.stringContaining("has left the node"),
    });
    expect(node.names(node.deviceInfoFolder)).toEqual([]);
    await node.kubelet.allocate(resource, [ids[1]]);
  });

  test("is given by the nodes that it has now, not by those that it had at the start", async () => {
    const entries = host("uio-vfs");
    await using node = new TestNode({
      entries,
      config: { resourceList: [{ resourceName: "uio", selectors: { drivers: ["igb_uio"] } }] },
    });
    await node.start(["intel.com/uio"]);
    rebind(node.root, "0000:5e:01.0", "igb_uio");
    const { devices, envs } = await node.kubelet.allocate("intel.com/uio", ["0000:5e:01.0"]);
    expect(devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/uio3"]);
    expect(envs["PCIDEVICE_INTEL_COM_UIO_INFO"]).toContain('"uio":{"mount":"/dev/uio3"}');
  });

  test("with RDMA is given by the nodes that it has now, while it is in a pod and when it is back under other numbers", async () => {
    const id = "0000:d8:01.0";
    await using node = new TestNode({
      entries: host("mlx5-rdma-vfs"),
      config: { resourceList: [{ resourceName: "roce", selectors: { isRdma: true } }] },
    });
    await node.start(["intel.com/roce"]);
    const verbsOf = async () => {
      const [answer] = (await node.kubelet.callAllocate("intel.com/roce", [[id]])).containerResponses;
      const { rdma } = JSON.parse(answer?.envs["PCIDEVICE_INTEL_COM_ROCE_INFO"] ?? "{}")[id];
      const nodes = answer?.devices.map(({ hostPath }) => hostPath).filter((path) => path.includes("uverbs"));
      expect(nodes).toEqual("uverbs" in rdma ? [rdma.uverbs] : []);
      return nodes;
    };
    const back = moveNetdevAway(node.root, id, { rdma: true });
    // The kernel goes on showing them: drivers/infiniband/core/uverbs_main.c.
    expect(await verbsOf()).toEqual(["/dev/infiniband/uverbs1"]);
    back();
    removeRdma(node.root, id);
    expect(await verbsOf()).toEqual([]);
    addRdma(node.root, id);
    expect(await verbsOf()).toEqual(["/dev/infiniband/uverbs3"]);
  });

  test("is given without vhost-net when the node does not have both of its nodes", async () => {
    await using node = new TestNode({
      entries: host("vfio-pci-vfs"),
      config: { resourceList: [{ resourceName: "dpdk", selectors: { needVhostNet: true } }] },
    });
    rmSync(`${node.root}/dev/net/tun`);
    await node.start(["intel.com/dpdk"]);
    const { devices, envs } = await node.kubelet.allocate("intel.com/dpdk", ["0000:86:01.0"]);
    expect(devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vfio/vfio", "/dev/vfio/2"]);
    expect(envs["PCIDEVICE_INTEL_COM_DPDK_INFO"]).not.toContain("vhost");
    expect(node.plugin.log).toContain("needVhostNet: no /dev/net/tun on this node, so containers get neither node");
  });

  test("is given vhost-net where neither /sys nor /dev shows it yet: the first who opens a static node loads its module", async () => {
    await using node = new TestNode({
      entries: host("iavf-vfs").filter(({ path }) => !path.startsWith("dev/")),
      config: { resourceList: [{ resourceName: "net", selectors: { needVhostNet: true } }] },
    });
    await node.start(["intel.com/net"], "-v=5");
    const warning = /WARN .*needVhostNet: cannot see whether the node has \/dev\/vhost-net or \/dev\/net\/tun/;
    expect(node.plugin.log).toMatch(warning);
    const { devices } = await node.kubelet.allocate("intel.com/net", 1);
    expect(devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vhost-net", "/dev/net/tun"]);
    mkdirSync(`${node.root}/sys/class/misc/vhost-net`, { recursive: true });
    mkdirSync(`${node.root}/sys/class/misc/tun`);
    await rescan(node.plugin);
    const again = await node.kubelet.allocate("intel.com/net", 1);
    expect(again.devices.map(({ hostPath }) => hostPath)).toEqual(["/dev/vhost-net", "/dev/net/tun"]);
    expect(node.plugin.log.match(new RegExp(warning, "g"))).toHaveLength(1);
  });
});

describe.concurrent("CDI specs", () => {
  const dpdk = { resourceList: [{ resourceName: "dpdk", selectors: {} }] };
  const name = "sriov-dp-intel.com-net-pci-dpdk.yaml";

  test("that no pool has are removed at the start, those of other programs are not", async () => {
    await using node = new TestNode({ entries: host("vfio-pci-vfs"), config: dpdk });
    for (const folder of [`${node.root}/etc/cdi`, node.cdiFolder]) {
      mkdirSync(folder, { recursive: true });
      for (const file of ["sriov-dp-intel.com-net-pci-old.yaml", "vendor.json"]) writeFileSync(`${folder}/${file}`, "");
    }
    await node.start(["intel.com/dpdk"], "--use-cdi");
    expect(node.names(`${node.root}/etc/cdi`)).toEqual(["vendor.json"]);
    expect(node.names(node.cdiFolder)).toEqual([name, "vendor.json"]);
  });

  test("go with the plugin, unless a pod holds a device: its containers are started again by name", async () => {
    await using node = new TestNode({ entries: host("vfio-pci-vfs"), config: dpdk });
    await node.start(["intel.com/dpdk"], "--use-cdi");
    await node.kubelet.allocate("intel.com/dpdk", 1, { pod: "pod" });
    await node.plugin.stop();
    expect(node.names(node.cdiFolder)).toEqual([name]);
    node.kubelet.release("pod");
    node.startPlugin("--use-cdi");
    await node.listed("intel.com/dpdk");
    await node.plugin.stop();
    expect(node.names(node.cdiFolder)).toEqual([]);
  });

  test("that can't be written keep the pool from being offered, but not the plugin from running", async () => {
    await using node = new TestNode({ entries: host("vfio-pci-vfs"), config: dpdk });
    mkdirSync(dirname(node.cdiFolder), { recursive: true });
    writeFileSync(node.cdiFolder, "a file where a folder should be");
    await node.start([], "--use-cdi");
    await node.plugin.waitForLine(/cannot write the pool's CDI spec/);
    expect(node.kubelet.resources).toEqual([]);
    rmSync(node.cdiFolder);
    node.plugin.signal("SIGHUP");
    await node.kubelet.waitForAllocatable("intel.com/dpdk", 2);
  });

  test("name the devices of two pools of one prefix apart", async () => {
    await using node = new TestNode({
      entries: host("vfio-pci-vfs"),
      config: {
        resourceList: [
          { resourceName: "a", selectors: { pfNames: ["ens2f0#0"] } },
          { resourceName: "b", selectors: { pfNames: ["ens2f0#1"] } },
        ],
      },
    });
    await node.start(["intel.com/a", "intel.com/b"], "--use-cdi");
    const of = async (each: string) => (await node.kubelet.allocate(each, 1, { pod: "both" })).cdiDevices;
    expect([...(await of("intel.com/a")), ...(await of("intel.com/b"))]).toEqual([
      { name: "intel.com/net-pci=0000:86:01.0" },
      { name: "intel.com/net-pci=0000:86:01.1" },
    ]);
  });
});

const failureOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    (answer) => ({ answer }),
    (error: unknown) => error,
  );

function run(...command: readonly string[]): boolean {
  return Bun.spawnSync([...command], { stdout: "ignore", stderr: "ignore" }).success;
}

/** Mounting needs privileges that not every machine gives to tests. */
function canMount(): boolean {
  return run("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt");
}
