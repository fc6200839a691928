import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { type Question, serve } from "./http.ts";

const folder = mkdtempSync(`${tmpdir()}/http-`);
const unix = `${folder}/s`;
const large = "x".repeat(4 << 20);
const asked: Question[] = [];
let server = { close: () => {} };

beforeAll(() => {
  server = serve({ unix }, async (question) => {
    asked.push(question);
    if (question.path === "/throws") throw new Error("it went wrong");
    return { status: 200, contentType: "text/plain", body: question.path === "/large" ? large : "hi\n" };
  });
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const get = (path: string, init: RequestInit = {}) => fetch(`http://localhost${path}`, { ...init, unix });

/** What is answered to these bytes, however they are cut; reads only when told to. */
function raw(parts: readonly string[], { late = false } = {}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ path: unix });
  let told = "";
  socket.on("error", reject);
  socket.on("close", () => resolve(told));
  const read = () => socket.on("data", (chunk) => (told += chunk.toString()));
  if (!late) read();
  socket.on("connect", async () => {
    for (const part of parts) {
      socket.write(part);
      await new Promise((next) => setImmediate(next));
    }
    if (late) {
      socket.pause();
      await Bun.sleep(50);
      read();
      socket.resume();
    }
  });
  return promise;
}

test("a question is its path without the query, and what it accepts", async () => {
  expect(await (await get("/a?b=c", { headers: { accept: "text/x;q=0.5" } })).text()).toBe("hi\n");
  expect(asked.at(-1)).toEqual({ path: "/a", accept: " text/x;q=0.5" });
});

test("a large answer arrives as a whole, also when it is read late", async () => {
  expect(await (await get("/large")).text()).toBe(large);
  expect(await raw(["GET /large HTTP/1.1\r\n\r\n"], { late: true })).toEndWith(`\r\n\r\n${large}`);
});

test("HEAD has the length and no body", async () => {
  expect(await raw(["HEAD / HTTP/1.1\r\n\r\n"])).toMatch(/Content-Length: 3\r\n[^]*\r\n\r\n$/);
});

test("an answer that fails is a status, and the next one is given", async () => {
  const response = await get("/throws");
  expect([response.status, await response.text()]).toEqual([500, "it went wrong\n"]);
  expect((await get("/")).status).toBe(200);
});

test("a request that comes in pieces is one", async () => {
  expect(await raw([..."GET /a HTTP/1.1\r\nHost: x\r\n\r\n"])).toStartWith("HTTP/1.1 200 ");
});

test.each([
  ["POST / HTTP/1.1\r\n\r\n", 405],
  ["GET http://x/ HTTP/1.1\r\n\r\n", 400],
  ["GET / HTTP/2.0\r\n\r\n", 400],
  ["\0\r\n\r\n", 400],
  [`GET /${"a".repeat(9000)}`, 400],
])("%j is answered by %d", async (request, status) => {
  expect(await raw([request])).toStartWith(`HTTP/1.1 ${status} `);
});

test("more connections than there may be are cut, and the first ones are answered", async () => {
  const sockets = Array.from({ length: 80 }, () => connect({ path: unix }));
  const cut: unknown[] = [];
  for (const socket of sockets) {
    socket.on("error", () => {});
    socket.on("close", () => cut.push(socket));
  }
  while (cut.length < 80 - 64) await Bun.sleep(5);
  const [first] = sockets;
  const answer = new Promise<string>((resolve) => first?.once("data", (chunk) => resolve(chunk.toString())));
  first?.write("GET / HTTP/1.1\r\n\r\n");
  expect(await answer).toStartWith("HTTP/1.1 200 ");
  for (const socket of sockets) socket.destroy();
});
