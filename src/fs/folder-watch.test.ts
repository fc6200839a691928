import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { FolderWatch } from "./folder-watch.ts";

let root = "";
let watch: FolderWatch | null = null;
let reported: (string | null)[] = [];
let times = 0;
let wake = () => {};
let probing: Timer | undefined;

beforeEach(() => {
  root = mkdtempSync(`${tmpdir()}/sriovdp-watch-`);
});
afterEach(() => {
  clearInterval(probing);
  watch?.close();
  rmSync(root, { recursive: true, force: true });
});

const start = (folder: string) => {
  [reported, times] = [[], 0];
  watch = new FolderWatch(folder, (names) => {
    times++;
    reported.push(...names);
    wake();
  });
};

/** Waits until a name that fits was reported; otherwise the test ends by its time limit. */
async function waitForName(fits: (name: string | null) => boolean): Promise<void> {
  while (!reported.some(fits)) await new Promise<void>((resolve) => (wake = resolve));
  reported = [];
}

/** Writes a file again and again until that is reported: then the folder is watched. */
async function isWatched(folder: string): Promise<void> {
  const write = () => writeFileSync(`${folder}/probe`, "");
  probing = setInterval(write, 20);
  write();
  await waitForName(is("probe"));
  clearInterval(probing);
}
const is = (expected: string) => (name: string | null) => name === expected;

describe("a watched folder", () => {
  test("reports which file changed", async () => {
    start(root);
    writeFileSync(`${root}/config.json`, "{}");
    await waitForName(is("config.json"));
    rmSync(`${root}/config.json`);
    await waitForName(is("config.json"));
  });

  test("reports that the kubelet swapped a ConfigMap, which changes only a link", async () => {
    mkdirSync(`${root}/..1`);
    symlinkSync("..1", `${root}/..data`);
    symlinkSync("..data/config.json", `${root}/config.json`);
    start(root);
    mkdirSync(`${root}/..2`);
    symlinkSync("..2", `${root}/..data_tmp`);
    renameSync(`${root}/..data_tmp`, `${root}/..data`);
    await waitForName(is("..data"));
  });

  test("may come later", async () => {
    start(`${root}/a/b`);
    mkdirSync(`${root}/a`);
    mkdirSync(`${root}/a/b`);
    await isWatched(`${root}/a/b`);
  });

  test("is reported as new when it appears", async () => {
    mkdirSync(`${root}/a`);
    start(`${root}/a/b`);
    mkdirSync(`${root}/a/b`);
    await waitForName((name) => name === null);
  });

  test("is still watched after it was moved away and replaced", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    renameSync(`${root}/a/b`, `${root}/a/old`);
    mkdirSync(`${root}/a/b`);
    await isWatched(`${root}/a/b`);
  });

  test("is still watched after the folder above it was moved away and re-created", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    renameSync(`${root}/a`, `${root}/old`);
    mkdirSync(`${root}/a/b`, { recursive: true });
    await isWatched(`${root}/a/b`);
  });

  // The file system gives the inode number of the deleted folder to the new one.
  test("is still watched after it was deleted and made again at once", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    rmSync(`${root}/a/b`, { recursive: true });
    mkdirSync(`${root}/a/b`);
    await isWatched(`${root}/a/b`);
  });

  test("is still watched after the folder above it was deleted and made again at once", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    rmSync(`${root}/a`, { recursive: true });
    mkdirSync(`${root}/a/b`, { recursive: true });
    await isWatched(`${root}/a/b`);
  });

  test("reports nothing about files beside it and above it", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    writeFileSync(`${root}/a/other`, "");
    writeFileSync(`${root}/other`, "");
    writeFileSync(`${root}/a/b/mine`, "");
    const all: (string | null)[] = [];
    await waitForName((name) => {
      all.push(name);
      return name === "mine";
    });
    expect(new Set(all)).toEqual(new Set(["mine"]));
  });

  test("reports at once what changed together", async () => {
    start(root);
    for (let file = 0; file < 100; file++) writeFileSync(`${root}/${file}`, "");
    await waitForName(is("99"));
    // A file is two events or more; they come in as many pieces as the kernel and the watcher's thread hand them on.
    expect(times).toBeLessThan(50);
  });

  test("reports nothing after it was closed, not even earlier changes", async () => {
    const after: (string | null)[] = [];
    const closed = new FolderWatch(root, (names) => after.push(...names));
    writeFileSync(`${root}/before`, "");
    closed.close();
    // Another one reports what happens after that; by then the first one would have, too.
    start(root);
    writeFileSync(`${root}/after`, "");
    await waitForName(is("after"));
    expect(after).toEqual([]);
    expect(closed.rearm()).toBe(false);
  });
});

test("a check of what is watched finds a new folder without any event", () => {
  start(`${root}/a/b`);
  expect(watch?.rearm()).toBe(false);
  mkdirSync(`${root}/a/b`, { recursive: true });
  expect(watch?.rearm()).toBe(true);
  expect(watch?.rearm()).toBe(false);
});

test("the root of the file system can be watched", () => {
  start("/");
  expect(reported).toEqual([]);
});
