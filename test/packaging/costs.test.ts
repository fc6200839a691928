// What does the work cost? Counts that do not depend on the machine: system calls, files opened, bytes. A change that makes them grow
// fails here; times are for `npm run bench`.

import { afterAll, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { type Calls, callsOf, countCalls, straceInto, sumOf } from "../../scripts/bench/process.ts";
import { nodeOf, type Shape } from "../../scripts/bench/shapes.ts";
import { ListAndWatchResponse } from "../../src/kubelet/api/deviceplugin.ts";
import { executable, temporaryFolder, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const strace = missingPrograms("strace");

const found: string[] = [];
afterAll(() => console.log(found.map((line) => `cost: ${line}`).join("\n")));

/** Fails beyond the limit, which is a little above what was found when it was set. */
function expectAtMost(what: string, value: number, limit: number): void {
  found.push(`${what}: ${value.toFixed(1)} (at most ${limit})`);
  expect(value, what).toBeLessThanOrEqual(limit);
}

/** The system calls of one scan of a node of a shape, by the command that scans once and prints. */
async function scan(shape: Shape): Promise<Calls> {
  const { entries, config } = nodeOf(shape);
  await using node = new TestNode({ entries, config, inMemory: true });
  const command = [executable, "discover", "--root", node.root, "--config-file", node.configFile, "-o", "json"];
  const calls = callsOf(command, `${node.root}/strace.txt`);
  if (!calls) throw new Error("there is no strace here");
  return calls;
}

testWhere(
  strace,
  "a scan of the node costs as many system calls a device on a large node as on a small one, and few",
  async () => {
    const small = await scan({ vfs: 64, pfs: 2, pools: 4 });
    const middle = await scan({ vfs: 256, pfs: 2, pools: 4 });
    const large = await scan({ vfs: 1024, pfs: 8, pools: 4 });
    const each = (from: Calls, to: Calls, devices: number, ...names: string[]) =>
      (sumOf(to, ...names) - sumOf(from, ...names)) / devices;
    expectAtMost("system calls a device", each(small, middle, 192), 19);
    expectAtMost("system calls a device of a large node", each(middle, large, 768), 19);
    expectAtMost("files opened a device", each(small, middle, 192, "open", "openat"), 4.5);
  },
);

testWhere(strace, "a scan of the node costs nothing more for more pools", async () => {
  const few = await scan({ vfs: 256, pfs: 2, pools: 1 });
  const many = await scan({ vfs: 256, pfs: 2, pools: 64 });
  expectAtMost("system calls of 63 more pools", sumOf(many) - sumOf(few), 30);
});

testWhere(strace, "Allocate costs few system calls, and fewer where its file says the same already", async () => {
  const { entries, config, resources } = nodeOf({ vfs: 64, pfs: 1, pools: 1 });
  const [resource = ""] = resources;
  await using node = new TestNode({ entries, config, inMemory: true });
  // Not below the root, which the plugin watches.
  const folder = temporaryFolder();
  const trace = `${folder}/strace.txt`;
  await node.kubelet.start();
  // -D: the tracer is the plugin's grandchild, so that the plugin can be stopped directly.
  node.startPluginUnder([...straceInto(trace), "-D"]);
  await node.listed(...resources);
  const ids = node.kubelet.free(resource).slice(0, 50);
  const marked = (mark: string) => readFileSync(trace, "utf8").indexOf(mark);
  /** The calls between two refused Allocates, each of which leaves its mark in the log. */
  const costOf = async (name: string) => {
    const mark = async (text: string) => {
      await node.kubelet.callAllocate(resource, [[text]]).catch(() => {});
      await until("the log has the mark", () => marked(text) >= 0);
    };
    await mark(`begin-${name}`);
    for (const id of ids) await node.kubelet.callAllocate(resource, [[id]]);
    await mark(`end-${name}`);
    const text = readFileSync(trace, "utf8");
    return sumOf(countCalls(text.slice(text.indexOf(`begin-${name}`), text.indexOf(`end-${name}`)))) / ids.length;
  };
  expectAtMost("system calls of a device's first Allocate", await costOf("first"), 17);
  expectAtMost("system calls of its next Allocate", await costOf("next"), 15);
});

testWhere(null, "the kubelet is sent few bytes a device", async () => {
  const { entries, config, resources } = nodeOf({ vfs: 256, pfs: 2, pools: 1 });
  await using node = new TestNode({ entries, config, inMemory: true });
  await node.start(resources);
  const devices = [...node.kubelet.resource(resources[0] ?? "").devices.values()];
  expect(devices).toHaveLength(256);
  expectAtMost("bytes of a list a device", ListAndWatchResponse.encode({ devices }).finish().length / 256, 32);
});
