import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { FolderWatch } from "./folder-watch.ts";

let root = "";
let watch: FolderWatch | null = null;
let told: (string | null)[] = [];
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
  [told, times] = [[], 0];
  watch = new FolderWatch(folder, (names) => {
    times++;
    told.push(...names);
    wake();
  });
};

/** Waits until something that fits was told; a test that waits in vain is ended by its time limit. */
async function hears(fits: (name: string | null) => boolean): Promise<void> {
  while (!told.some(fits)) await new Promise<void>((resolve) => (wake = resolve));
  told = [];
}

/** Writes a file again and again until that is heard: then the folder is watched. */
async function isWatched(folder: string): Promise<void> {
  const write = () => writeFileSync(`${folder}/probe`, "");
  probing = setInterval(write, 20);
  write();
  await hears(is("probe"));
  clearInterval(probing);
}
const is = (wanted: string) => (name: string | null) => name === wanted;

describe("a watched folder", () => {
  test("tells which file changed", async () => {
    start(root);
    writeFileSync(`${root}/config.json`, "{}");
    await hears(is("config.json"));
    rmSync(`${root}/config.json`);
    await hears(is("config.json"));
  });

  test("tells when the kubelet swaps a ConfigMap, which changes only a link", async () => {
    mkdirSync(`${root}/..1`);
    symlinkSync("..1", `${root}/..data`);
    symlinkSync("..data/config.json", `${root}/config.json`);
    start(root);
    mkdirSync(`${root}/..2`);
    symlinkSync("..2", `${root}/..data_tmp`);
    renameSync(`${root}/..data_tmp`, `${root}/..data`);
    await hears(is("..data"));
  });

  test("may come later", async () => {
    start(`${root}/a/b`);
    mkdirSync(`${root}/a`);
    mkdirSync(`${root}/a/b`);
    await isWatched(`${root}/a/b`);
  });

  test("is told to be new when it comes", async () => {
    mkdirSync(`${root}/a`);
    start(`${root}/a/b`);
    mkdirSync(`${root}/a/b`);
    await hears((name) => name === null);
  });

  test("is still watched after somebody moved it away and made another", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    renameSync(`${root}/a/b`, `${root}/a/old`);
    mkdirSync(`${root}/a/b`);
    await isWatched(`${root}/a/b`);
  });

  test("is still watched after the folder above it was moved away and made anew", async () => {
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

  test("tells nothing of files beside it and above it", async () => {
    mkdirSync(`${root}/a/b`, { recursive: true });
    start(`${root}/a/b`);
    writeFileSync(`${root}/a/other`, "");
    writeFileSync(`${root}/other`, "");
    writeFileSync(`${root}/a/b/mine`, "");
    const all: (string | null)[] = [];
    await hears((name) => {
      all.push(name);
      return name === "mine";
    });
    expect(new Set(all)).toEqual(new Set(["mine"]));
  });

  test("tells at once what changed together", async () => {
    start(root);
    for (let file = 0; file < 100; file++) writeFileSync(`${root}/${file}`, "");
    await hears(is("99"));
    // A file is two events or more; they come in as many pieces as the kernel and the watcher's thread hand them on.
    expect(times).toBeLessThan(50);
  });

  test("tells nothing after it was closed, not even of what had changed before", async () => {
    const heard: (string | null)[] = [];
    const closed = new FolderWatch(root, (names) => heard.push(...names));
    writeFileSync(`${root}/before`, "");
    closed.close();
    // Another one hears of what comes after that; by then the first one would have, too.
    start(root);
    writeFileSync(`${root}/after`, "");
    await hears(is("after"));
    expect(heard).toEqual([]);
    expect(closed.rearm()).toBe(false);
  });
});

test("a look at what is watched finds a new folder without any event", () => {
  start(`${root}/a/b`);
  expect(watch?.rearm()).toBe(false);
  mkdirSync(`${root}/a/b`, { recursive: true });
  expect(watch?.rearm()).toBe(true);
  expect(watch?.rearm()).toBe(false);
});

test("the root of the file system can be watched", () => {
  start("/");
  expect(told).toEqual([]);
});
