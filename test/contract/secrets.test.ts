// Does a value of additionalInfo get out by any way but the container's own variable? Whatever is logged, rejected, requested,
// measured or crashes, at the most verbose level.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { host, Plugin, runCommand, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";

const resource = "intel.com/net";

/** A text that is nowhere else, and the parts of it that would still give it away. */
const secret = "sesame-471147114711-öffne-dich";
const traces = ["sesame", "471147114711", "öffne", Buffer.from(secret).toString("base64").slice(0, 12)];

const entry = { resourceName: "net", selectors: {} };
const withInfo = (additionalInfo: unknown) => ({ resourceList: [{ ...entry, additionalInfo }] });
const good = withInfo({ "*": { token: secret }, "0000:3b:01.0": { other: `x${secret}` } });

/** Ways to write the value down wrongly; each is refused. */
const wrong: readonly unknown[] = [
  withInfo(secret),
  withInfo([secret]),
  withInfo({ "*": secret }),
  withInfo({ "*": { token: [secret] } }),
  withInfo({ "*": { token: { nested: secret } } }),
  { resourceList: [{ ...entry, selectors: { nonsense: 1 }, additionalInfo: { "*": { token: secret } } }] },
  JSON.stringify(good).slice(0, -3),
  `{"resourceList": [{"resourceName": "net", "additionalInfo": {"*": {"token": "${secret}}}}]}`,
  `{"resourceList": [{"resourceName": "net", "additionalInfo": {"*": {"token": ${secret}}}}]}`,
];

const find = (text: string): string[] => traces.filter((trace) => text.includes(trace));

test.concurrent.each(["text", "json"])("with --log-format=%s no output of a running plugin has it", async (format) => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config: good });
  const args = ["-v=10", `--log-format=${format}`, "--log-dir=sriovdp", "--use-cdi"];
  await node.kubelet.start();
  const plugin = node.startPlugin(...args);
  await until("the kubelet has a list", () => node.kubelet.allocatable[resource] === 4, { found: () => plugin.log });
  const { envs } = await node.kubelet.allocate(resource, ["0000:3b:01.0"]);
  expect(envs["PCIDEVICE_INTEL_COM_NET_INFO"]).toContain(secret);

  // What can't be written, what is not there, and a checkpoint that has it.
  rmSync(node.deviceInfoFolder, { recursive: true, force: true });
  mkdirSync(dirname(node.deviceInfoFolder), { recursive: true });
  writeFileSync(node.deviceInfoFolder, "in the way");
  await node.kubelet.callAllocate(resource, [["0000:3b:01.1"]]).catch(() => {});
  await node.kubelet.callAllocate(resource, [["0000:3b:09.1"]]).catch(() => {});
  const checkpoint = `${node.kubelet.devicePlugins}/kubelet_internal_checkpoint`;
  const before = readFileSync(checkpoint, "utf8");
  writeFileSync(checkpoint, `{"Data": ${secret}}`);

  const texts: string[] = [];
  const ask = async (route: string) =>
    (await fetch(`http://localhost${route}`, { unix: `${node.root}/run/sriovdp/status.sock` })).text();
  for (const [round, config] of [...wrong, good].entries()) {
    node.configure(config);
    const from = plugin.lines.length;
    plugin.signal("SIGHUP");
    await plugin.waitForLine(round < wrong.length ? /the previous config stays active/ : /config loaded/, from);
    for (const route of ["/status", "/metrics", "/readyz", "/livez"]) texts.push(await ask(route));
    for (const command of format === "text" ? ["validate", "discover", "explain"] : []) {
      const { stdout, stderr } = runCommand([command, "-o", "json", "-v=10", "--root", node.root]);
      texts.push(stdout, stderr);
    }
  }
  writeFileSync(checkpoint, before);
  await plugin.stop();
  texts.push(plugin.log, readFileSync(`${node.root}/var/log/sriovdp/sriovdp.log`, "utf8"));
  expect(plugin.log).toContain("Allocate was refused");
  expect(find(texts.join("\n"))).toEqual([]);
  if (format === "json") for (const line of plugin.lines) expect(JSON.parse(line)).toHaveProperty("message");
});

test.concurrent.each(wrong.map((config, index) => [index, config] as const))(
  "a start that refuses the file does not quote it (%d)",
  async (_, config) => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const plugin = node.startPlugin("-v=10");
    expect(await plugin.ended()).toBe(2);
    expect(plugin.log).toContain("was rejected");
    expect(find(plugin.log)).toEqual([]);
  },
);

test.concurrent.each([
  ["is thrown", "throw error;"],
  ["rejects a promise", "void Promise.reject(error);"],
])("an uncaught error that %s is logged on one line, without its properties", async (_, raise) => {
  await using node = new TestNode({ entries: host("iavf-vfs"), config: good });
  await node.kubelet.start();
  // Bun runs this before the program: the only way to make it fail where it does not.
  const preload = `${node.root}/preload.ts`;
  writeFileSync(
    preload,
    `process.on("SIGUSR2", () => {
       const error = Object.assign(new Error("boom", { cause: "${secret}" }), { spec: { token: "${secret}" } });
       setTimeout(() => { ${raise} });
     });`,
  );
  const plugin = new Plugin(["--root", node.root], ["env", `BUN_OPTIONS=--preload ${preload}`]);
  try {
    await plugin.waitUntilReady();
    plugin.signal("SIGUSR2");
    expect(await plugin.ended()).toBe(1);
    const lines = plugin.lines.filter((line) => line.includes("boom"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/ ERROR exiting on .*reason=boom stack="/);
    expect(find(plugin.log)).toEqual([]);
    expect(node.pluginSockets()).toEqual([]);
  } finally {
    plugin.kill();
  }
});
