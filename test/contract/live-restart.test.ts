import { type sendUnaryData, Server, ServerCredentials, credentials, type ServerWritableStream } from "@grpc/grpc-js";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { DevicePluginService } from "../../src/kubelet/api/deviceplugin.ts";
import { identityOf } from "../../src/fs/identity.ts";
import { RegistrationClient } from "../support/grpc.ts";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import { removeFunction } from "../support/live.ts";
import { host, type Plugin, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { listed, modes, rescan, running } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const dpdk = "intel.com/dpdk";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };

/** An instant on a busy machine too, in milliseconds: a pool that nobody hands over is offered again at the next check, after 15 s. */
const instant = 5000;
const infoName = (id: string, resource = "intel.com-net") => `${resource}-${id}-device.json`;

describe.concurrent.each(modes)("what is left on the node over a restart of the plugin (%s)", (mode) => {
  const [one, two] = ["0000:3b:01.0", "0000:3b:01.1"] as const;
  const start = () => running({ node: "iavf-vfs", config, resources: [net], mode });

  test("is the device-info file of what a pod holds; it is the same file all along", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [one], { pod: "pod" });
    await node.kubelet.allocate(net, [two], { pod: "short" });
    const before = readFileSync(`${node.deviceInfoFolder}/${infoName(one)}`, "utf8");
    const identity = identityOf(`${node.deviceInfoFolder}/${infoName(one)}`);
    node.kubelet.release("short");
    expect(await node.plugin.stop()).toBe(0);
    expect(node.names(node.deviceInfoFolder)).toContain(infoName(one));
    node.startPlugin("-v=5");
    await node.listed(net);
    await node.kubelet.waitForAllocatable(net, 4);
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(one)]);
    expect(readFileSync(`${node.deviceInfoFolder}/${infoName(one)}`, "utf8")).toBe(before);
    expect(identityOf(`${node.deviceInfoFolder}/${infoName(one)}`)).toBe(identity);
  });

  test("is nothing that a killed plugin left and no pod needs, once the next has started", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, [one], { pod: "pod" });
    await node.kubelet.allocate(net, [two], { pod: "short" });
    const foreign = ["0000:3b:01.3.json", infoName(one, "other.com-net"), "intel.com-net-eth0-device.json"];
    for (const name of foreign) writeFileSync(`${node.deviceInfoFolder}/${name}`, "{}");
    node.plugin.kill();
    await node.plugin.ended();
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(net).connected, "the stream's end");
    node.kubelet.release("short");
    node.startPlugin("-v=5");
    await node.listed(net);
    await node.kubelet.waitForAllocatable(net, 4);
    expect(node.names(node.deviceInfoFolder)).toEqual([infoName(one), ...foreign].toSorted());
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
    expect(await node.plugin.stop()).toBe(0);
    expect(node.pluginSockets()).toEqual([]);
  });
});

describe.concurrent("CDI specs", () => {
  const pools = {
    resourceList: [
      { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } },
      { resourceName: "net", selectors: {} },
    ],
  };
  const spec = "sriov-dp-intel.com-net-pci-dpdk.yaml";
  const start = () => running({ node: "vfio-pci-vfs", config: pools, resources: [dpdk], args: ["--use-cdi"] });

  test("of what a pod has survive the plugin's exit, and the next start leaves them as they are", async () => {
    await using node = await start();
    const [id = ""] = listed(node, dpdk);
    await node.kubelet.allocate(dpdk, [id], { pod: "pod" });
    const before = identityOf(`${node.cdiFolder}/${spec}`);
    expect(before).not.toBeNull();
    expect(await node.plugin.stop()).toBe(0);
    expect(identityOf(`${node.cdiFolder}/${spec}`)).toBe(before);
    node.startPlugin("-v=5", "--use-cdi");
    await node.listed(dpdk);
    expect(identityOf(`${node.cdiFolder}/${spec}`)).toBe(before);
    node.kubelet.release("pod");
    expect(await node.plugin.stop()).toBe(0);
    expect(node.names(node.cdiFolder)).toEqual([]);
  });

  test("that a killed plugin left of pools that no longer exist are removed at the start; others' files stay", async () => {
    await using node = await start();
    const stale = "sriov-dp-intel.com-net-pci-gone.yaml";
    writeFileSync(`${node.cdiFolder}/${stale}`, "");
    writeFileSync(`${node.cdiFolder}/vendor.yaml`, "");
    mkdirSync(`${node.root}/etc/cdi`, { recursive: true });
    writeFileSync(`${node.root}/etc/cdi/${stale}`, "");
    node.plugin.kill();
    await node.plugin.ended();
    await node.kubelet.waitFor((kubelet) => !kubelet.resource(dpdk).connected, "the stream's end");
    node.startPlugin("-v=5", "--use-cdi");
    await node.listed(dpdk);
    expect(node.names(node.cdiFolder)).toEqual([spec, "vendor.yaml"]);
    expect(node.names(`${node.root}/etc/cdi`)).toEqual([]);
  });
});

describe.concurrent.each(modes)("two plugins at once (%s)", (mode) => {
  const socketOf = ({ kubelet }: TestNode) =>
    `${mode === "watcher" ? kubelet.registry : kubelet.devicePlugins}/intel.com_net.sock`;

  /** A node on which a second plugin was started beside the first, with fewer devices: as when a DaemonSet is updated. */
  async function overlapping(mode: RegistrationMode): Promise<{ node: TestNode; old: Plugin; young: Plugin }> {
    const node = await running({ node: "iavf-vfs", config, resources: [net], mode });
    const old = node.plugin;
    const other = `${node.root}/etc/pcidp/young.json`;
    writeFileSync(
      other,
      JSON.stringify({ resourceList: [{ resourceName: "net", selectors: { pfNames: ["ens1f0#0-1"] } }] }),
    );
    const young = node.startPlugin("-v=5", `--config-file=${other}`);
    await old.waitForLine(/another instance serves the pool; on standby/);
    // It ends its stream then, which ends the pool for a legacy kubelet that had already registered the new one; it is registered again.
    if (mode === "legacy")
      await node.kubelet.waitFor((kubelet) => kubelet.count("stream ended", net) > 0, "the old one's end");
    await node.kubelet.waitForAllocatable(net, 2);
    return { node, old, young };
  }

  test("leave the kubelet without devices for an instant, and with one registration of the new one", async () => {
    // The old one's end is seen before the new one registers, so that the kubelet does not take it for the end of both.
    const { node, old } = await overlapping(mode);
    await using _ = node;
    expect(node.kubelet.outageOf(net, 0)).toBeLessThan(instant);
    expect(node.kubelet.resource(net).registrations).toBeLessThanOrEqual(mode === "legacy" ? 2 : 3);
    expect(await old.stop()).toBe(0);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(node.kubelet.outageOf(net, 0)).toBeLessThan(instant);
  });

  test("leave the kubelet with the devices of the new one, and the old one is on standby", async () => {
    const { node, old, young } = await overlapping(mode);
    await using _ = node;
    // Both see it, and only one reports it.
    removeFunction(node.root, "0000:3b:01.1");
    await node.kubelet.waitForAllocatable(net, 1);
    await rescan(old);
    await rescan(young);
    expect(listed(node, net)).toEqual(["0000:3b:01.0"]);
    expect(node.kubelet.resource(net)).toMatchObject({ allocatable: 1, connected: true });
    expect(await old.stop()).toBe(0);
  });

  test("end without harm when the old one ends: the socket, the files and the devices of the new one stay", async () => {
    const { node, old } = await overlapping(mode);
    await using _ = node;
    const socket = identityOf(socketOf(node));
    await node.kubelet.allocate(net, 1, { pod: "pod" });
    expect(await old.stop()).toBe(0);
    await node.kubelet.waitForAllocatable(net, 2);
    expect(identityOf(socketOf(node))).toBe(socket);
    expect(node.names(node.deviceInfoFolder)).toHaveLength(1);
    removeFunction(node.root, "0000:3b:01.1");
    await node.kubelet.waitForAllocatable(net, 1);
    expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
  });

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "become one when the new one gets a %s: the old one takes over",
    async (signal) => {
      const { node, old, young } = await overlapping(mode);
      await using _ = node;
      young.signal(signal);
      await young.ended();
      await node.kubelet.waitForAllocatable(net, 4);
      expect(lstatSync(socketOf(node)).isSocket()).toBeTrue();
      expect(node.pluginSockets()).toEqual(["intel.com_net.sock"]);
      expect(await old.stop()).toBe(0);
      expect(node.pluginSockets()).toEqual([]);
    },
  );
});

// An update may change names of pools and the prefix; the old instance goes on until the new one is ready.
test.each(modes)("two plugins that name a pool differently never offer one device both (%s)", async (mode) => {
  await using node = await running({ node: "iavf-vfs", config, resources: [net], mode });
  const { plugin: old, kubelet } = node;
  const young = node.startPlugin("-v=5", "--resource-prefix=example.com");
  await young.waitForLine(/WARN {2}another plugin offers devices; withheld until it ends .*resource=intel\.com\/net/);
  await young.waitUntilReady();
  expect((await node.command("probe", "readiness")).stdout).toBe("ok\n");
  expect(kubelet.allocatable).toEqual({ [net]: 4 });
  expect(await old.stop()).toBe(0);
  await kubelet.waitForAllocatable("example.com/net", 4);
  expect(kubelet.resource(net).allocatable).toBe(0);
});

// The reconciler of the kubelet's plugin manager runs once a second (kubernetes pkg/kubelet/pluginmanager/plugin_manager.go).
test("a kubelet that turns to the new one of two plugins a second later has devices all the while", async () => {
  await using node = await running({ node: "iavf-vfs", config, resources: [net], mode: "watcher" });
  const { plugin: old, kubelet } = node;
  kubelet.reconcileDelay = 1000;
  node.startPlugin("-v=5");
  await old.waitForLine(/another instance serves the pool; on standby/);
  expect(kubelet.allocatable).toEqual({ [net]: 4 });
  expect((await kubelet.allocate(net, 1)).envs["PCIDEVICE_INTEL_COM_NET"]).toBe("0000:3b:01.0");
  await kubelet.waitFor(() => kubelet.resource(net).streams === 2, "the new one's stream");
  await kubelet.waitForAllocatable(net, 4);
  expect(kubelet.count("stream ended", net)).toBe(0);
  expect(await old.stop()).toBe(0);
});

test("a kubelet has devices again at once when the old one of two plugins is slow to end its stream", async () => {
  await using node = await running({ node: "iavf-vfs", config, resources: [net], mode: "legacy" });
  const { plugin: old, kubelet } = node;
  old.signal("SIGSTOP");
  node.startPlugin("-v=5");
  await kubelet.waitFor(() => kubelet.count("list", net) === 2, "the new one's list");
  old.signal("SIGCONT");
  await kubelet.waitFor(() => kubelet.count("stream ended", net) > 0, "the old one's end");
  await kubelet.waitForAllocatable(net, 4);
  expect(kubelet.outageOf(net, 0)).toBeLessThan(instant);
  expect(await old.stop()).toBe(0);
});

// Not every plugin goes on standby: the upstream one keeps its stream until it ends.
test("a plugin that took a pool from one that keeps its stream registers again when that one ends", async () => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config, mode: "legacy" });
  const { kubelet } = node;
  await kubelet.start();
  const socket = `${kubelet.devicePlugins}/intel.com_net.sock`;
  const other = new Server();
  other.addService(DevicePluginService, {
    getDevicePluginOptions: (_: unknown, callback: sendUnaryData<object>) => callback(null, {}),
    listAndWatch: (stream: ServerWritableStream<object, object>) => stream.write({ devices: [] }),
  } as never);
  await new Promise<void>((resolve, reject) =>
    other.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  const client = new RegistrationClient(`unix:${kubelet.devicePlugins}/kubelet.sock`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
  });
  await new Promise<void>((resolve, reject) =>
    client.register(
      { version: "v1beta1", endpoint: "intel.com_net.sock", resourceName: net, options: undefined },
      (error) => (error ? reject(error) : resolve()),
    ),
  );
  client.close();
  await kubelet.waitFor(() => kubelet.resource(net).lists === 1, "the other's list");
  node.startPlugin("-v=5");
  await kubelet.waitForAllocatable(net, 4);
  const since = performance.now();
  other.forceShutdown();
  await kubelet.waitFor(() => kubelet.count("stream ended", net) > 0, "the other's end");
  await kubelet.waitForAllocatable(net, 4);
  expect(kubelet.outageOf(net, since)).toBeLessThan(instant);
  expect(await node.plugin.stop()).toBe(0);
});

test("a plugin that is killed again and again, at any instant of its start, leaves nothing that disturbs the last one", async () => {
  await using node = await running({ node: "iavf-vfs", config, resources: [net] });
  for (const line of [/starting/, /config loaded/, /serving the pool/, /ready/, /registered the pool/]) {
    node.plugin.kill();
    await node.plugin.ended();
    await node.startPlugin("-v=5").waitForLine(line);
  }
  node.plugin.kill();
  await node.plugin.ended();
  node.startPlugin("-v=5");
  await node.kubelet.waitForAllocatable(net, 4);
  await until("all other sockets are gone", () => node.pluginSockets().join() === "intel.com_net.sock");
  expect(await node.plugin.stop()).toBe(0);
  expect(node.pluginSockets()).toEqual([]);
});
