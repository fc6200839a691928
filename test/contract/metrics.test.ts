// What does a scrape of the running plugin say, and who may make one?

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { draMetrics } from "../../src/telemetry/dra-metrics.ts";
import { metrics, poolStates } from "../../src/telemetry/metrics.ts";
import { DraNode, driver } from "../support/dra-node.ts";
import { setLink } from "../support/live.ts";
import { host, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { rescan, running } from "./live.ts";
import { samples, scrape, type Series } from "./scrape.ts";

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };

const vfs = ["0000:3b:01.0", "0000:3b:01.1", "0000:3b:01.2", "0000:3b:01.3"];

const start = (...args: readonly string[]) => running({ node: "iavf-vfs", config, resources: [net], args });

/** The value of the one series that has this name and these labels. */
function valueOf(series: Series, name: string, labels: Readonly<Record<string, string>> = {}): number | null {
  const found = samples(series, name).filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  expect(found.length).toBeLessThanOrEqual(1);
  return found[0]?.value ?? null;
}

/** A port without a listener for now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.concurrent("a scrape", () => {
  test("has every metric of the table, with the labels that the table names, and no other", async () => {
    await using node = await start();
    await using other = await DraNode.start({ entries: host("iavf-vfs"), config });
    other.startPlugin(...other.args);
    await other.waitForPublished(...vfs);
    await other.plugin.waitUntilReady();
    const namesOf = (series: Series) => new Set(series.map(({ name }) => name.replace(/_(bucket|sum|count)$/, "")));
    const series = await scrape(other);
    const all = Object.keys(metrics).toSorted();
    expect([...namesOf(series)].toSorted()).toEqual(all);
    expect([...namesOf(await scrape(node))].toSorted()).toEqual(all.filter((name) => !(name in draMetrics)));
    for (const [name, { labels, type }] of Object.entries(metrics)) {
      for (const sample of series.filter((each) => each.name === name || each.name === `${name}_bucket`))
        expect(Object.keys(sample.labels)).toEqual([...labels, ...(type === "histogram" ? ["le"] : [])]);
    }
  });

  test("counts what is published and prepared in the DRA role", async () => {
    await using node = await DraNode.start({ entries: host("iavf-vfs"), config });
    node.startPlugin(...node.args);
    await node.waitForPublished(...vfs);
    await node.dra.waitForPlugins(driver);
    const claim = node.claim("pod", node.result("nics", "0000:3b:01.0"));
    await node.dra.prepare(driver, claim);
    await node.dra.prepare(driver, { ...claim, uid: crypto.randomUUID() }).catch(() => {});
    setLink(node.root, "ens1f0", "down");
    await node.waitForPublished(...vfs.map((id) => `${id} ${driver}/unhealthy`));
    await until("the plugin has seen it", async () => {
      const found = valueOf(await scrape(node), "sriovdp_dra_published_devices", { tainted: "true" });
      return found === vfs.length;
    });
    const series = await scrape(node);
    expect({
      current: valueOf(series, "sriovdp_dra_publication_current"),
      creates: valueOf(series, "sriovdp_dra_slice_writes_total", { action: "create" }),
      updates: valueOf(series, "sriovdp_dra_slice_writes_total", { action: "update" }),
      claims: valueOf(series, "sriovdp_dra_claims_prepared"),
      failures: valueOf(series, "sriovdp_dra_prepare_failures_total"),
      calls: valueOf(series, "sriovdp_dra_prepare_duration_seconds_count"),
      allocated: valueOf(series, "sriovdp_devices_allocated", { resource: net }),
    }).toEqual({ current: 1, creates: 1, updates: 1, claims: 1, failures: 1, calls: 2, allocated: 1 });
  });

  test("count devices, allocations and failures by pool, never by device", async () => {
    await using node = await start();
    const before = (await scrape(node)).length;
    await node.kubelet.allocate(net, 2);
    await node.kubelet.callAllocate(net, [["0000:00:00.0"]]).catch(() => {});
    setLink(node.root, "ens1f0", "down");
    await node.kubelet.waitForAllocatable(net, 0);
    const series = await scrape(node);
    const resource = { resource: net };
    expect({
      healthy: valueOf(series, "sriovdp_devices", { ...resource, health: "Healthy" }),
      unhealthy: valueOf(series, "sriovdp_devices", { ...resource, health: "Unhealthy" }),
      held: valueOf(series, "sriovdp_devices_allocated", resource),
      calls: valueOf(series, "sriovdp_allocate_calls_total", resource),
      failures: valueOf(series, "sriovdp_allocate_failures_total", resource),
      devices: valueOf(series, "sriovdp_allocated_devices_total", resource),
      durations: valueOf(series, "sriovdp_allocate_duration_seconds_count"),
      flaps: valueOf(series, "sriovdp_link_flaps_total", resource),
      changes: valueOf(series, "sriovdp_health_changes_total", { ...resource, health: "Unhealthy" }),
      streams: valueOf(series, "sriovdp_list_streams", resource),
      state: valueOf(series, "sriovdp_pool_state", { ...resource, state: "connected" }),
    }).toEqual({
      ...{ healthy: 0, unhealthy: 4, held: 2, calls: 2, failures: 1, devices: 2, durations: 2 },
      ...{ flaps: 1, changes: 4, streams: 1, state: 1 },
    });
    expect(series).toHaveLength(before);
    expect(JSON.stringify(series)).not.toContain("0000:3b");
  });

  test("joins pods to devices on request, as the operator's metrics exporter does", async () => {
    await using node = await start("--pod-device-metrics");
    expect(samples(await scrape(node), "sriov_kubepoddevice")).toEqual([]);
    const [first = "", second = ""] = [...node.kubelet.resource(net).devices.keys()];
    await node.kubelet.allocate(net, [first, second], { pod: "app", container: "main" });
    const series = samples(await scrape(node), "sriov_kubepoddevice");
    expect(series.map(({ labels, value }) => [labels, value])).toEqual(
      [first, second].map((pciAddr) => [
        { pciAddr, dev_type: net, pod: "app", namespace: "default", container: "main" },
        1,
      ]),
    );
  });

  test("show that the config file was rejected, and the next one accepted", async () => {
    await using node = await start();
    const values = async () => {
      const series = await scrape(node);
      return {
        good: valueOf(series, "sriovdp_config_last_reload_successful"),
        generation: valueOf(series, "sriovdp_config_generation"),
        refused: valueOf(series, "sriovdp_config_reloads_total", { result: "rejected" }),
        pools: valueOf(series, "sriovdp_config_pools"),
      };
    };
    expect(await values()).toEqual({ good: 1, generation: 1, refused: 0, pools: 1 });
    node.configure("{ nonsense");
    await rescan(node.plugin);
    expect(await values()).toEqual({ good: 0, generation: 1, refused: 1, pools: 1 });
    node.configure({ resourceList: [] });
    await rescan(node.plugin);
    expect(await values()).toEqual({ good: 1, generation: 2, refused: 1, pools: 0 });
  });

  test("has a number of series that the config bounds", async () => {
    await using node = await start();
    const one = await scrape(node);
    node.configure({ resourceList: [...config.resourceList, { resourceName: "b", selectors: { vendors: ["1234"] } }] });
    await rescan(node.plugin);
    const ofPools = one.filter(({ labels }) => "resource" in labels).length;
    expect(ofPools).toBe(2 + 1 + 2 + 1 + poolStates.length + 6);
    expect(await scrape(node)).toHaveLength(one.length + ofPools);
  });

  test("is OpenMetrics on request", async () => {
    await using node = await start();
    const ask = async (accept: string) => {
      const response = await fetch("http://localhost/metrics", {
        unix: `${node.root}/run/sriovdp/status.sock`,
        headers: { accept },
      });
      return [response.headers.get("content-type"), await response.text()] as const;
    };
    // What Prometheus 2 and 3 send.
    const [type, text] = await ask(
      "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    );
    expect(type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect(text).toEndWith("\n# EOF\n");
    expect(text).toContain("# TYPE sriovdp_scans counter\nsriovdp_scans_total 1");
    const [plainType, plain] = await ask("*/*");
    expect(plainType).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(plain).toContain("# TYPE sriovdp_scans_total counter\n");
  });

  test("does not wait for a kubelet that does not answer which devices pods have", async () => {
    await using node = await start();
    node.kubelet.stop();
    await Bun.write(`${node.kubelet.devicePlugins}/kubelet_internal_checkpoint`, "{");
    const series = await scrape(node);
    expect(samples(series, "sriovdp_devices_allocated")).toEqual([]);
    expect(samples(series, "sriovdp_devices")).toHaveLength(2);
  });
});

describe.concurrent("an address for metrics", () => {
  const hasIpv6 = existsSync("/proc/net/if_inet6") && readFileSync("/proc/net/if_inet6", "utf8").includes(" lo");

  /** The statuses of all routes of a plugin that listens at this address. */
  async function statusesAt(host: string, url: string): Promise<number[]> {
    const port = await freePort();
    await using node = await start(`--metrics-address=${host}:${port}`);
    const routes = ["/metrics", "/livez", "/readyz", "/status"].map((route) => fetch(`${url}:${port}${route}`));
    const statuses = (await Promise.all(routes)).map(({ status }) => status);
    expect(node.plugin.log).not.toContain(" ERROR ");
    return statuses;
  }

  test.each([
    ["127.0.0.1", "http://127.0.0.1"],
    ["", "http://127.0.0.1"],
  ])("(%p) serves metrics and probes, and not the status", async (host, url) => {
    expect(await statusesAt(host, url)).toEqual([200, 200, 200, 404]);
  });

  test.skipIf(!hasIpv6)("of IPv6 is in brackets", async () => {
    expect(await statusesAt("[::1]", "http://[::1]")).toEqual([200, 200, 200, 404]);
  });

  test("is off by default", async () => {
    await using node = await start();
    const sockets = Bun.spawnSync(["sh", "-c", `ls -l /proc/${node.plugin.pid}/fd`]).stdout.toString();
    const inodes = [...sockets.matchAll(/socket:\[(\d+)\]/g)].map(([, inode]) => inode);
    expect(inodes).not.toEqual([]);
    const tables = await Promise.all(["tcp", "tcp6"].map((name) => Bun.file(`/proc/net/${name}`).text()));
    for (const line of tables.join("\n").split("\n")) expect(inodes).not.toContain(line.trim().split(/\s+/)[9]);
  });

  // In an update, the address belongs to the old instance until this one is ready.
  test("that is taken is warned of, keeps nothing else from working, and is served once it is free", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    try {
      await using node = await start(`--metrics-address=127.0.0.1:${port}`);
      await node.plugin.waitForLine(/ WARN {2}cannot serve metrics.*EADDRINUSE/);
      expect(await node.kubelet.allocate(net, 1)).toBeObject();
      expect(await scrape(node)).not.toEqual([]);
      const readiness = await node.command("probe", "readiness");
      expect(readiness).toMatchObject({ status: 0, stdout: "ok\n" });
      await new Promise((resolve) => taken.close(resolve));
      await node.plugin.waitForLine(/ INFO {2}serving metrics/);
      expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
    } finally {
      taken.close();
    }
  });

  test.each(["9808", "localhost", "127.0.0.1:0", "127.0.0.1:70000", "::1:9808", "http://x:1"])(
    "(%s) that is invalid is rejected before anything is started",
    async (address) => {
      await using node = new TestNode({ entries: host("iavf-vfs"), config });
      const plugin = node.startPlugin(`--metrics-address=${address}`);
      expect(await plugin.ended()).toBe(2);
      expect(plugin.log).toContain(`--metrics-address=${address}: expected HOST:PORT or [IPV6]:PORT`);
    },
  );
});

test("a pool that the kubelet refuses counts its failures, and shows its state", async () => {
  await using node = await start();
  node.kubelet.stop();
  node.kubelet.registration = "refuse";
  await node.kubelet.start();
  let series: Series = [];
  await until("the refusal is counted", async () => {
    series = await scrape(node);
    return (valueOf(series, "sriovdp_registration_failures_total", { resource: net }) ?? 0) > 0;
  });
  expect(valueOf(series, "sriovdp_pool_state", { resource: net, state: "rejected" })).toBe(1);
  expect(valueOf(series, "sriovdp_pool_state", { resource: net, state: "connected" })).toBe(0);
});
