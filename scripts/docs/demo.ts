// What does the plugin do? Shown in a second on the recorded node test/hosts/mixed.host: the devices, their
// pools, what the kubelet can allocate, what a pod gets, and what happens when a link goes down.
// Needs no privileges and no SR-IOV hardware, and leaves nothing behind.

import { readFileSync } from "node:fs";
import { setLink } from "../../test/support/live.ts";
import { host, runCommand, TestNode } from "../../test/support/plugin.ts";
import { argumentsOf } from "../common/arguments.ts";
import { exampleConfig as config, exampleHost } from "./example.ts";

const dpdk = "intel.com/dpdk_vfs";

function heading(title: string): void {
  console.log(`\n== ${title}\n`);
}

const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, "   ");

/** As `kubectl get node -o json | jq .status.allocatable` prints it: quantities are strings. */
function allocatable({ kubelet }: TestNode): string {
  const quantities = Object.entries(kubelet.allocatable).map(([name, count]) => [name, String(count)]);
  return JSON.stringify(Object.fromEntries(quantities), null, 2);
}

async function demo(): Promise<void> {
  await using node = new TestNode({ entries: host(exampleHost), config });
  const shown = (text: string) => text.replaceAll(node.root, "");

  heading("The node's devices and their pools: sriovdp discover");
  console.log(indented(shown(runCommand(["discover", "--root", node.root]).stdout)));

  heading("Why one of them is not offered: sriovdp explain 0000:19:00.0");
  console.log(indented(shown(runCommand(["explain", "--root", node.root, "0000:19:00.0"]).stdout)));

  heading("The plugin runs, and logs");
  await node.start(config.resourceList.map((entry) => `${entry.resourcePrefix ?? "intel.com"}/${entry.resourceName}`));
  const lines = node.plugin.lines.filter((line) => / WARN| (starting|serving|ready) /.test(line));
  console.log(indented(lines.map((line) => shown(line.replace(/^\S+ /, "").replace(/ version=.*/, ""))).join("\n")));

  heading("The kubelet (a stand-in) has all pools: kubectl get node -o json | jq .status.allocatable");
  console.log(indented(allocatable(node)));

  heading(`A pod requests 2 of ${dpdk}, and its container gets`);
  const answer = await node.kubelet.allocate(dpdk, 2);
  for (const [name, value] of Object.entries(answer.envs)) console.log(indented(`${name}=${value}`));
  for (const { hostPath, permissions } of answer.devices) console.log(indented(`${hostPath} (${permissions})`));
  const [info = ""] = node.names(node.deviceInfoFolder);
  const path = `${node.deviceInfoFolder}/${info}`;
  console.log(indented(`and multus reads ${shown(path)}, the first of two:`));
  console.log(indented(readFileSync(path, "utf8")));

  heading("ens1f0 loses its link; its VFs are not allocated until the link is back");
  const pulled = performance.now();
  setLink(node.root, "ens1f0", "down");
  await node.kubelet.waitForAllocatable(dpdk, 0);
  console.log(indented(`${dpdk}: 4 -> 0 after ${Math.round(performance.now() - pulled)} ms; the pod keeps running`));
  setLink(node.root, "ens1f0", "up");
  await node.kubelet.waitForAllocatable(dpdk, 4);
  console.log(indented(`${dpdk}: 0 -> 4 after the link is back`));

  heading("The plugin is stopped by SIGTERM");
  const status = await node.plugin.stop();
  console.log(indented(`exit status ${status}, sockets left: ${node.pluginSockets().join() || "none"}\n`));
  if (status !== 0) throw new Error(`the plugin ended with ${status}\n${node.plugin.log}`);
}

argumentsOf("npm run demo", {});
await demo();
process.exit(0);
