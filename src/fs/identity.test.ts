import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { listenAt } from "../../test/support/listen-at.ts";
import { identityOf, revisionOf, targetIdentityOf } from "./identity.ts";

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

describe("a socket's identity", () => {
  test("is its own after it was renamed into place", async () => {
    await listen(`${folder}/.a`);
    const identity = identityOf(`${folder}/.a`);
    expect(identity).not.toBeNull();
    renameSync(`${folder}/.a`, `${folder}/a.sock`);
    expect(identityOf(`${folder}/a.sock`)).toBe(identity);
    expect(identityOf(`${folder}/.a`)).toBeNull();
  });

  test("is not that of a link to it", async () => {
    await listen(`${folder}/a.sock`);
    symlinkSync("a.sock", `${folder}/link`);
    expect(identityOf(`${folder}/link`)).not.toBe(identityOf(`${folder}/a.sock`));
  });

  test("is another's when both are there", async () => {
    await listen(`${folder}/a.sock`);
    await listen(`${folder}/b.sock`);
    expect(identityOf(`${folder}/a.sock`)).not.toBe(identityOf(`${folder}/b.sock`));
  });

  test("is another's when the first was deleted while it is held open", async () => {
    await listen(`${folder}/a.sock`);
    const first = identityOf(`${folder}/a.sock`);
    rmSync(`${folder}/a.sock`);
    await listen(`${folder}/a.sock`);
    expect(identityOf(`${folder}/a.sock`)).not.toBe(first);
  });

  // File systems give the inode number of a deleted socket to the next one.
  test("is another's when its process ended and a new one listens", async () => {
    const seen = new Set<string | null>();
    for (let round = 0; round < 20; round++) {
      await listen(`${folder}/kubelet.sock`);
      seen.add(identityOf(`${folder}/kubelet.sock`));
      await new Promise((resolve) => servers.pop()?.close(resolve));
      rmSync(`${folder}/kubelet.sock`, { force: true });
    }
    expect(seen.size).toBe(20);
  });
});

test("a folder keeps its identity while files come and go, and has another one when it is re-created", () => {
  mkdirSync(`${folder}/f`);
  const before = identityOf(`${folder}/f`);
  writeFileSync(`${folder}/f/a`, "");
  expect(identityOf(`${folder}/f`)).toBe(before);
  rmSync(`${folder}/f`, { recursive: true });
  mkdirSync(`${folder}/f`);
  expect(identityOf(`${folder}/f`)).not.toBe(before);
});

test("the identity of a target is that of what a link leads to, and changes when the link leads elsewhere", () => {
  for (const name of ["one", "two"]) mkdirSync(`${folder}/${name}`);
  symlinkSync("one", `${folder}/link`);
  expect(targetIdentityOf(`${folder}/link`)).toBe(identityOf(`${folder}/one`));
  rmSync(`${folder}/link`);
  symlinkSync("two", `${folder}/link`);
  expect(targetIdentityOf(`${folder}/link`)).toBe(identityOf(`${folder}/two`));
  rmSync(`${folder}/two`, { recursive: true });
  expect(targetIdentityOf(`${folder}/link`)).toBeNull();
  expect(identityOf(`${folder}/link`)).not.toBeNull();
});

test("the revision of a file changes when it is written in place and when it is replaced; its identity only then", () => {
  writeFileSync(`${folder}/a`, "one");
  const [identity, revision] = [identityOf(`${folder}/a`), revisionOf(`${folder}/a`)];
  writeFileSync(`${folder}/a`, "two");
  utimesSync(`${folder}/a`, 1, 1);
  expect(identityOf(`${folder}/a`)).toBe(identity);
  const written = revisionOf(`${folder}/a`);
  expect(written).not.toBe(revision);
  writeFileSync(`${folder}/b`, "two");
  renameSync(`${folder}/b`, `${folder}/a`);
  expect(identityOf(`${folder}/a`)).not.toBe(identity);
  expect(revisionOf(`${folder}/a`)).not.toBe(written);
});
