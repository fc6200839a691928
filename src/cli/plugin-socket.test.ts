import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseCommandLine } from "./parse.ts";
import { waitForPlugin } from "./plugin-socket.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sdp-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lineOf = (socket: string) => parseCommandLine(["probe", "startup", `--status-socket=${socket}`]);

test("a plugin that answers badly at first is waited for", async () => {
  const socket = `${folder}/s.sock`;
  let requests = 0;
  await using plugin = Bun.serve({
    unix: socket,
    fetch: () => new Response("", { status: ++requests < 3 ? 503 : 200 }),
  });
  expect(plugin).toBeObject();
  await waitForPlugin(lineOf(socket), "/livez", 10_000);
  expect(requests).toBe(3);
});

test("a plugin that is not there is waited for no longer than the limit", async () => {
  const began = performance.now();
  await waitForPlugin(lineOf(`${folder}/s.sock`), "/livez", 300);
  expect(performance.now() - began).toBeGreaterThanOrEqual(300);
});
