// What does the running plugin answer at its socket: liveness, readiness, status?

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { parse } from "yaml";
import type { Status } from "../../src/telemetry/plugin-status.ts";
import { setLink } from "../support/live.ts";
import { host, Plugin, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { askPlugin, healthy, listed, modes, rescan, running, statusOf } from "./live.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };

const start = (mode: "watcher" | "legacy" = "watcher", args: readonly string[] = []) =>
  running({ node: "iavf-vfs", config, resources: [net], mode, args });

const socketOf = (node: TestNode) => `${node.root}/run/sriovdp/status.sock`;
const fallbackOf = (node: TestNode) => `${node.kubelet.registry}/.sriovdp-status.sock`;

/** Probes; returns the exit status and standard error. */
async function probe(node: TestNode, what: "startup" | "liveness" | "readiness", ...args: readonly string[]) {
  const { status, stderr, stdout } = await node.command("probe", what, ...args);
  expect(stdout).toBe(status === 0 ? "ok\n" : "");
  return { status, stderr };
}

/** Waits until readiness is what is expected; returns the reasons. */
async function becomesReady(node: TestNode, ready: boolean): Promise<string> {
  let text = "";
  await until(
    ready ? "the plugin is ready" : "the plugin is not ready",
    async () => {
      const response = await askPlugin(node, "/readyz");
      text = await response.text();
      return response.ok === ready;
    },
    { found: () => `${text}\n${node.plugin.log}` },
  );
  return text;
}

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe.concurrent("the status socket", () => {
  test("is open to root alone, in a folder of root's alone, and is gone after the end", async () => {
    await using node = await start();
    expect([mode(socketOf(node)), mode(`${node.root}/run/sriovdp`)]).toEqual(["600", "700"]);
    expect(await probe(node, "liveness")).toEqual({ status: 0, stderr: "" });
    await node.plugin.stop();
    expect(node.names(`${node.root}/run/sriovdp`)).toEqual([]);
  });

  test("is in the kubelet's plugins_registry, hidden, if /run is not writable", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    writeFileSync(`${node.root}/run`, "in the way");
    await node.start([net]);
    expect(mode(fallbackOf(node))).toBe("600");
    expect(await node.plugin.waitForLine(/status socket is open/)).toContain("plugins_registry");
    expect(await probe(node, "readiness")).toEqual({ status: 0, stderr: "" });
    expect(healthy(node, net)).toHaveLength(4);
    await node.plugin.stop();
    expect(node.pluginSockets()).toEqual([]);
  });

  test("is left out where it can't be made, with one warning", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config, mode: "legacy" });
    writeFileSync(`${node.root}/run`, "in the way");
    await node.start([net], "--resync-interval=1", "-v=5");
    for (let scans = 0, from = 0; scans < 2; scans++, from = node.plugin.lines.length)
      await node.plugin.waitForLine(/scanned the node/, from);
    expect(node.plugin.lines.filter((line) => line.includes("cannot open a status socket"))).toHaveLength(1);
    const { status, stderr } = await probe(node, "liveness");
    expect(status).toBe(1);
    expect(stderr).toContain(`there is no socket at ${socketOf(node)} or ${fallbackOf(node)}`);
    expect(await node.kubelet.allocate(net, 1)).toBeObject();
  });

  test("is waited for by the start-up probe of a plugin that starts later", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const early = probe(node, "startup");
    await node.start([net]);
    expect(await early).toEqual({ status: 0, stderr: "" });
    expect(await probe(node, "readiness")).toEqual({ status: 0, stderr: "" });
  });

  test("is not made at a path that no client could connect to", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([net], `--status-socket=${node.root}/${"x".repeat(108)}`);
    expect(await node.plugin.waitForLine(/cannot open a status socket/)).toContain("longer than the 107 bytes");
    expect(await node.kubelet.allocate(net, 1)).toBeObject();
  });

  test("is at the path of --status-socket, and nowhere else", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const path = `${node.root}/here/s.sock`;
    await node.start([net], "--status-socket", path);
    expect([mode(path), mode(`${node.root}/here`)]).toEqual(["600", "700"]);
    expect(existsSync(socketOf(node))).toBeFalse();
    expect(await probe(node, "liveness", "--status-socket", path)).toEqual({ status: 0, stderr: "" });
    expect(await probe(node, "liveness")).toMatchObject({ status: 1 });
  });

  test("is the newer instance's while two overlap, and stays when the older ends", async () => {
    await using node = await start();
    const older = node.plugin;
    const newer = node.startPlugin();
    try {
      await newer.waitUntilReady();
      expect((await statusOf(node)).pid).toBe(newer.pid);
      await older.stop();
      expect((await statusOf(node)).pid).toBe(newer.pid);
    } finally {
      older.kill();
      await older.ended();
    }
  });

  test("is put back by the older instance when the newer one was killed", async () => {
    await using node = await start();
    const older = node.plugin;
    const newer = node.startPlugin();
    try {
      await newer.waitUntilReady();
      newer.kill();
      await newer.ended();
      expect(await probe(node, "liveness")).toMatchObject({ status: 1 });
      older.signal("SIGHUP");
      await until(
        "the older one answers",
        async () => (await askPlugin(node, "/livez").catch(() => null))?.ok === true,
      );
      expect((await statusOf(node)).pid).toBe(older.pid);
      expect(await older.stop()).toBe(0);
      expect(node.names(`${node.root}/run/sriovdp`)).toEqual([]);
    } finally {
      older.kill();
      await older.ended();
    }
  });

  test("is not taken by a start that fails", async () => {
    await using node = await start();
    const bad = `${node.root}/bad.json`;
    writeFileSync(bad, "{ nonsense");
    const failing = new Plugin(["--root", node.root, "--config-file", bad]);
    expect(await failing.ended()).toBe(2);
    expect((await statusOf(node)).pid).toBe(node.plugin.pid);
  });

  test("answers GET on its own routes, and nothing else", async () => {
    await using node = await start();
    const answers = async (route: string, init = {}) => {
      const response = await fetch(`http://localhost${route}`, { ...init, unix: socketOf(node) });
      return [response.status, response.headers.get("content-type")?.split(";")[0]];
    };
    expect(await answers("/livez")).toEqual([200, "text/plain"]);
    expect(await answers("/status")).toEqual([200, "application/json"]);
    expect(await answers("/")).toEqual([404, "text/plain"]);
    expect(await answers("/livez?verbose=1")).toEqual([200, "text/plain"]);
    expect(await answers("/livez", { method: "POST", body: "x" })).toEqual([405, "text/plain"]);
    const head = await askPlugin(node, "/livez", socketOf(node), { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "3", ""]);
  });

  test("answers malformed and incomplete requests, and goes on", async () => {
    await using node = await start();
    const sent: readonly (readonly [string, RegExp])[] = [
      ["\0\r\n\r\n", /^HTTP\/1\.1 400 |^$/],
      ["GET / HTTP/9.9\r\n\r\n", /^HTTP\/1\.1 [45]0\d |^$/],
      [`GET /${"a".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1\.1 4\d\d |^$/],
      ["POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nx", /^HTTP\/1\.1 4\d\d |^$/],
    ];
    for (const [request, expected] of sent) {
      let answer = "";
      const { promise, resolve } = Promise.withResolvers<void>();
      const socket = connect({ path: socketOf(node) }, () => socket.write(request));
      socket.on("data", (piece) => {
        answer += piece.toString();
        resolve();
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      await promise;
      socket.destroy();
      expect(answer).toMatch(expected);
      expect(await (await askPlugin(node, "/livez")).text()).toBe("ok\n");
    }
    const silent = Array.from({ length: 100 }, () => connect({ path: socketOf(node) }));
    for (const socket of silent) socket.on("error", () => {});
    expect(await (await askPlugin(node, "/livez")).text()).toBe("ok\n");
    for (const socket of silent) socket.destroy();
  });
});

describe.concurrent("liveness", () => {
  test("fails within the probe's own limit when the plugin is stopped by a signal", async () => {
    await using node = await start();
    node.plugin.signal("SIGSTOP");
    const began = performance.now();
    const { status, stderr } = await probe(node, "liveness");
    expect(status).toBe(1);
    expect(stderr).toContain("did not answer");
    expect(performance.now() - began).toBeLessThan(8000);
    node.plugin.signal("SIGCONT");
    expect(await probe(node, "liveness")).toEqual({ status: 0, stderr: "" });
  }, 30_000);

  test("is there before the kubelet is", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    node.startPlugin();
    await node.plugin.waitForLine(/waiting for the kubelet's folders/);
    expect(await probe(node, "liveness")).toEqual({ status: 0, stderr: "" });
    expect(await becomesReady(node, false)).toBe("the initial node scan is not complete\n");
    await node.kubelet.start();
    await becomesReady(node, true);
  });
});

describe.concurrent("readiness", () => {
  test.each(modes)("(%s) fails with the kubelet's reason while it refuses a pool", async (mode) => {
    await using node = await start(mode);
    node.kubelet.stop();
    node.kubelet.registration = "refuse";
    await node.kubelet.start();
    expect(await becomesReady(node, false)).toContain(net);
    await until("the rejection is reported", async () =>
      /rejects pool intel.com\/net: ./.test(await becomesReady(node, false)),
    );
    expect((await statusOf(node)).pools).toMatchObject([{ registration: { state: "rejected", streams: 0 } }]);
    expect(await probe(node, "readiness")).toMatchObject({ status: 1 });
    expect(await probe(node, "liveness")).toMatchObject({ status: 0 });
    node.kubelet.registration = "accept";
    await becomesReady(node, true);
  });

  test.each(modes)("(%s) holds while the kubelet is away", async (mode) => {
    await using node = await start(mode);
    node.kubelet.stop();
    await until("the stream's end is seen", async () => (await statusOf(node)).pools[0]?.registration?.streams === 0);
    expect(await becomesReady(node, true)).toBe("ok\n");
    await node.kubelet.start();
    await until("the kubelet listens", async () => {
      const [pool] = (await statusOf(node)).pools;
      return pool?.registration?.state === "connected" && pool.registration.registrations >= 2;
    });
  });

  test("fails while the kubelet has registered a pool and has no stream to it", async () => {
    await using node = await start();
    node.kubelet.holdsStreams = true;
    await node.kubelet.restart();
    expect(await becomesReady(node, false)).toContain("is not connected to pool intel.com/net yet");
    node.kubelet.holdsStreams = false;
    await becomesReady(node, true);
  });
});

describe.concurrent("the status", () => {
  test("shows each pool as the kubelet has it, and each allocation", async () => {
    await using node = await running({
      node: "iavf-vfs",
      config: { resourceList: [...config.resourceList, { resourceName: "none", selectors: { vendors: ["ffff"] } }] },
      resources: [net],
    });
    await node.kubelet.allocate(net, 2);
    await node.kubelet.callAllocate(net, [["0000:00:00.0"]]).catch(() => {});
    const { pools, mode, ready, config: active } = await statusOf(node);
    expect({ mode, ready, generation: active.generation }).toEqual({ mode: "watcher", ready: true, generation: 1 });
    expect(pools).toMatchObject([
      {
        resource: net,
        registration: { state: "connected", registrations: 1, streams: 1 },
        allocations: { calls: 2, failures: 1 },
      },
      { resource: "intel.com/none", registration: null, devices: [] },
    ]);
    expect(pools[0]?.devices.map(({ id }) => id)).toEqual(listed(node, net));
  });

  test("shows which pod has a device, as the kubelet does", async () => {
    await using node = await start();
    await node.kubelet.allocate(net, ["0000:3b:01.0"], { pod: "first" });
    const held = { resource: net, id: "0000:3b:01.0", pod: expect.stringContaining("/first") as string };
    expect(await statusOf(node)).toMatchObject({ allocated: [held], allocatedFailure: null });
    expect((await node.command("status")).stdout).toMatch(
      /0000:3b:01.0 +VF 0 of ens1f0 +ens1f0v0 +intel.com\/net +\S+\/first +Healthy\n/,
    );
    node.kubelet.release("first");
    expect(await statusOf(node)).toMatchObject({ allocated: [] });
  });

  test("shows why a device is Unhealthy", async () => {
    await using node = await start();
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(net, 0);
    const [pool] = (await statusOf(node)).pools;
    expect(pool?.devices[0]).toMatchObject({
      health: "Unhealthy",
      unhealthyReason: expect.stringContaining("ens1f0") as string,
    });
    const { stdout } = await node.command("status");
    expect(stdout).toMatch(/0000:3b:0\S+ +VF 0-\d of ens1f0 +\S+ +intel.com\/net +Unhealthy: \S.*ens1f0/);
  });

  test("shows that the config file was rejected, with every problem, and that the previous config stays active", async () => {
    await using node = await start();
    node.configure('{"resourceList": [{"resourceName": "net"}, {"selectors": {}}]}');
    node.plugin.signal("SIGHUP");
    await node.plugin.waitForLine(/the previous config stays active/);
    const { config, pools } = await statusOf(node);
    expect(config).toMatchObject({ generation: 1, lastReload: { success: false } });
    expect(config.lastReload?.problems.map(({ path }) => path)).toEqual([
      "resourceList[0].selectors",
      "resourceList[1].resourceName",
    ]);
    expect(pools).toHaveLength(1);
    const { stdout } = await node.command("status");
    expect(stdout).toContain("config rejected; the previous config stays active");
    expect(stdout).toContain("resourceList[1].resourceName: missing");
    node.configure({ resourceList: [] });
    await rescan(node.plugin);
    expect((await statusOf(node)).config).toMatchObject({ generation: 2, lastReload: { success: true, problems: [] } });
  });

  test("is available as JSON and YAML too", async () => {
    await using node = await start();
    const json = JSON.parse((await node.command("status", "-o", "json")).stdout) as Status;
    const yaml = parse((await node.command("status", "-o", "yaml")).stdout) as Status;
    expect(yaml.pools).toEqual(json.pools);
    expect(json.pools.map(({ resource }) => resource)).toEqual([net]);
  });
});
