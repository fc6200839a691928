// Do explain and discover show what the running plugin has, and not what a fresh scan would say?

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { setDefaultRoutes } from "../support/live.ts";
import { command, listed, rescanned, running } from "./live.ts";

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
    const explained = await command(node, "explain", "0000:47:00.0");
    expect(explained.stdout).toContain("default route");
    expect(explained.stdout).toContain("in no pool");
    const discovered = JSON.parse((await command(node, "discover", "-o", "json")).stdout) as Record<string, unknown>[];
    expect(discovered.find(({ id }) => id === "0000:47:00.0")).toMatchObject({ pool: null });
    const status = await command(node, "status");
    expect(status.stdout).toMatch(
      /^0000:47:00.0 +default-route +carries the default route \(ens9f3\) +20\d\d-.* +reload/m,
    );
  });

  test("a config that differs from the running one is shown as it would be, with a note", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const file = `${node.root}/other.json`;
    await Bun.write(file, JSON.stringify({ resourceList: [{ resourceName: "other", selectors: {} }] }));
    const { stdout, stderr } = await command(node, "discover", "--config-file", file);
    expect(stdout).toContain("intel.com/other");
    expect(stderr).toContain("the running plugin has another config");
    expect(await command(node, "discover")).toMatchObject({ stderr: "", status: 0 });
  });

  test("a VF that a later name of its PF selects is explained by that name", async () => {
    const later = { resourceList: [{ resourceName: "net", selectors: { pfNames: ["ens3d1"] } }] };
    await using node = await running({ node: "two-ports", config: later, resources: [net] });
    expect(listed(node, net)).toHaveLength(4);
    const { stdout } = await command(node, "explain", "0000:0b:01.2");
    expect(stdout).toContain("expected ens3d1, found ens3d1#2");
    expect(stdout).toMatch(/pfNames +passes/);
  });

  test("what is asked at the socket holds no value of additionalInfo", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const response = await fetch("http://localhost/node", { unix: `${node.root}/run/sriovdp/status.sock` });
    const text = await response.text();
    expect(text).toContain(net);
    expect(text).not.toContain("s3cret");
  });
});
