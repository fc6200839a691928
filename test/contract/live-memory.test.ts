import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { setLink } from "../support/live.ts";
import { until } from "../support/until.ts";
import { running } from "./live.ts";

// It rests once it was quiet for some seconds; this is for a machine that is busy.
setDefaultTimeout(90_000);

test("a plugin that is left alone gives back what its start took, and is quick again when something happens", async () => {
  const net = "intel.com/net";
  const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
  await using node = await running({ node: "iavf-vfs", config, resources: [net] });
  const resident = () =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${node.plugin.pid}/status`, "utf8"))?.[1]) / 1024;
  const started = resident();
  await until("memory is given back", () => node.plugin.log.includes("gave memory back"), { within: 60_000 });
  const rested = resident();
  expect(rested).toBeLessThan(started - 16);
  console.log(`resident: ${started.toFixed(0)} MiB after the start, ${rested.toFixed(0)} MiB at rest`);
  const before = performance.now();
  setLink(node.root, "ens1f0", "down");
  await node.kubelet.waitForAllocatable(net, 0, 2000);
  console.log(`link loss from rest: ${(performance.now() - before).toFixed(0)} ms`);
  setLink(node.root, "ens1f0", "up");
  await node.kubelet.waitForAllocatable(net, 4);
  await node.kubelet.allocate(net, 1);
  expect(node.plugin.isRunning).toBeTrue();
});
