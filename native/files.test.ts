import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { exists, listDirectory, readAttribute, readLink, readLinkName } from "./files.ts";
import { SystemError } from "./libc.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(`${tmpdir()}/files-`)));
afterAll(() => rmSync(folder, { recursive: true }));

const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

function written(name: string, content: string | Uint8Array): string {
  writeFileSync(`${folder}/${name}`, content);
  return `${folder}/${name}`;
}

test("an attribute comes without the newline, NUL or space behind it", () => {
  expect(readAttribute(written("newline", "0x8086\n"))).toBe("0x8086");
  expect(readAttribute(written("nul", "mlx5_0\0\n\0"))).toBe("mlx5_0");
  expect(readAttribute(written("space", " a b \t\n"))).toBe(" a b");
  expect(readAttribute(written("empty", ""))).toBe("");
});

test("an absent attribute is null", () => {
  expect(readAttribute(`${folder}/absent`)).toBeNull();
  expect(readAttribute(`${written("file", "x")}/below`)).toBeNull();
});

test("an attribute that does not apply is null: a loopback has no speed", () => {
  expect(readAttribute("/sys/class/net/lo/speed")).toBeNull();
  expect(readAttribute("/sys/class/net/lo/phys_switch_id")).toBeNull();
  expect(readAttribute("/sys/class/net/lo/ifindex")).toBe("1");
});

test("an attribute that can't be read throws with its path and leaves no descriptor open", () => {
  const before = openDescriptors();
  expect(() => readAttribute(folder)).toThrow(`read ${folder}: EISDIR`);
  expect(openDescriptors()).toBe(before);
});

test("content which is not UTF-8, or endless, is refused by name", () => {
  const path = written("latin1", new Uint8Array([0x65, 0xe9, 0x0a]));
  expect(() => readAttribute(path)).toThrow(`${path}: not UTF-8`);
  const large = written("large", "x".repeat(40_000));
  expect(() => readAttribute(large)).toThrow(`${large}: longer than an attribute can be`);
});

test("a short attribute read after a long one holds nothing of it", () => {
  readAttribute(written("long", "abcdefghijklmnop"));
  expect(readAttribute(written("short", "xy"))).toBe("xy");
});

test("a link is read as its target or the target's name, and anything else is null", () => {
  symlinkSync("../../bus/pci/drivers/ixgbe", `${folder}/driver`);
  symlinkSync("plain", `${folder}/near`);
  expect(readLink(`${folder}/driver`)).toBe("../../bus/pci/drivers/ixgbe");
  expect(readLinkName(`${folder}/driver`)).toBe("ixgbe");
  expect(readLinkName(`${folder}/near`)).toBe("plain");
  expect(readLinkName(`${folder}/absent`)).toBeNull();
  expect(readLinkName(written("no-link", ""))).toBeNull();
});

test("a directory is listed sorted, whatever its size", () => {
  const names = Array.from({ length: 3000 }, (_, index) => `0000:${index.toString(16).padStart(4, "0")}:00.0`);
  const directory = `${folder}/devices`;
  mkdirSync(directory);
  for (const name of names.toReversed()) writeFileSync(`${directory}/${name}`, "");
  const before = openDescriptors();
  expect(listDirectory(directory)).toEqual(names.toSorted());
  expect(openDescriptors()).toBe(before);
});

test("an absent directory and a file are null, an empty directory is empty", () => {
  mkdirSync(`${folder}/hollow`);
  expect(listDirectory(`${folder}/hollow`)).toEqual([]);
  expect(listDirectory(`${folder}/absent`)).toBeNull();
  expect(listDirectory(written("a-file", ""))).toBeNull();
});

test("a name that is not UTF-8 shows that it is odd", () => {
  mkdirSync(`${folder}/odd`);
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/odd/a`), Buffer.from([0xff])]), "");
  expect(listDirectory(`${folder}/odd`)).toEqual(["a\ufffd"]);
});

test("existence follows links", () => {
  symlinkSync("nowhere", `${folder}/dangling`);
  symlinkSync(".", `${folder}/sound`);
  expect(exists(`${folder}/dangling`)).toBe(false);
  expect(exists(`${folder}/sound`)).toBe(true);
  expect(exists(`${folder}/absent/below`)).toBe(false);
});

test("what is neither there nor absent throws", () => {
  symlinkSync("loop", `${folder}/loop`);
  expect(() => exists(`${folder}/loop`)).toThrow(SystemError);
  expect(() => readAttribute(`${folder}/loop`)).toThrow(`open ${folder}/loop: ELOOP`);
});

const straceWorks = spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;
test.skipIf(!straceWorks)("an attribute costs three system calls, a link one (needs strace)", () => {
  const log = `${folder}/strace`;
  const program = `
    const { readAttribute, readLinkName, exists } = await import(${JSON.stringify(`${import.meta.dir}/files.ts`)});
    const path = "/sys/class/net/lo/ifindex";
    exists("/begin"); readAttribute(path); readLinkName("/sys/class/net/lo"); exists("/end");`;
  spawnSync("strace", ["-e", "trace=%file,%desc", "-o", log, process.execPath, "-e", program]);
  const calls = readFileSync(log, "utf8").split("\n");
  const begin = calls.findIndex((call) => call.includes('"/begin"'));
  const end = calls.findIndex((call) => call.includes('"/end"'));
  const names = calls.slice(begin + 1, end).map((call) => call.slice(0, call.indexOf("(")));
  expect(names).toEqual([expect.stringMatching(/^open/), "read", "close", "readlink"]);
});

// getdents64 gives what it has when a signal is pending: an answer that leaves room is not the end.
test("a directory is listed whole in a storm of signals", async () => {
  const whole = readdirSync("/sys/module").length;
  const ignore = () => {};
  process.on("SIGWINCH", ignore);
  const storm = Bun.spawn(["/bin/sh", "-c", `while kill -WINCH ${process.pid}; do :; done`], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  try {
    for (let n = 0; n < 400; n++) expect(listDirectory("/sys/module")).toHaveLength(whole);
  } finally {
    storm.kill();
    await storm.exited;
    process.off("SIGWINCH", ignore);
  }
});
