import { credentials, type sendUnaryData, Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { cachedAnswerIn, devicesIn, podDevicesIn, readCheckpoint } from "../../src/kubelet/allocations.ts";
import { readPodCgroups } from "../../src/host/pod-cgroups.ts";
import {
  type AllocateRequest,
  type Device,
  DevicePluginService,
  type Empty,
  type ListAndWatchResponse,
} from "../../src/kubelet/api/deviceplugin.ts";
import {
  type RegistrationStatus,
  RegistrationService as WatcherService,
} from "../../src/kubelet/api/pluginregistration.ts";
import type { ListPodResourcesResponse } from "../../src/kubelet/api/podresources.ts";
import { PodResourcesListerClient, RegistrationClient } from "./grpc.ts";
import { KubeletDouble } from "./kubelet.ts";
import { heldBy, podUid } from "./kubelet-view.ts";
import { removeTemporaryFolder, temporaryFolder } from "./plugin.ts";

/** A minimal plugin that sends the lists of the test. */
class LittlePlugin {
  readonly server = new Server();
  readonly statuses: RegistrationStatus[] = [];
  readonly streams: ServerWritableStream<Empty, ListAndWatchResponse>[] = [];
  devices: Device[] = [healthy("a"), healthy("b")];
  answersInfo = true;
  optionsFail = false;
  name = "x.io/little";

  async listen(socket: string): Promise<void> {
    this.server.addService(DevicePluginService, {
      getDevicePluginOptions: (_: unknown, callback: sendUnaryData<object>) =>
        this.optionsFail ? callback({ code: 13, details: "no options today" }) : callback(null, {}),
      listAndWatch: (stream: ServerWritableStream<Empty, ListAndWatchResponse>) => {
        this.streams.push(stream);
        stream.write({ devices: this.devices });
      },
      allocate: ({ request }: { request: AllocateRequest }, callback: sendUnaryData<object>) =>
        callback(null, {
          containerResponses: request.containerRequests.map(({ devicesIds }) => ({
            ...empty,
            devices: devicesIds.map((id) => ({
              hostPath: `/dev/${id}`,
              containerPath: `/dev/${id}`,
              permissions: "rw",
            })),
          })),
        }),
      getPreferredAllocation: (_: unknown, callback: sendUnaryData<object>) => callback({ code: 12 }),
      preStartContainer: (_: unknown, callback: sendUnaryData<object>) => callback(null, {}),
    });
    this.server.addService(WatcherService, {
      getInfo: (_: unknown, callback: sendUnaryData<object>) => {
        if (!this.answersInfo) return;
        callback(null, { type: "DevicePlugin", name: this.name, endpoint: socket, supportedVersions: ["v1beta1"] });
      },
      notifyRegistrationStatus: ({ request }: { request: RegistrationStatus }, callback: sendUnaryData<object>) => {
        this.statuses.push(request);
        callback(null, {});
      },
    });
    await new Promise<void>((resolve, reject) =>
      this.server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
  }

  send(devices: Device[]): void {
    for (const stream of this.streams) stream.write({ devices });
  }
}

const empty = { envs: {}, mounts: [], devices: [], annotations: {}, cdiDevices: [] };
const healthy = (ID: string): Device => ({ ID, health: "Healthy", topology: undefined });
const unhealthy = (ID: string): Device => ({ ID, health: "Unhealthy", topology: undefined });

const little = "x.io/little";
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

function aKubelet(): KubeletDouble {
  const folder = temporaryFolder();
  const kubelet = new KubeletDouble(folder, "watcher", `${folder}/sys/fs/cgroup`);
  closers.push(
    () => removeTemporaryFolder(folder),
    () => kubelet.stop(),
  );
  return kubelet;
}

const recordsOf = ({ devicePlugins }: KubeletDouble) => readCheckpoint(`${devicePlugins}/kubelet_internal_checkpoint`);

async function registered(prepare: (plugin: LittlePlugin) => void = () => {}): Promise<[KubeletDouble, LittlePlugin]> {
  const kubelet = aKubelet();
  await kubelet.start();
  return [kubelet, await started(kubelet, prepare)];
}

async function started(kubelet: KubeletDouble, prepare: (plugin: LittlePlugin) => void): Promise<LittlePlugin> {
  const plugin = new LittlePlugin();
  prepare(plugin);
  closers.push(() => plugin.server.forceShutdown());
  await plugin.listen(`${kubelet.registry}/little.sock`);
  return plugin;
}

describe("the kubelet double", () => {
  test("counts what a list says, and takes every list for the whole", async () => {
    const [kubelet, plugin] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    plugin.send([healthy("a"), unhealthy("b"), healthy("c")]);
    await kubelet.waitFor(() => kubelet.resource(little).lists === 2, "a second list");
    expect(kubelet.resource(little)).toMatchObject({ capacity: 3, allocatable: 2, repeatedLists: 0 });
    plugin.send([healthy("a"), unhealthy("b"), healthy("c")]);
    await kubelet.waitFor(() => kubelet.resource(little).repeatedLists === 1, "the same list");
    expect(plugin.statuses).toEqual([{ pluginRegistered: true, error: "" }]);
  });

  test("keeps the capacity when the stream ends, calls nothing healthy, and does not open it again", async () => {
    const [kubelet, plugin] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    for (const stream of plugin.streams) stream.end();
    await kubelet.waitFor(() => !kubelet.resource(little).connected, "the end of the stream");
    expect(kubelet.resource(little)).toMatchObject({ capacity: 2, allocatable: 0, streams: 1 });
    kubelet.endOfGrace();
    expect(kubelet.resource(little).capacity).toBe(0);
    await expect(kubelet.allocate(little, 1)).rejects.toThrow("cannot allocate unregistered device");
  });

  test("takes a socket that is created again for a new registration", async () => {
    const [kubelet] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    renameSync(`${kubelet.registry}/little.sock`, `${kubelet.registry}/.hidden`);
    renameSync(`${kubelet.registry}/.hidden`, `${kubelet.registry}/little.sock`);
    await kubelet.waitFor(() => kubelet.resource(little).streams === 2, "a second stream");
    await kubelet.waitForAllocatable(little, 2);
  });

  test("deregisters a plugin whose socket was removed", async () => {
    const [kubelet] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    rmSync(`${kubelet.registry}/little.sock`);
    await kubelet.waitFor(() => kubelet.count("socket removed") === 1, "the removal");
    expect(kubelet.resource(little)).toMatchObject({ connected: false, allocatable: 0 });
  });

  test("finds the sockets that were there before it started, but not hidden ones and not other files", async () => {
    const kubelet = aKubelet();
    mkdirSync(kubelet.registry, { recursive: true });
    await started(kubelet, () => {});
    writeFileSync(`${kubelet.registry}/no-socket`, "");
    const hidden = new LittlePlugin();
    closers.push(() => hidden.server.forceShutdown());
    await hidden.listen(`${kubelet.registry}/.hidden`);
    await kubelet.start();
    await kubelet.waitForAllocatable(little, 2);
    expect(kubelet.count("GetInfo")).toBe(1);
    expect(hidden.streams).toEqual([]);
  });

  test("gives up on GetInfo after a second, and calls it again later", async () => {
    const [kubelet, plugin] = await registered((each) => {
      each.answersInfo = false;
    });
    await kubelet.waitFor(() => kubelet.count("registration failed", "little.sock") === 1, "the first failure");
    plugin.answersInfo = true;
    await kubelet.waitForAllocatable(little, 2);
  });

  test("uses no plugin that does not answer with its options, and notifies it", async () => {
    const [kubelet, plugin] = await registered((each) => {
      each.optionsFail = true;
    });
    await kubelet.waitFor(() => plugin.statuses.length > 0, "the plugin is notified");
    expect(plugin.statuses[0]).toMatchObject({ pluginRegistered: false });
    expect(kubelet.resource(little)).toMatchObject({ capacity: 0, streams: 0 });
  });

  test.each(["no-prefix", "kubernetes.io/x", "requests.x.io/y", "X.io/y", "x.io/-y"])(
    "refuses %s, which is no name of an extended resource",
    async (name) => {
      const [kubelet, plugin] = await registered((each) => {
        each.name = name;
      });
      await kubelet.waitFor(() => plugin.statuses.length > 0, "the plugin is notified");
      expect(plugin.statuses[0]).toMatchObject({ pluginRegistered: false });
    },
  );

  test("hands out each healthy device once, and remembers who has what over a restart", async () => {
    const [kubelet] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    await kubelet.allocate(little, ["b"], { pod: "first" });
    await expect(kubelet.allocate(little, 2)).rejects.toThrow("unavailable");
    await expect(kubelet.allocate(little, ["b"])).rejects.toThrow("unavailable");
    await kubelet.restart();
    await kubelet.waitForAllocatable(little, 2);
    expect(kubelet.free(little)).toEqual(["a"]);
    const held = new Map([["b", little]]);
    expect(heldBy(devicesIn(recordsOf(kubelet)))).toEqual(held);
    expect(heldBy(podDevicesIn(await podResources(kubelet)))).toEqual(held);
    kubelet.release("first");
    expect(kubelet.free(little)).toEqual(["a", "b"]);
    expect(await podResources(kubelet)).toEqual({ podResources: [] });
    // A pod that ended leaves the checkpoint when the next one is admitted.
    expect(heldBy(devicesIn(recordsOf(kubelet)))).toEqual(held);
    await kubelet.allocate(little, ["a"], { pod: "second" });
    expect(heldBy(devicesIn(recordsOf(kubelet)))).toEqual(new Map([["a", little]]));
  });

  test("makes a pod's cgroup at its admission, and removes it when the pod ends or the node is rebooted", async () => {
    for (const driver of ["systemd", "cgroupfs"] as const) {
      const kubelet = aKubelet();
      kubelet.cgroupDriver = driver;
      await kubelet.start();
      await started(kubelet, () => {});
      await kubelet.waitForAllocatable(little, 2);
      expect(readPodCgroups(kubelet.root)).toEqual(new Set());
      await kubelet.allocate(little, ["a"], { pod: "first" });
      await kubelet.allocate(little, ["b"], { pod: "second" });
      await kubelet.restart();
      expect(readPodCgroups(kubelet.root)).toEqual(new Set([podUid("first"), podUid("second")]));
      kubelet.release("first");
      expect(readPodCgroups(kubelet.root)).toEqual(new Set([podUid("second")]));
      await kubelet.reboot();
      expect(readPodCgroups(kubelet.root)).toEqual(new Set());
      expect(heldBy(devicesIn(recordsOf(kubelet))).get("b")).toBe(little);
    }
  });

  test("after a reboot starts a pod by its cached answer, unless a device is not healthy", async () => {
    const [kubelet, plugin] = await registered();
    await kubelet.waitForAllocatable(little, 2);
    await kubelet.allocate(little, ["a"], { pod: "first" });
    expect(recordsOf(kubelet).map(cachedAnswerIn)).toMatchObject([{ resource: little, ids: ["a"], nodes: ["/dev/a"] }]);
    await kubelet.reboot();
    await kubelet.waitForAllocatable(little, 2);
    plugin.send([unhealthy("a"), healthy("b")]);
    await kubelet.waitForAllocatable(little, 1);
    expect(() => kubelet.readmit("first")).toThrow("no longer healthy");
    plugin.send([healthy("a"), healthy("b")]);
    await kubelet.waitForAllocatable(little, 2);
    kubelet.readmit("first");
    expect(kubelet.free(little)).toEqual(["b"]);
    expect(readPodCgroups(kubelet.root)).toEqual(new Set([podUid("first")]));
    expect(kubelet.count("Allocate")).toBe(1);
  });

  test("wipes the sockets of plugins in its own folder when it starts, and takes Register calls", async () => {
    const kubelet = aKubelet();
    mkdirSync(kubelet.devicePlugins, { recursive: true });
    const stale = new LittlePlugin();
    closers.push(() => stale.server.forceShutdown());
    await stale.listen(`${kubelet.devicePlugins}/little.sock`);
    writeFileSync(`${kubelet.devicePlugins}/kubelet_internal_checkpoint`, "{}");
    await kubelet.start();
    expect(existsSync(`${kubelet.devicePlugins}/little.sock`)).toBe(false);
    expect(existsSync(`${kubelet.devicePlugins}/kubelet_internal_checkpoint`)).toBe(true);
    const plugin = new LittlePlugin();
    closers.push(() => plugin.server.forceShutdown());
    await plugin.listen(`${kubelet.devicePlugins}/again.sock`);
    expect(await register(kubelet, "v1alpha1")).toContain("v1alpha1 is not supported");
    kubelet.registration = "refuse";
    expect(await register(kubelet, "v1beta1")).toContain("refuses");
    kubelet.registration = "accept";
    expect(await register(kubelet, "v1beta1")).toBeNull();
    await kubelet.waitForAllocatable(little, 2);
    expect(kubelet.resource(little)).toMatchObject({ registrations: 3, streams: 1 });
  });
});

/** Registers again.sock; returns the refusal, or null. */
function register(kubelet: KubeletDouble, version: string): Promise<string | null> {
  const client = new RegistrationClient(`unix:${kubelet.devicePlugins}/kubelet.sock`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
  });
  const { promise, resolve } = Promise.withResolvers<string | null>();
  client.register({ version, endpoint: "again.sock", resourceName: little, options: undefined }, (error) =>
    resolve(error && error.details),
  );
  return promise.finally(() => client.close());
}

function podResources(kubelet: KubeletDouble): Promise<ListPodResourcesResponse> {
  const socket = `unix:${kubelet.root}/pod-resources/kubelet.sock`;
  const client = new PodResourcesListerClient(socket, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
  });
  const { promise, resolve, reject } = Promise.withResolvers<ListPodResourcesResponse>();
  client.list({}, (error, answer) => (error ? reject(error) : resolve(answer)));
  return promise.finally(() => client.close());
}
