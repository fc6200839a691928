import type { ServiceError } from "@grpc/grpc-js";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import {
  AllocateRequest,
  AllocateResponse,
  DevicePluginOptions,
  ListAndWatchResponse,
} from "../../src/kubelet/api/deviceplugin.ts";
import { PluginInfo } from "../../src/kubelet/api/pluginregistration.ts";
import { pluginClient } from "../support/grpc.ts";
import {
  callHeaders,
  data,
  dataOf,
  endStream,
  framesIn,
  grpcMessage,
  preface,
  settings,
} from "../support/http2-frames.ts";
import { removeFunction } from "../support/live.ts";
import { buildNode } from "../support/node.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const resource = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
const aNode = (mode: "watcher" | "legacy") => new TestNode({ entries: host("iavf-vfs"), config, mode });

test("a client that shares nothing with the plugin's library is answered: frames of HTTP/2, byte by byte", async () => {
  await using node = aNode("watcher");
  await node.start([resource]);
  const socket = connect({ path: `${node.kubelet.registry}/intel.com_net.sock` });
  let received: Buffer = Buffer.alloc(0);
  socket.on("data", (piece: Buffer) => (received = Buffer.concat([received, piece])));
  socket.on("error", () => {});
  const methods = ["GetDevicePluginOptions", "ListAndWatch", "Allocate"].map((name) => `/v1beta1.DevicePlugin/${name}`);
  const allocate = AllocateRequest.encode({ containerRequests: [{ devicesIds: ["0000:3b:01.0"] }] }).finish();
  const calls = ["/pluginregistration.Registration/GetInfo", ...methods].map((path, index) =>
    Buffer.concat([
      callHeaders(2 * index + 1, path),
      data(2 * index + 1, grpcMessage(path.endsWith("/Allocate") ? allocate : new Uint8Array()), endStream),
    ]),
  );
  try {
    socket.write(Buffer.concat([preface, settings, ...calls]));
    const answers = () => [1, 3, 5, 7].map((stream) => dataOf(received, stream));
    await until("all are answered", () => answers().every((answer) => answer.length >= 5));
    const [info, options, list, allocated] = answers().map((answer) => {
      expect([answer[0], answer.readUInt32BE(1)]).toEqual([0, answer.length - 5]);
      return answer.subarray(5);
    }) as [Buffer, Buffer, Buffer, Buffer];
    expect(PluginInfo.decode(info)).toMatchObject({ type: "DevicePlugin", name: resource });
    expect(DevicePluginOptions.decode(options).preStartRequired).toBe(false);
    expect(ListAndWatchResponse.decode(list).devices).toHaveLength(4);
    expect(AllocateResponse.decode(allocated).containerResponses[0]?.envs).toMatchObject({
      PCIDEVICE_INTEL_COM_NET: "0000:3b:01.0",
    });
    // The unary calls have ended, by trailers with END_STREAM; the list's stream has not.
    const ended = () =>
      framesIn(received)
        .filter(({ type, flags }) => type === 1 && (flags & endStream) !== 0)
        .map(({ stream }) => stream);
    await until("the unary calls end", () => ended().length === 3);
    expect(ended().toSorted()).toEqual([1, 3, 7]);
  } finally {
    socket.destroy();
  }
});

// Every list makes a kubelet write its checkpoint, which the plugin sees: what it registers again then, it registers for ever.
test("a kubelet that has a stream, and took too long to answer Register, is not registered with again", async () => {
  await using node = aNode("legacy");
  node.kubelet.registration = "mute";
  await node.start([]);
  await node.kubelet.waitForAllocatable(resource, 4);
  await node.plugin.waitForLine(/cannot register the pool.*DEADLINE_EXCEEDED/);
  await node.kubelet.allocate(resource, 1);
  // After so many requests the plugin has read the checkpoint, and would have registered.
  for (let requests = 0; requests < 20; requests++)
    await (await fetch("http://localhost/status", { unix: `${node.root}/run/sriovdp/status.sock` })).text();
  expect(node.kubelet.resource(resource)).toMatchObject({ connected: true, registrations: 1 });
});

describe.concurrent("a kubelet before 1.25, which does not ask for options", () => {
  test("has the pool, and gets it back after its connection broke and after a restart", async () => {
    await using node = aNode("legacy");
    node.kubelet.asksOptions = false;
    await node.start([resource]);
    node.kubelet.breakConnection(resource);
    await node.kubelet.waitForAllocatable(resource, 4);
    await node.kubelet.restart();
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.kubelet.count("GetDevicePluginOptions")).toBe(0);
    expect(node.kubelet.resource(resource).options).toEqual({
      preStartRequired: false,
      getPreferredAllocationAvailable: false,
    });
  });

  test("that is late in opening its stream gets the list when it does", async () => {
    await using node = aNode("legacy");
    node.kubelet.asksOptions = false;
    node.kubelet.holdsStreams = true;
    await node.start([]);
    await node.kubelet.waitFor((kubelet) => kubelet.resource(resource).registrations > 0, "a registration");
    node.kubelet.holdsStreams = false;
    await node.kubelet.waitForAllocatable(resource, 4);
    expect(node.kubelet.resource(resource)).toMatchObject({ registrations: 1, streams: 1 });
  });
});

test("a folder for the watcher's plugins decides how the pool is announced", async () => {
  await using node = aNode("watcher");
  await node.start([resource]);
  expect(node.names(node.kubelet.registry)).toEqual(["intel.com_net.sock"]);
  expect(node.kubelet.count("Register")).toBe(0);
});

test("another root directory of the kubelet is used when it is named", async () => {
  await using node = aNode("watcher");
  const moved = new TestNode({ entries: [], config: null });
  try {
    await moved.kubelet.start();
    node.startPlugin(`--kubelet-root-dir=${moved.kubelet.root}`);
    await moved.kubelet.waitForAllocatable(resource, 4);
  } finally {
    await moved.close();
  }
});

test("every pool has a socket of its own", async () => {
  await using node = new TestNode({
    entries: host("mixed"),
    config: {
      resourceList: [
        { resourceName: "net", selectors: { drivers: ["iavf"] } },
        { resourceName: "net", resourcePrefix: "mellanox.com", selectors: { vendors: ["15b3"] } },
        { resourceName: "fpga", deviceType: "accelerator", selectors: {} },
        { resourceName: "nothing", selectors: { vendors: ["1234"] } },
      ],
    },
  });
  await node.start(["intel.com/net", "mellanox.com/net", "intel.com/fpga"]);
  expect(node.pluginSockets()).toEqual(["intel.com_fpga.sock", "intel.com_net.sock", "mellanox.com_net.sock"]);
});

test("1,024 VFs in 16 pools are all offered, each list sent once", async () => {
  const pools = Array.from({ length: 16 }, (_, index) => index);
  await using node = new TestNode({
    entries: buildNode({
      pfs: [0, 1, 2, 3].map((pf) => ({ nic: "e810", name: `ens${pf}f0`, vfs: [{ count: 256 }] })),
    }),
    config: {
      resourceList: pools.map((index) => {
        const from = (index % 4) * 64;
        const pfNames = [`ens${Math.floor(index / 4)}f0#${from}-${from + 63}`];
        return { resourceName: `pool${index}`, selectors: { pfNames } };
      }),
    },
  });
  const resources = pools.map((index) => `intel.com/pool${index}`);
  await node.start(resources);
  const ids = resources.flatMap((each) => [...node.kubelet.resource(each).devices.keys()]);
  expect(new Set(ids).size).toBe(1024);
  expect(resources.map((each) => node.kubelet.resource(each).allocatable)).toEqual(pools.map(() => 64));
  expect(resources.map((each) => node.kubelet.resource(each).lists)).toEqual(pools.map(() => 1));
  expect((await node.kubelet.allocate("intel.com/pool15", 64)).envs["PCIDEVICE_INTEL_COM_POOL15"]).toHaveLength(
    64 * 13 - 1,
  );
});

test("calls that the pool does not offer are answered, and harm nothing", async () => {
  await using node = aNode("watcher");
  await node.start([resource]);
  const client = pluginClient(`${node.kubelet.registry}/intel.com_net.sock`);
  try {
    const { promise, resolve } = Promise.withResolvers<ServiceError | null>();
    client.getPreferredAllocation({ containerRequests: [] }, resolve);
    expect(await promise).toBeNull();
    const prestart = Promise.withResolvers<ServiceError | null>();
    client.preStartContainer({ devicesIds: [] }, prestart.resolve);
    expect(await prestart.promise).toBeNull();
    // A stream that is opened and cancelled a hundred times leaves nothing behind that would be sent to.
    for (let index = 0; index < 100; index++) {
      const stream = client.listAndWatch({});
      stream.on("error", () => {});
      const received = Promise.withResolvers<void>();
      stream.once("data", () => received.resolve());
      await received.promise;
      stream.cancel();
    }
  } finally {
    client.close();
  }
  removeFunction(node.root, "0000:3b:01.3");
  await node.kubelet.waitForAllocatable(resource, 3);
  await until("the plugin runs", () => node.plugin.isRunning);
});
