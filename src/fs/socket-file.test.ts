import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  linkSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { listenAt } from "../../test/support/listen-at.ts";
import { until } from "../../test/support/until.ts";
import { limits } from "../limits.ts";
import { identityOf } from "./identity.ts";
import { hiddenName, isListening, reappear, removeAbandonedSockets, removeIf } from "./socket-file.ts";

let folder = "";
const servers: Server[] = [];
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sdp-`);
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

const listen = async (path: string): Promise<void> => {
  servers.push(await listenAt(path));
};

describe("removing a socket", () => {
  test("removes its own", async () => {
    await listen(`${folder}/a.sock`);
    removeIf(`${folder}/a.sock`, identityOf(`${folder}/a.sock`) ?? "");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("leaves the one that another instance put there", async () => {
    await listen(`${folder}/a.sock`);
    const own = identityOf(`${folder}/a.sock`) ?? "";
    await listen(`${folder}/.b`);
    renameSync(`${folder}/.b`, `${folder}/a.sock`);
    removeIf(`${folder}/a.sock`, own);
    expect(readdirSync(folder)).toEqual(["a.sock"]);
    expect(await isListening(`${folder}/a.sock`)).toBe(true);
  });

  test("of a missing one does nothing", () => {
    removeIf(`${folder}/a.sock`, "1/2");
    expect(readdirSync(folder)).toEqual([]);
  });
});

test("a socket that reappears is the same one, and listens", async () => {
  await listen(`${folder}/a.sock`);
  const { ino } = lstatSync(`${folder}/a.sock`);
  reappear(`${folder}/a.sock`, folder);
  expect(readdirSync(folder)).toEqual(["a.sock"]);
  expect(lstatSync(`${folder}/a.sock`).ino).toBe(ino);
  expect(await isListening(`${folder}/a.sock`)).toBe(true);
});

test("a process listens, or does not", async () => {
  await listen(`${folder}/a.sock`);
  writeFileSync(`${folder}/file`, "");
  expect(await isListening(`${folder}/a.sock`)).toBe(true);
  expect(await isListening(`${folder}/missing`)).toBe(false);
  expect(await isListening(`${folder}/file`)).toBe(false);
});

test("a stopped process listens while it has room for connections, and is never waited for", async () => {
  const path = `${folder}/a.sock`;
  const child = Bun.spawn(
    [process.execPath, "-e", `Bun.listen({ unix: ${JSON.stringify(path)}, socket: { data() {} } })`],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  const sockets: Socket[] = [];
  try {
    await until("it listens", () => isListening(path));
    child.kill("SIGSTOP");
    await until("it is stopped", () => /^State:\s+T/m.test(readFileSync(`/proc/${child.pid}/status`, "utf8")));
    expect(await isListening(path)).toBe(true);
    // Connections wait to be accepted until the backlog is full.
    let connected = 0;
    for (let full = false; !full;) {
      const before = connected;
      const more = Array.from({ length: 200 }, () => connect({ path }));
      sockets.push(...more);
      for (const socket of more) socket.on("error", () => {}).on("connect", () => connected++);
      await Promise.all([isListening(path), new Promise((resolve) => setImmediate(resolve))]);
      full = connected === before || sockets.length > 10_000;
    }
    const started = performance.now();
    await isListening(path);
    expect(performance.now() - started).toBeLessThan(3000);
  } finally {
    for (const socket of sockets) socket.destroy();
    child.kill("SIGKILL");
    await child.exited;
  }
  expect(await isListening(path)).toBe(false);
}, 30_000);

test("what a killed plugin left under a hidden name, or one of its own, is removed, and nothing else", async () => {
  // A listening socket that is unlinked by its server's end, kept by a second name.
  await listen(`${folder}/gone`);
  linkSync(`${folder}/gone`, `${folder}/.00c0ffee`);
  linkSync(`${folder}/gone`, `${folder}/visible.sock`);
  linkSync(`${folder}/gone`, `${folder}/.another-vendor`);
  linkSync(`${folder}/gone`, `${folder}/a.b_dead.sock`);
  await listen(`${folder}/a.b_alive.sock`);
  writeFileSync(`${folder}/a.b_file.sock`, "");
  await new Promise((resolve) => servers.shift()?.close(resolve));
  await listen(`${folder}/.0ddba115`);
  writeFileSync(`${folder}/.0000file`, "");
  writeFileSync(`${folder}/.00000bad`, "");
  await removeAbandonedSockets(folder, (name) => name.startsWith("a.b_"));
  const left = readdirSync(folder).filter((name) => name !== "gone");
  const kept = [
    ".00000bad",
    ".0000file",
    ".0ddba115",
    ".another-vendor",
    "a.b_alive.sock",
    "a.b_file.sock",
    "visible.sock",
  ];
  expect(left.toSorted()).toEqual(kept);
});

test("hidden names are skipped by the kubelet's watcher, differ, and are short", () => {
  const names = Array.from({ length: 100 }, () => hiddenName("/f"));
  for (const name of names) expect(name).toMatch(/^\/f\/\.[^/]{1,9}$/);
  expect(new Set(names).size).toBe(100);
});

test("a socket can be bound at a path of the longest length, and at none longer", async () => {
  const name = (length: number) => `${folder}/${"a".repeat(length - folder.length - 1)}`;
  await listen(name(limits.socketPath.max));
  expect(identityOf(name(limits.socketPath.max))).not.toBeNull();
});
