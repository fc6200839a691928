import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { pluginClient } from "../support/grpc.ts";
import { KubeletDouble } from "../support/kubelet.ts";
import { removeFunction } from "../support/live.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const modes = [["watcher"], ["legacy"]] as const;
const resource = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
const aNode = (mode: "watcher" | "legacy") => new TestNode({ entries: host("iavf-vfs"), config, mode });

describe.concurrent.each(modes)("a kubelet that registers plugins by the %s", (mode) => {
  const folderOf = ({ kubelet }: TestNode) => (mode === "watcher" ? kubelet.registry : kubelet.devicePlugins);

  test("finds the pool's socket and gets all that it requests", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    const { announced, options, registrations, streams } = node.kubelet.resource(resource);
    expect(announced as unknown).toEqual(
      mode === "watcher"
        ? {
            type: "DevicePlugin",
            name: resource,
            endpoint: `${node.kubelet.registry}/intel.com_net.sock`,
            supportedVersions: ["v1alpha1", "v1beta1"],
          }
        : {
            version: "v1beta1",
            endpoint: "intel.com_net.sock",
            resourceName: resource,
            options: { preStartRequired: false, getPreferredAllocationAvailable: false },
          },
    );
    expect(options).toEqual({ preStartRequired: false, getPreferredAllocationAvailable: false });
    expect({ registrations, streams }).toEqual({ registrations: 1, streams: 1 });
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
  });

  test("can be started after the plugin, when not even its folders were there", async () => {
    await using node = aNode(mode);
    node.startPlugin();
    await node.plugin.waitForLine(/waiting for the kubelet/);
    await node.kubelet.start();
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("can be started after the plugin, when its folders are left from before", async () => {
    await using node = aNode(mode);
    for (const folder of [node.kubelet.devicePlugins, folderOf(node)]) mkdirSync(folder, { recursive: true });
    node.startPlugin();
    await node.plugin.waitUntilReady();
    await node.kubelet.start();
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("gets the pool again after it was restarted, once", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    await node.kubelet.restart();
    await node.kubelet.waitForAllocatable(resource, 4);
    await node.kubelet.restart();
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.kubelet.resource(resource).streams).toBe(3);
  });

  test("that was away for long gets the pool again", async () => {
    await using node = aNode(mode);
    await node.start([resource], "-v=5");
    node.kubelet.stop();
    await node.plugin.waitForLine(/kubelet disconnected/);
    await node.kubelet.start();
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("that rejects the pool gets another attempt, and the plugin goes on", async () => {
    await using node = aNode(mode);
    node.kubelet.registration = "refuse";
    await node.start([]);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(resource).registrations >= 2, "a second registration");
    node.kubelet.registration = "accept";
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.plugin.log).toMatch(/refuse/);
  });

  test("that hangs in registrations keeps no signal from ending the plugin", async () => {
    await using node = aNode(mode);
    node.kubelet.registration = "hang";
    await node.start([]);
    if (mode === "legacy") {
      await node.kubelet.waitFor((kubelet) => kubelet.count("Register") > 0, "a Register call");
    }
    expect(await node.plugin.stop()).toBe(0);
    expect(node.pluginSockets()).toEqual([]);
    // A call that was abandoned is not logged.
    expect(node.plugin.log).not.toMatch(/CANCELLED|cannot register/);
  });

  test("that comes and goes is logged the first time", async () => {
    await using node = aNode(mode);
    await node.start([resource], "-v=5");
    for (let round = 0; round < 2; round++) {
      node.kubelet.breakConnection(resource);
      await node.kubelet.waitForAllocatable(resource, 4);
    }
    await until("all are connected", () => node.plugin.log.match(/kubelet connected/g)?.length === 3);
    expect(
      node.plugin.lines.filter((line) =>
        / INFO .*(kubelet connected|kubelet disconnected|registered the pool)/.test(line),
      ),
    ).toEqual([
      expect.stringMatching(/kubelet connected|registered/),
      expect.stringMatching(/kubelet connected|registered/),
    ]);
  });

  test("that hung in registrations gets the pool after it was restarted", async () => {
    await using node = aNode(mode);
    node.kubelet.registration = "hang";
    await node.start([]);
    node.kubelet.stop();
    node.kubelet.registration = "accept";
    await node.kubelet.start();
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("that is late in calling ListAndWatch gets the list when it does", async () => {
    await using node = aNode(mode);
    node.kubelet.holdsStreams = true;
    await node.start([]);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(resource).options !== null, "a registration");
    node.kubelet.holdsStreams = false;
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("whose connection broke is registered with again, since it never reconnects by itself", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    node.kubelet.breakConnection(resource);
    expect(node.kubelet.allocatable).toEqual({ [resource]: 0 });
    expect(node.kubelet.resource(resource).capacity).toBe(4);
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("that listens twice, since a dial came through late, gets the pool back when the newer connection broke", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    await node.kubelet.connectLate(resource);
    await node.kubelet.waitFor((kubelet) => kubelet.count("list", resource) === 2, "the second stream's list");
    node.kubelet.breakConnection(resource);
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("whose connection broke gets the pool back, whatever other clients do", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    const client = pluginClient(`${folderOf(node)}/intel.com_net.sock`);
    const listen = (received: () => void) => {
      const stream = client.listAndWatch({});
      stream.on("error", () => {});
      stream.on("data", received);
      return stream;
    };
    let isHere = false;
    listen(() => (isHere = true));
    await until("another one listens", () => isHere);
    // One after the other, and so more often than a registration is tried again.
    let passed = 0;
    let isOver = false;
    const pass = () => {
      if (isOver) return;
      const stream = listen(() => stream.cancel());
      stream.on("status", () => {
        passed++;
        setTimeout(pass, 50);
      });
    };
    pass();
    try {
      node.kubelet.breakConnection(resource);
      await node.kubelet.waitForAllocatable(resource, 4);
      const then = passed;
      await until("others have come and gone", () => passed >= then + 20);
      expect(node.kubelet.resource(resource)).toMatchObject({ connected: true, allocatable: 4 });
    } finally {
      isOver = true;
      client.close();
    }
  });

  test("gets a new socket when someone removed the pool's", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    rmSync(`${folderOf(node)}/intel.com_net.sock`);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(resource).streams === 2, "a second stream");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
  });

  test("does not get the same list twice", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    // Two scans; only the second has a change to report.
    writeFileSync(`${node.root}/uevent`, "");
    node.plugin.signal("SIGHUP");
    await node.plugin.waitForLine(/reload requested/);
    removeFunction(node.root, "0000:3b:01.3");
    await node.kubelet.waitForAllocatable(resource, 3);
    const { lists, repeatedLists } = node.kubelet.resource(resource);
    expect({ lists, repeatedLists }).toEqual({ lists: 2, repeatedLists: 0 });
  });

  test("loses the pool as soon as the plugin ends, and gets it back from the next", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    await node.plugin.stop();
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(resource).connected, "the stream's end");
    expect(node.kubelet.resource(resource)).toMatchObject({ capacity: 4, allocatable: 0 });
    node.startPlugin();
    await node.kubelet.waitForAllocatable(resource, 4);
  });

  test("gets the pool back after the plugin was killed and left its socket", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    node.plugin.kill();
    await node.plugin.ended();
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(resource).connected, "the stream's end");
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
    node.startPlugin();
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
  });

  test("keeps the pool while a new plugin takes over from an old one", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    const old = node.plugin;
    node.startPlugin();
    await node.listed(resource);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(resource).streams === 2, "the new plugin's stream");
    expect(await old.stop()).toBe(0);
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
    await node.kubelet.waitForAllocatable(resource, 4);
    expect((await node.kubelet.allocate(resource, 1)).envs["PCIDEVICE_INTEL_COM_NET"]).toBe("0000:3b:01.0");
  });

  test("whose ListAndWatch comes to a plugin on standby is sent away, and is not left without the pool", async () => {
    await using node = aNode(mode);
    node.kubelet.holdsStreams = true;
    await node.start([]);
    await node.kubelet.waitFor((kubelet) => kubelet.count("GetDevicePluginOptions") === 1, "a registration");
    const old = node.plugin;
    node.startPlugin();
    await node.kubelet.waitFor(
      (kubelet) => kubelet.count("GetDevicePluginOptions") === 2,
      "the new one's registration",
    );
    await old.waitForLine(/on standby/);
    node.kubelet.holdsStreams = false;
    await node.kubelet.waitForAllocatable(resource, 4);
    const before = node.kubelet.count("stream ended");
    node.plugin.kill();
    await node.plugin.ended();
    await node.kubelet.waitFor((kubelet) => kubelet.count("stream ended") > before, "the stream's end");
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(await old.stop()).toBe(0);
  });

  test("never sees a socket that does not answer: names of sockets in the making are hidden", async () => {
    await using node = aNode(mode);
    await node.start([resource]);
    expect(readdirSync(folderOf(node)).filter((name) => name.startsWith("."))).toEqual([]);
    expect(lstatSync(`${folderOf(node)}/intel.com_net.sock`).isSocket()).toBe(true);
  });

  test.each(["SIGTERM", "SIGINT", "SIGQUIT"] as const)("sees the plugin leave cleanly at %s", async (signal) => {
    await using node = aNode(mode);
    await node.start([resource]);
    expect(await node.plugin.stop(signal)).toBe(0);
    expect(node.pluginSockets()).toEqual([]);
  });

  test("sees the plugin leave cleanly while it waits for its kubelet", async () => {
    await using node = aNode(mode);
    node.startPlugin();
    await node.plugin.waitForLine(/waiting for the kubelet/);
    expect(await node.plugin.stop()).toBe(0);
  });
});

test("a kubelet whose socket is replaced while Register hangs at the old one gets the pool at once", async () => {
  await using node = aNode("legacy");
  node.kubelet.registration = "hang";
  await node.start([]);
  await node.kubelet.waitFor((kubelet) => kubelet.count("Register") > 0, "a Register call");
  // The old one still has the connection.
  const next = new KubeletDouble(node.kubelet.root, "legacy");
  try {
    await next.start();
    await next.waitForAllocatable(resource, 4);
    expect(node.plugin.log).not.toMatch(/DEADLINE_EXCEEDED|cannot register/);
  } finally {
    next.stop();
  }
});

describe.concurrent.each(modes)("a kubelet that is missing (%s)", (mode) => {
  test("is worth one warning after ten seconds, whatever the number of pools", async () => {
    const entry = (resourceName: string, vfs: string) => ({ resourceName, selectors: { pfNames: [`ens1f0#${vfs}`] } });
    const config = { resourceList: [entry("a", "0-1"), entry("b", "2-3")] };
    await using node = new TestNode({ entries: host("iavf-vfs"), config, mode });
    for (const folder of [node.kubelet.devicePlugins, ...(mode === "watcher" ? [node.kubelet.registry] : [])])
      mkdirSync(folder, { recursive: true });
    node.startPlugin();
    await node.plugin.waitUntilReady();
    const warnings = () => node.plugin.lines.filter((line) => / WARN .*kubelet is missing/.test(line));
    await until("it is warned of", () => warnings().length > 0, { within: 25_000, found: () => node.plugin.log });
    expect(warnings()).toEqual([expect.stringContaining(`path=${node.kubelet.devicePlugins}/kubelet.sock`)]);
    await node.kubelet.start();
    await node.kubelet.waitForAllocatable("intel.com/a", 2);
    await node.kubelet.waitForAllocatable("intel.com/b", 2);
    expect(warnings()).toHaveLength(1);
  }, 60_000);
});
