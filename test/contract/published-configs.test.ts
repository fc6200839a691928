// Do the configs run that users have? Those that the documentation of the upstream plugin, of the SR-IOV network operator, of NVIDIA's network
// operator and of OpenShift show or write, each on a node that has what its author had: the same resources, the same number of devices.
// Facts of these sources (keys, values, spelling), rewritten.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { buildNode } from "../support/node.ts";
import { TestNode } from "../support/plugin.ts";
import { operators, upstream } from "./published-configs.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

describe.each([
  ["the upstream plugin's documentation", upstream],
  ["operators", operators],
] as const)("a config of %s", (_, table) => {
  test.each(Object.entries(table))("%s", async (_name, { config, node: plan, args = [], offers }) => {
    await using node = new TestNode({ entries: buildNode(plan), config });
    await node.start(Object.keys(offers), ...args);
    expect(node.kubelet.allocatable).toEqual(offers);
  });
});

test("a published config that is not JSON is rejected with the place, as the upstream plugin does not select it", () => {
  // docs/vdpa/configMap.yaml has two brackets where one belongs.
  const text =
    '{ "resourceList": [{ { "resourceName": "vdpa_mlx_virtio", "selectors": [{ "vdpaType": "virtio" }] } ] }';
  const { problems, specs } = loadConfig(text, { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 });
  expect(specs).toBeNull();
  expect(problems.length).toBeGreaterThan(0);
});
