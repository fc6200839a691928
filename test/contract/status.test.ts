// Does `status` show pools, devices and pods so that they fit the terminal, whatever the node has?

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { FullStatus } from "../../src/telemetry/plugin-status.ts";
import { setLink } from "../support/live.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { executable } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { listed, rescanned, running } from "./live.ts";

setDefaultTimeout(60_000);

const net = "intel.com/net";
const dpdk = "intel.com/dpdk";
const plan: NodePlan = {
  pfs: [
    { nic: "e810", name: "ens1f0", vfs: [{ count: 4 }, { count: 4, driver: "vfio-pci" }] },
    { nic: "e810", name: "ens2f0", link: "down", vfs: [{ count: 4 }] },
  ],
};
const config = {
  resourceList: [
    { resourceName: "net", selectors: { drivers: ["iavf"] } },
    { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } },
  ],
};
const start = () => running({ node: plan, config, resources: [net, dpdk] });
const squeezed = (text: string) => text.split("\n").map((line) => line.replaceAll(/ {2,}/g, "  "));

describe.concurrent("status", () => {
  test("counts devices, and shows neighbors that are alike in one line with interfaces and pods", async () => {
    await using node = await start();
    const [first = "", second = ""] = listed(node, net);
    await node.kubelet.allocate(net, [second], { pod: "app" });
    const { stdout, status } = await node.command("status");
    const lines = squeezed(stdout);
    expect(lines).toContain("POOL  DEVICES  HEALTHY  ALLOCATED  FREE  KUBELET");
    expect(lines).toContain(`${net}  8  4  1  3  connected`);
    expect(lines).toContain(`${dpdk}  4  4  0  4  connected`);
    expect(lines).toContain("DEVICE  WHAT  INTERFACE  POOL  ALLOCATED TO  HEALTH");
    expect(lines).toContain(`${first}  VF 0 of ens1f0  ens1f0v0  ${net}  -  Healthy`);
    expect(lines).toContain(`${second}  VF 1 of ens1f0  ens1f0v1  ${net}  default/app  Healthy`);
    expect(lines).toContainEqual(expect.stringMatching(/^\S+-\S+ {2}VF 2-3 of ens1f0 {2}ens1f0v2-3 {2}/));
    expect(lines).toContainEqual(
      expect.stringMatching(/VF 0-3 of ens2f0 {2}ens2f0v0-3 {2}intel.com\/net {2}- {2}Unhealthy: .*ens2f0/),
    );
    expect(status).toBe(0);
  });

  test("has each device's pod in JSON, and the counts that its table and the metrics show", async () => {
    await using node = await start();
    const [first = ""] = listed(node, dpdk);
    await node.kubelet.allocate(dpdk, [first], { pod: "app" });
    const { pools } = JSON.parse((await node.command("status", "-o", "json")).stdout) as FullStatus;
    expect(pools[1]?.counts).toEqual({ devices: 4, healthy: 4, allocated: 1, free: 3 });
    expect(pools[1]?.devices.map(({ allocation }) => allocation?.pod ?? null)).toEqual([
      "default/app",
      ...[null, null, null],
    ]);
    expect(pools[1]?.devices[0]?.allocation).toMatchObject({ resource: dpdk, evidence: "pod-resources" });
  });

  test("shows one pool with --pool, and only Unhealthy devices with --unhealthy", async () => {
    await using node = await start();
    const one = await node.command("status", "--pool", "dpdk");
    expect(one.stdout).toContain(dpdk);
    expect(one.stdout).not.toContain(net);
    const ill = squeezed((await node.command("status", "--unhealthy")).stdout);
    expect(ill.filter((line) => line.includes(" of ens"))).toEqual([expect.stringContaining("VF 0-3 of ens2f0")]);
    expect(ill).toContain(`${net}  8  4  0  4  connected`);
    const json = JSON.parse(
      (await node.command("status", "--pool", net, "--unhealthy", "--json")).stdout,
    ) as FullStatus;
    expect(json.pools.map(({ resource, devices }) => [resource, devices.length])).toEqual([[net, 4]]);
    expect(await node.command("status", "--pool", "dpdq")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: `sriovdp: no pool is named "dpdq"; pools: ${net}, ${dpdk}\n`,
    });
  });

  test("shows with -o wide what else is known", async () => {
    await using node = await start();
    const { stdout } = await node.command("status", "-o", "wide");
    for (const title of ["TYPE", "ALLOCATE CALLS", "FAILED", "REGISTERED", "CONTAINER", "EVIDENCE", "BASIS"])
      expect((await node.command("status")).stdout).not.toContain(` ${title} `);
    expect(squeezed(stdout)).toContain(
      "POOL  TYPE  DEVICES  HEALTHY  ALLOCATED  FREE  ALLOCATE CALLS  FAILED  REGISTERED  KUBELET",
    );
    expect(stdout).toMatch(/VF 0-3 of ens2f0 .* selected +Unhealthy/);
  });

  test("prints again with --watch when something changed, and at no other time", async () => {
    await using node = await start();
    const watching = Bun.spawn([executable, "status", "--watch", "--root", node.root], { env: {}, stderr: "ignore" });
    let seen = "";
    const reading = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of watching.stdout) seen += decoder.decode(chunk, { stream: true });
    })();
    const states = () => [...seen.matchAll(/^intel.com\/net +8 +(\d)/gm)].map(([, healthy]) => healthy);
    await until("the first state is printed", () => states().length === 1);
    // A scan that finds nothing new is not a change.
    await rescanned(node);
    setLink(node.root, "ens1f0", "down");
    await until("the second state is printed", () => states().length === 2, { found: () => seen });
    expect(states()).toEqual(["4", "0"]);
    expect(seen).not.toContain("\x1b");
    watching.kill("SIGINT");
    await watching.exited;
    await reading;
  });

  test("shows with its pod what a pod keeps, and explain and discover show it too", async () => {
    await using node = await start();
    const [first = ""] = listed(node, dpdk);
    await node.kubelet.allocate(dpdk, [first], { pod: "app" });
    const renamed = { resourceList: [{ resourceName: "new", selectors: { drivers: ["vfio-pci"] } }] };
    node.configure(renamed);
    await node.kubelet.waitForAllocatable("intel.com/new", 3);
    expect((await node.command("status")).stdout).toMatch(
      new RegExp(`^${first} +withheld +${dpdk} +default/app +intel.com/new$`, "m"),
    );
    const { stdout: device } = await node.command("explain", first);
    expect(device).toContain("it is withheld from all pools");
    expect(device).toContain(`allocated to default/app, container main, as ${dpdk}`);
    expect(device).toContain("next pool: intel.com/new, when pod default/app ends");
    expect((await node.command("explain", "new")).stdout).toContain(
      `  also selected, but withheld until its pod ends:\n    ${first}  VF 4 of ens1f0  allocated to default/app as ${dpdk}\n`,
    );
    expect((await node.command("discover")).stdout).toMatch(
      new RegExp(`${first} .* withheld: allocated to default/app as ${dpdk}`),
    );
    expect((await node.command("explain", "default/app")).stdout).toStartWith(first);
    const { devices } = JSON.parse((await node.command("explain", first, "-o", "json")).stdout) as {
      devices: { verdicts: { outcome: string }[] }[];
    };
    expect(devices[0]?.verdicts.map(({ outcome }) => outcome)).toEqual(["withheld"]);
  });
});
