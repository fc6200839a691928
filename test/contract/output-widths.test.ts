// Does what the commands print fit where it is printed: on a terminal of 80 or 200 columns, without colors, in a pipe; on a node with 1,024 VFs too?

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { buildNode } from "../support/node.ts";
import { executable, TestNode } from "../support/plugin.ts";

setDefaultTimeout(120_000);

const config = {
  resourceList: [
    { resourceName: "kernel", selectors: { drivers: ["iavf"] } },
    { resourceName: "a_resource_with_quite_a_long_name", selectors: { drivers: ["vfio-pci"] } },
    { resourceName: "none", selectors: { vendors: ["ffff"], pfNames: ["ens9#0-3", "ens10"] } },
  ],
};
const pfs = ["ens1f0", "ens1f1", "ens2f0np0", "ens2f1np1"].map((name, index) => ({
  nic: "e810" as const,
  name,
  link: index === 1 ? ("down" as const) : ("up" as const),
  vfs: [{ count: 128 }, { count: 128, driver: "vfio-pci" }],
}));
let node: TestNode;

beforeAll(async () => {
  node = new TestNode({ entries: buildNode({ pfs, defaultRoutes: ["ens1f0"] }), config, inMemory: true });
  const resources = ["intel.com/kernel", "intel.com/a_resource_with_quite_a_long_name"];
  await node.start(resources);
  await node.kubelet.allocate("intel.com/kernel", 3, {
    pod: "a-pod-with-a-name-that-a-deployment-made-7d9f8c6b5-x2x4z",
  });
});
afterAll(() => node.close());

/** What a command prints on a terminal of this many columns. */
async function onTerminal(args: readonly string[], cols: number, env: Record<string, string> = {}): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const process = Bun.spawn([executable, ...args, "--root", node.root], {
    env: { TERM: "xterm-256color", LANG: "C.UTF-8", ...env },
    terminal: { cols, rows: 50, data: (_, bytes) => void (text += decoder.decode(bytes, { stream: true })) },
  });
  await process.exited;
  process.terminal?.close();
  return text.replaceAll("\r\n", "\n");
}

async function inPipe(args: readonly string[]): Promise<string> {
  const process = Bun.spawn([executable, ...args, "--root", node.root], { env: { TERM: "xterm" }, stderr: "ignore" });
  return new Response(process.stdout).text();
}

const commands = [
  ["discover"],
  ["explain"],
  ["explain", "ens1f0v3", "ens1f1v200", "ens1f0"],
  ["explain", "kernel"],
  ["validate"],
  ["status"],
  ["status", "--unhealthy"],
  ["report", "--help"],
] as const;

const widest = (text: string): number =>
  Math.max(
    ...Bun.stripANSI(text)
      .split("\n")
      .map((line) => Bun.stringWidth(line)),
  );
// Notes and warnings go to standard error, which is not a table: here they are the terminal's too.
const withoutNotes = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !/^(?:note: |\S+\.json:\d)/.test(Bun.stripANSI(line)))
    .join("\n");

describe.each(commands.map((args) => [args.join(" "), args] as const))("%s", (_, args) => {
  test.each([80, 200])("fits into %i columns, in colors, with 1,024 VFs", async (columns) => {
    const text = await onTerminal(args, columns);
    // A help has a width of its own, which terminals fold.
    expect(widest(withoutNotes(text))).toBeLessThanOrEqual(args[1] === "--help" ? 100 : columns);
    expect(text.includes("\x1b[")).toBe(args[1] !== "--help");
    expect(text.split("\n").length).toBeLessThan(80);
  });

  test.each<[string, Record<string, string>]>([
    ["NO_COLOR", { NO_COLOR: "1" }],
    ["TERM=dumb", { TERM: "dumb" }],
  ])("has no colors with %s, and the same text", async (_name, env) => {
    const plain = withoutNotes(await onTerminal(args, 80, env));
    expect(plain).not.toContain("\x1b");
    expect(withoutTimes(plain)).toBe(withoutTimes(Bun.stripANSI(withoutNotes(await onTerminal(args, 80)))));
  });

  test("has no colors in a pipe, where nothing is hidden or cut off", async () => {
    const text = await inPipe(args);
    expect(text).not.toContain("\x1b");
    expect(text).not.toContain("columns hidden");
    if (args[1] !== "--help") expect(text).not.toMatch(/\.\.\.$/m);
    expect(text.length).toBeGreaterThan(0);
  });

  test("is ASCII", async () => {
    expect(await inPipe(args)).not.toMatch(/[^\n -~]/);
  });
});

const withoutTimes = (text: string): string =>
  text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z?/g, "TIME").replaceAll(/\d+ ms|scans: \d+/g, "N");

test("1,024 VFs are few lines of a status, with the pods by name", async () => {
  const text = await onTerminal(["status"], 120, { NO_COLOR: "1" });
  expect(text.split("\n").length).toBeLessThan(40);
  expect(text).toContain("default/a-pod-with-a-name-that");
});

test("-o wide hides nothing on a narrow terminal either", async () => {
  const text = await onTerminal(["discover", "-o", "wide"], 80, { NO_COLOR: "1" });
  expect(text).not.toContain("columns hidden");
  expect(widest(text)).toBeGreaterThan(80);
});

test("the JSON of all devices is whole in a pipe", async () => {
  expect(JSON.parse(await inPipe(["discover", "-o", "json"]))).toHaveLength(4 * 257);
});
