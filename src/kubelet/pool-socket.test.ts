import { afterEach, beforeEach, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { isListening } from "../fs/socket-file.ts";
import { PoolSocket, type SocketServer } from "./pool-socket.ts";

/** A server that only listens. */
class Listener implements SocketServer {
  readonly #server: Server = createServer((socket) => socket.destroy());
  listened = 0;
  closed = 0;

  listen(path: string): Promise<void> {
    this.listened++;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject).listen(path, resolve);
    });
  }

  close(): Promise<void> {
    this.closed++;
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

let folder = "";
let socket: PoolSocket<Listener>;
const others: PoolSocket<Listener>[] = [];
beforeEach(() => {
  folder = temporaryFolder();
  socket = new PoolSocket(folder, "a_b.sock");
});
afterEach(async () => {
  for (const each of [socket, ...others.splice(0)]) await each.close();
  removeTemporaryFolder(folder);
});

async function another(): Promise<PoolSocket<Listener>> {
  const other = new PoolSocket<Listener>(folder, "a_b.sock");
  others.push(other);
  await other.bind(new Listener());
  return other;
}

test("a server listens at the path, for root alone, and nothing else is left in the folder", async () => {
  const server = new Listener();
  expect([socket.place, socket.server]).toEqual(["empty", null]);
  expect(await socket.bind(server)).toBeNull();
  expect([socket.place, socket.server === server]).toEqual(["ours", true]);
  expect(await isListening(socket.path)).toBe(true);
  expect(lstatSync(socket.path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["a_b.sock"]);
});

test("it sees that its socket was removed, that its folder is gone, and that another one is in its place", async () => {
  await socket.bind(new Listener());
  rmSync(socket.path);
  expect([socket.place, socket.hasFolder]).toEqual(["empty", true]);
  await another();
  expect(socket.place).toBe("foreign");
  rmSync(folder, { recursive: true });
  expect([socket.place, socket.hasFolder]).toEqual(["empty", false]);
  mkdirSync(folder);
});

test.each(["file", "link", "socket"])("what it did not bind itself is foreign: a %s", async (kind) => {
  if (kind === "file") writeFileSync(socket.path, "");
  else if (kind === "link") symlinkSync("nowhere", socket.path);
  else await another();
  expect(socket.place).toBe("foreign");
  await socket.bind(new Listener());
  expect([socket.place, await isListening(socket.path)]).toEqual(["ours", true]);
});

test("a second server takes the first one's place; the first is given back, open", async () => {
  const [first, second] = [new Listener(), new Listener()];
  await socket.bind(first);
  expect(await socket.bind(second)).toBe(first);
  expect([first.closed, socket.server === second, socket.place]).toEqual([0, true, "ours"]);
  await first.close();
  expect(await isListening(socket.path)).toBe(true);
});

test("it is still its own after it reappeared", async () => {
  await socket.bind(new Listener());
  socket.reappear();
  expect([socket.place, readdirSync(folder)]).toEqual(["ours", ["a_b.sock"]]);
});

test("closing removes its own socket, and leaves another one's", async () => {
  const server = new Listener();
  await socket.bind(server);
  await socket.close();
  expect([readdirSync(folder), server.closed, socket.server]).toEqual([[], 1, null]);
  socket = new PoolSocket(folder, "a_b.sock");
  await socket.bind(new Listener());
  await another();
  await socket.close();
  expect(readdirSync(folder)).toEqual(["a_b.sock"]);
});

test("a server that is bound while the socket is closed is closed, and leaves nothing", async () => {
  const server = new Listener();
  const binding = socket.bind(server);
  await socket.close();
  expect(await binding).toBeNull();
  expect([readdirSync(folder), server.closed, socket.server]).toEqual([[], 1, null]);
});

test("where a folder is in the way the reason says what to do, and no server is left", async () => {
  mkdirSync(`${socket.path}/x`, { recursive: true });
  const server = new Listener();
  const refusal: unknown = await socket.bind(server).catch((error: unknown) => error);
  expect(String(refusal)).toMatch(
    new RegExp(`the socket can't be put at ${socket.path}: E[A-Z]+; remove what is at that path`),
  );
  expect([readdirSync(folder), server.closed, socket.server]).toEqual([["a_b.sock"], 1, null]);
  rmSync(socket.path, { recursive: true });
});

test("a folder that is gone rejects the bind", async () => {
  renameSync(folder, `${folder}-gone`);
  const server = new Listener();
  const outcome = await socket.bind(server).then(
    () => "bound",
    () => "rejected",
  );
  renameSync(`${folder}-gone`, folder);
  expect([outcome, socket.server]).toEqual(["rejected", null]);
});
