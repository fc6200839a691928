import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { parse } from "yaml";
import { identityOf } from "../../src/fs/identity.ts";
import { addVf, removeFunction } from "../support/live.ts";
import { host, TestNode } from "../support/plugin.ts";
import { healthy, listed, modes, onceRegistered, rescan, running, touches } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const calm = "intel.com/calm";
const first = { resourceName: "net", selectors: { pfNames: ["ens1f0#0-1"] } };
const second = { resourceName: "calm", selectors: { pfNames: ["ens1f0#2-3"] } };
const narrow = { resourceName: "net", selectors: { pfNames: ["ens1f0#0"] } };
const config = { resourceList: [first, second] };
const start = (mode: "watcher" | "legacy" = "watcher", args: readonly string[] = []) =>
  running({ node: "iavf-vfs", config, resources: [net, calm], mode, args });

describe.concurrent.each(modes)("a config that is changed while the plugin runs (%s)", (mode) => {
  const socketOf = (node: TestNode, name: string) =>
    `${mode === "watcher" ? node.kubelet.registry : node.kubelet.devicePlugins}/intel.com_${name}.sock`;

  test("is applied without touching the pools that did not change", async () => {
    await using node = await start(mode);
    const socket = identityOf(socketOf(node, "calm"));
    node.configure({ resourceList: [narrow, second, { resourceName: "new", selectors: {} }] });
    await node.kubelet.waitForAllocatable("intel.com/new", 1);
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toEqual(onceRegistered(2));
    expect(touches(node, calm)).toEqual(onceRegistered(1));
    expect(identityOf(socketOf(node, "calm"))).toBe(socket);
    expect(node.pluginSockets()).toEqual(["intel.com_calm.sock", "intel.com_net.sock", "intel.com_new.sock"]);
  });

  test("takes pools that left it from the kubelet, and leaves the others alone", async () => {
    await using node = await start(mode);
    node.configure({ resourceList: [second] });
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the pool's stream ends");
    await node.plugin.waitForLine(/stopped serving the pool: it left the config/);
    expect(node.pluginSockets()).toEqual(["intel.com_calm.sock"]);
    expect(touches(node, calm)).toEqual(onceRegistered(1));
    node.configure(config);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(touches(node, calm)).toEqual(onceRegistered(1));
  });

  test("leaves of a pool that left it only what pods hold in CDI specs and device-info files, and that until they end", async () => {
    const entry = (resourceName: string) => ({ resourceName, selectors: { drivers: ["vfio-pci"] } });
    await using node = await running({
      node: "vfio-pci-vfs",
      config: { resourceList: [entry("old")] },
      resources: ["intel.com/old"],
      mode,
      args: ["--use-cdi"],
    });
    const described = () =>
      Object.fromEntries(
        node.names(node.cdiFolder).map((name) => {
          const { devices } = parse(readFileSync(`${node.cdiFolder}/${name}`, "utf8")) as {
            devices: { name: string }[];
          };
          return [name.replace(/.*-|\.yaml/g, ""), devices.map((device) => device.name)];
        }),
      );
    const [kept = "", ...rest] = listed(node, "intel.com/old");
    await node.kubelet.allocate("intel.com/old", [kept], { pod: "pod" });
    node.configure({ resourceList: [entry("new")] });
    await node.kubelet.waitForAllocatable("intel.com/new", rest.length);
    expect(described()).toEqual({ old: [kept], new: rest });
    expect(node.names(node.deviceInfoFolder)).toEqual([`intel.com-old-${kept}-device.json`]);
    node.kubelet.release("pod");
    await node.kubelet.waitForAllocatable("intel.com/new", rest.length + 1, 20_000);
    expect(described()).toEqual({ new: [kept, ...rest] });
    expect(node.names(node.deviceInfoFolder)).toEqual([]);
  });

  test("with a mistake is rejected with all its problems, and the previous config stays active", async () => {
    await using node = await start(mode);
    node.configure({
      resourceList: [
        { resourceName: "net!", selectors: { pfNames: ["ens1f0#0"] } },
        { resourceName: "calm", selectors: { vendor: ["8086"] } },
      ],
    });
    await node.plugin.waitForLine(/ ERROR .*the previous config stays active.* problems=2/);
    expect(node.plugin.log).toMatch(/ ERROR .*resourceList\[0\]\.resourceName/);
    expect(node.plugin.log).toMatch(/ ERROR .*resourceList\[1\]\.selectors/);
    // The node is followed by the config that runs.
    removeFunction(node.root, "0000:3b:01.1");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toEqual(onceRegistered(2));
    expect(touches(node, calm)).toEqual(onceRegistered(1));
    node.configure({ resourceList: [second] });
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the mended config is applied");
  });
});

describe.concurrent("a new config is noticed", () => {
  test("when the file is written in place", async () => {
    await using node = await start();
    writeFileSync(node.configFile, JSON.stringify({ resourceList: [narrow] }));
    await node.kubelet.waitForAllocatable(net, 1);
  });

  test("when another file is renamed over it", async () => {
    await using node = await start();
    writeFileSync(`${node.configFile}.new`, JSON.stringify({ resourceList: [narrow] }));
    renameSync(`${node.configFile}.new`, node.configFile);
    await node.kubelet.waitForAllocatable(net, 1);
  });

  test("when a ConfigMap's volume is swapped, again and again", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config: null });
    const folder = `${node.root}/etc/pcidp`;
    let version = 0;
    // As the kubelet does (kubernetes pkg/volume/util/atomic_writer.go).
    const swap = (value: unknown) => {
      mkdirSync(`${folder}/..${++version}`, { recursive: true });
      writeFileSync(`${folder}/..${version}/config.json`, JSON.stringify(value));
      symlinkSync(`..${version}`, `${folder}/..data_tmp`);
      renameSync(`${folder}/..data_tmp`, `${folder}/..data`);
      if (version > 1) rmSync(`${folder}/..${version - 1}`, { recursive: true });
    };
    swap(config);
    symlinkSync("..data/config.json", node.configFile);
    await node.start([net, calm]);
    swap({ resourceList: [narrow] });
    await node.kubelet.waitForAllocatable(net, 1);
    swap(config);
    await node.kubelet.waitForAllocatable(net, 2);
    swap({ resourceList: [narrow] });
    await node.kubelet.waitForAllocatable(net, 1);
  });

  test("when its folder was deleted and made again", async () => {
    await using node = await start();
    rmSync(`${node.root}/etc/pcidp`, { recursive: true });
    await node.plugin.waitForLine(/the previous config stays active/);
    node.configure({ resourceList: [narrow] });
    await node.kubelet.waitForAllocatable(net, 1);
  });

  test("at SIGHUP, where no event reports it", async () => {
    await using node = await start();
    rmSync(node.configFile);
    mkdirSync(`${node.root}/elsewhere`);
    writeFileSync(`${node.root}/elsewhere/config.json`, JSON.stringify(config));
    symlinkSync(`${node.root}/elsewhere/config.json`, node.configFile);
    await rescan(node.plugin);
    // In a folder that is not watched.
    writeFileSync(`${node.root}/elsewhere/config.json`, JSON.stringify({ resourceList: [narrow] }));
    node.plugin.signal("SIGHUP");
    await node.kubelet.waitForAllocatable(net, 1);
  });

  test("by the periodic scan, where no event reports it", async () => {
    await using node = await start("watcher", ["--resync-interval=1"]);
    rmSync(node.configFile);
    mkdirSync(`${node.root}/elsewhere`);
    writeFileSync(`${node.root}/elsewhere/config.json`, JSON.stringify(config));
    symlinkSync(`${node.root}/elsewhere/config.json`, node.configFile);
    await rescan(node.plugin);
    writeFileSync(`${node.root}/elsewhere/config.json`, JSON.stringify({ resourceList: [narrow] }));
    await node.kubelet.waitForAllocatable(net, 1);
  });
});

describe.concurrent("a refused config", () => {
  test.each([
    ["no JSON", "{ nonsense"],
    ["an empty file", ""],
    ["a pool twice", { resourceList: [first, first] }],
    ["pools that are not a list", { resourceList: first }],
    ["selectors that are missing", { resourceList: [{ resourceName: "net" }] }],
    ["null", "null"],
    ["no resourceList", "{}"],
    ["other entries only, and all of them skipped", { resourceList: [{ resourceName: "other", selectors: [] }] }],
  ])("(%s) at SIGHUP ends nothing", async (_, bad) => {
    await using node = await start();
    node.configure(bad);
    node.plugin.signal("SIGHUP");
    await node.plugin.waitForLine(/ ERROR .*the previous config stays active/);
    addVf(node.root, "0000:3b:00.0");
    await rescan(node.plugin);
    expect(node.plugin.isRunning).toBeTrue();
    expect(touches(node, net)).toEqual(onceRegistered(1));
    expect(healthy(node, net)).toHaveLength(2);
  });

  test("is reported once, not at every periodic scan", async () => {
    await using node = await start("watcher", ["--resync-interval=1"]);
    node.configure("{ nonsense");
    await node.plugin.waitForLine(/the previous config stays active/);
    const from = node.plugin.lines.length;
    for (let scans = 0, at = from; scans < 2; scans++) {
      await node.plugin.waitForLine(/scanned the node stale=\S*functions/, at);
      at = node.plugin.lines.length;
    }
    expect(node.plugin.lines.filter((line) => line.includes("the previous config stays active"))).toHaveLength(1);
  });
});

describe.concurrent("what is doubtful about the config", () => {
  const warnings = (node: TestNode) => node.plugin.lines.filter((line) => line.includes(" WARN  config warning "));

  test("is logged when it comes up, and not at each scan", async () => {
    await using node = await start("watcher", ["--resync-interval=1"]);
    expect(warnings(node)).toEqual([]);
    removeFunction(node.root, "0000:3b:01.2");
    removeFunction(node.root, "0000:3b:01.3");
    await node.plugin.waitForLine(/config warning resource=intel.com\/calm .*selects nothing on this node/);
    const found = warnings(node);
    expect(found).toEqual([
      expect.stringContaining("resource=intel.com/calm warning="),
      expect.stringContaining("#2-3 selects nothing"),
    ]);
    for (let scans = 0, at = node.plugin.lines.length; scans < 2; scans++) {
      await node.plugin.waitForLine(/scanned the node stale=\S*functions/, at);
      at = node.plugin.lines.length;
    }
    expect(warnings(node)).toEqual(found);
  });

  test("is logged after an edit that brings it", async () => {
    await using node = await start();
    node.configure({ resourceList: [first, second, { resourceName: "late", selectors: { drivers: ["iavf"] } }] });
    await node.plugin.waitForLine(
      /config warning resource=intel.com\/late .*already claimed by intel.com\/net, intel.com\/calm/,
    );
    expect(warnings(node)).toHaveLength(1);
  });
});

describe.concurrent("an edit", () => {
  test("of additionalInfo changes what the next container is given, and no list", async () => {
    await using node = await start();
    const infoOf = async (id: string) =>
      JSON.parse((await node.kubelet.allocate(net, [id])).envs["PCIDEVICE_INTEL_COM_NET_INFO"] ?? "") as Record<
        string,
        Record<string, unknown>
      >;
    const [one = "", two = ""] = listed(node, net);
    expect((await infoOf(one))[one]).not.toHaveProperty("extra");
    node.configure({ resourceList: [{ ...first, additionalInfo: { "*": { token: "xyzzy" } } }, second] });
    await rescan(node.plugin);
    expect((await infoOf(two))[two]).toMatchObject({ extra: { token: "xyzzy" } });
    expect(touches(node, net)).toEqual(onceRegistered(1));
    expect(node.plugin.log).not.toContain("xyzzy");
  });

  test("of excludeTopology changes the list", async () => {
    await using node = await start();
    const topologies = () => [...node.kubelet.resource(net).devices.values()].map(({ topology }) => topology);
    expect(topologies()).not.toContain(undefined);
    node.configure({ resourceList: [{ ...first, excludeTopology: true }, second] });
    await node.kubelet.waitFor(() => topologies().every((topology) => topology === undefined), "no topology");
    expect(touches(node, net)).toEqual(onceRegistered(2));
  });

  test("of nothing but spaces and comments changes nothing", async () => {
    await using node = await start();
    node.configure(`// A remark.\n${JSON.stringify(config, null, 8)}\n`);
    await rescan(node.plugin);
    removeFunction(node.root, "0000:3b:01.0");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(touches(node, net)).toEqual(onceRegistered(2));
    expect(touches(node, calm)).toEqual(onceRegistered(1));
  });

  test("of the pools' order moves devices that both select, and nothing else", async () => {
    await using node = await running({
      node: "iavf-vfs",
      config: { resourceList: [first, { resourceName: "calm", selectors: {} }] },
      resources: [net, calm],
    });
    node.configure({ resourceList: [{ resourceName: "calm", selectors: {} }, first] });
    await node.kubelet.waitForAllocatable(calm, 4);
    await node.kubelet.waitForAllocatable(net, 0);
    expect(node.kubelet.resource(net)).toMatchObject({ capacity: 0, connected: true, registrations: 1 });
  });
});
