import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { setLink } from "../support/live.ts";
import { until } from "../support/until.ts";
import { running } from "../contract/live.ts";

// It rests once it was quiet for some seconds; this is for a machine that is busy.
setDefaultTimeout(90_000);

test("an idle plugin releases the memory of its start, and responds quickly again afterwards", async () => {
  const net = "intel.com/net";
  const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
  await using node = await running({ node: "iavf-vfs", config, resources: [net] });
  const given = () => /memory released from=(\d+)MiB to=(\d+)MiB/.exec(node.plugin.log);
  await until("memory is given back", () => given() !== null, { within: 60_000 });
  const [, from, to] = given() ?? [];
  expect(Number(to)).toBeLessThan(Number(from) - 16);
  // In nanoseconds; 50,000 is what the kernel gives a thread.
  const slack = () => Number(readFileSync(`/proc/${node.plugin.pid}/timerslack_ns`, "utf8"));
  await until("timers may be late", () => slack() > 1e9, { within: 60_000 });
  const before = performance.now();
  setLink(node.root, "ens1f0", "down");
  await node.kubelet.waitForAllocatable(net, 0, 2000);
  console.log(`link loss from rest: ${(performance.now() - before).toFixed(0)} ms`);
  expect(slack()).toBe(50_000);
  setLink(node.root, "ens1f0", "up");
  await node.kubelet.waitForAllocatable(net, 4);
  await node.kubelet.allocate(net, 1);
  expect(node.plugin.isRunning).toBeTrue();
});
