// Does an exclusion by an advertised route end by itself? It takes a minute.

import { expect, test } from "bun:test";
import { listed, rescanned, running, statusOf } from "../contract/live.ts";
import { setDefaultRoutes } from "../support/live.ts";

const net = "intel.com/net";
const everything = { resourceList: [{ resourceName: "net", selectors: {} }] };

test("an exclusion ends 60 s after an advertised route has moved, and is shown until then", async () => {
  await using node = await running({ node: "default-routes", config: everything, resources: [net] });
  setDefaultRoutes(node.root, ["bond0.100"], ["ens9f3"]);
  await node.kubelet.waitFor(() => listed(node, net).join() === "0000:4b:00.0", "the port of the route is gone");
  setDefaultRoutes(node.root, ["bond0.100"]);
  await rescanned(node);
  const excluded = (await statusOf(node)).excluded.find(({ device }) => device === "0000:47:00.0");
  expect(excluded).toMatchObject({
    rule: "default-route",
    reason: "carries an advertised default route (ens9f3)",
    until: "60 s after the last such route has moved elsewhere",
    since: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
  });
  const moved = performance.now();
  await node.kubelet.waitForAllocatable(net, 2, 90_000);
  expect(performance.now() - moved).toBeGreaterThan(55_000);
}, 120_000);
