// Do explain and discover show what the running plugin has, and not what a fresh scan would say?

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { setDefaultRoutes } from "../support/live.ts";
import { listed, rescanned, running } from "./live.ts";

setDefaultTimeout(30_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {}, additionalInfo: { "*": { token: "s3cret" } } }] };

describe.concurrent("beside a running plugin", () => {
  test("an exclusion that outlasts its route is shown by explain and discover, as status has it", async () => {
    await using node = await running({ node: "default-routes", config, resources: [net] });
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitFor(() => !listed(node, net).includes("0000:47:00.0"), "the port of the route is excluded");
    setDefaultRoutes(node.root, ["bond0.100"]);
    await rescanned(node);
    const explained = await node.command("explain", "0000:47:00.0");
    expect(explained.stdout).toContain("default route");
    expect(explained.stdout).toContain("in no pool");
    const discovered = JSON.parse((await node.command("discover", "-o", "json")).stdout) as Record<string, unknown>[];
    expect(discovered.find(({ id }) => id === "0000:47:00.0")).toMatchObject({ pool: null });
    const status = await node.command("status");
    expect(status.stdout).toMatch(
      /^0000:47:00.0 +default-route +carries the default route \(ens9f3\) +20\d\d-.* +reload/m,
    );
  });

  test("a config that differs from the running one is shown as it would be, with a note", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const file = `${node.root}/other.json`;
    await Bun.write(file, JSON.stringify({ resourceList: [{ resourceName: "other", selectors: {} }] }));
    const { stdout, stderr } = await node.command("discover", "--config-file", file);
    expect(stdout).toContain("intel.com/other");
    expect(stderr).toContain("the running plugin has another config");
    expect(await node.command("discover")).toMatchObject({ stderr: "", status: 0 });
  });

  test("explain needs no config file: the running plugin's config is explained, and who answers is said", async () => {
    const elsewhere = { resourceList: [{ resourceName: "net", selectors: { drivers: ["iavf"] } }] };
    await using node = await running({ node: "iavf-vfs", config: elsewhere, resources: [net] });
    await node.kubelet.allocate(net, ["0000:3b:01.1"], { pod: "app" });
    // As in a container whose config has another place, and after an edit that went wrong.
    for (const broken of ['{"resourceList": [', null]) {
      if (broken === null) rmSync(node.configFile);
      else node.configure(broken);
      const { stdout, stderr, status } = await node.command("explain", "ens1f0v1", "net");
      expect(stdout).toStartWith(
        "0000:3b:01.1 is VF 1 of ens1f0, driver iavf; it is in intel.com/net, Healthy\n  allocated to default/app, container main, as intel.com/net (evidence: pod-resources)\n",
      );
      expect(stdout).toMatch(/^intel.com\/net \(netDevice\) has \d+ devices, 1 allocated$/m);
      expect(stdout).toMatch(
        /0000:3b:01.1 +VF 1 of ens1f0 +driver iavf +by selectors\[0\] +Healthy, allocated to default\/app$/m,
      );
      expect(stderr).toStartWith(`note: answered by the running plugin, process ${node.plugin.pid}, with `);
      expect(status).toBe(0);
    }
    const json = JSON.parse((await node.command("explain", "0000:3b:01.0-01.1", "-o", "json")).stdout) as {
      source: string;
      devices: { id: string; allocation: { pod: string } | null }[];
    };
    expect(json.source).toBe("plugin");
    expect(json.devices.map(({ id, allocation }) => [id, allocation?.pod])).toEqual([
      ["0000:3b:01.0", undefined],
      ["0000:3b:01.1", "default/app"],
    ]);
  });

  test("explain says since when and until when the running plugin excludes a device", async () => {
    await using node = await running({ node: "default-routes", config, resources: [net] });
    setDefaultRoutes(node.root, ["ens9f3"]);
    await node.kubelet.waitFor(() => !listed(node, net).includes("0000:47:00.0"), "the port of the route is excluded");
    const { stdout } = await node.command("explain", "0000:47:00.0");
    expect(stdout).toMatch(/^ {2}excluded: carries the default route \(ens9f3\), since 20\d\d-\S+, until reload/m);
  });

  test("explain falls back to a scan of its own when no plugin answers", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    await node.plugin.stop();
    const json = JSON.parse((await node.command("explain", "0000:3b:01.0", "-o", "json")).stdout) as {
      source: string;
    };
    expect(json.source).toBe("scan");
  });

  test("a VF that a later name of its PF selects is explained by that name", async () => {
    const later = { resourceList: [{ resourceName: "net", selectors: { pfNames: ["ens3d1"] } }] };
    await using node = await running({ node: "two-ports", config: later, resources: [net] });
    expect(listed(node, net)).toHaveLength(4);
    const { stdout } = await node.command("explain", "0000:0b:01.2");
    expect(stdout).toContain("expected ens3d1, found ens3d1#2");
    expect(stdout).toMatch(/pfNames +passes/);
  });

  test("answers at the socket hold no value of additionalInfo", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const response = await fetch("http://localhost/node", { unix: `${node.root}/run/sriovdp/status.sock` });
    const text = await response.text();
    expect(text).toContain(net);
    expect(text).not.toContain("s3cret");
  });
});
