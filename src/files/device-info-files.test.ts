import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { aSpec } from "../../test/support/device.ts";
import { cdiFileName } from "../pools/names.ts";
import { ensureFolder, removeTemporaryFiles, writeAtomic } from "../fs/atomic.ts";
import { CdiFiles } from "./cdi-files.ts";
import { pruneDeviceInfo, writeDeviceInfo } from "./device-info-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-files-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");

test("temporary files that a killed process left are removed when they are old, the plugin's only", () => {
  const names = [".own.12.0.tmp", ".own.13.1.tmp", ".theirs.12.0.tmp", ".own.tmp", "own"];
  for (const name of names) {
    writeFileSync(`${folder}/${name}`, "");
    if (name !== ".own.13.1.tmp") utimesSync(`${folder}/${name}`, 0, 0);
  }
  removeTemporaryFiles(folder, (name) => name === "own");
  expect(readdirSync(folder).toSorted()).toEqual(names.slice(1).toSorted());
});

describe("a file that is written", () => {
  test.each([0o444, 0o644])("has its content and mode %o whatever the umask, and nothing else is left", (mode) => {
    const before = process.umask(0o077);
    try {
      writeAtomic(`${folder}/a.json`, "größe\n", mode);
    } finally {
      process.umask(before);
    }
    expect(read("a.json")).toBe("größe\n");
    expect(modeOf(`${folder}/a.json`)).toBe(mode.toString(8));
    expect(readdirSync(folder)).toEqual(["a.json"]);
  });

  test("replaces an older one that is read-only, as another file", () => {
    writeAtomic(`${folder}/a.json`, "old", 0o444);
    const { ino } = statSync(`${folder}/a.json`);
    writeAtomic(`${folder}/a.json`, "new", 0o444);
    expect(read("a.json")).toBe("new");
    expect(statSync(`${folder}/a.json`).ino).not.toBe(ino);
  });

  test("leaves the old state as it was when it fails, and no temporary file", () => {
    mkdirSync(`${folder}/taken`);
    writeFileSync(`${folder}/taken/inside`, "");
    expect(() => writeAtomic(`${folder}/taken`, "x", 0o644)).toThrow();
    expect(readdirSync(folder)).toEqual(["taken"]);
    expect(readdirSync(`${folder}/taken`)).toEqual(["inside"]);
    expect(() => writeAtomic(`${folder}/missing/a`, "x", 0o644)).toThrow("ENOENT");
  });

  test("is not put in place when only a part of it could be written", () => {
    writeFileSync(`${folder}/a`, "old");
    const code = `
      const { writeAtomic } = await import(${JSON.stringify(`${import.meta.dir}/../fs/atomic.ts`)});
      writeAtomic(${JSON.stringify(`${folder}/a`)}, "x".repeat(20_000), 0o644);`;
    const limited = 'trap \'\' XFSZ; ulimit -f 8; exec "$0" -e "$1"';
    const { exitCode, stderr } = Bun.spawnSync(["bash", "-c", limited, process.execPath, code]);
    expect(exitCode).not.toBe(0);
    expect(stderr.toString()).toContain("EFBIG");
    expect(read("a")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("may have a name as long as the file system takes", () => {
    const name = "a".repeat(255);
    writeAtomic(`${folder}/${name}`, "x", 0o644);
    expect(readdirSync(folder)).toEqual([name]);
  });
});

describe("a folder", () => {
  test("is made with all above it, for everybody to read", () => {
    ensureFolder(`${folder}/a/b/c`);
    expect(["a", "a/b", "a/b/c"].map((name) => modeOf(`${folder}/${name}`))).toEqual(["755", "755", "755"]);
  });

  test("that an older plugin left without permissions is mended", () => {
    mkdirSync(`${folder}/dp`);
    chmodSync(`${folder}/dp`, 0);
    ensureFolder(`${folder}/dp`);
    expect(modeOf(`${folder}/dp`)).toBe("755");
  });

  test("is mended at every level that an older plugin left without permissions", () => {
    mkdirSync(`${folder}/k8s/devinfo/dp`, { recursive: true });
    const levels = ["k8s/devinfo/dp", "k8s/devinfo", "k8s"].map((name) => `${folder}/${name}`);
    for (const level of levels) chmodSync(level, 0);
    ensureFolder(`${folder}/k8s/devinfo/dp`);
    expect(levels.toReversed().map(modeOf)).toEqual(["755", "755", "755"]);
  });

  test("keeps any bits that it has: on some systems / itself is 0555", () => {
    mkdirSync(`${folder}/etc/cdi`, { recursive: true });
    for (const name of ["etc/cdi", "etc"]) chmodSync(`${folder}/${name}`, 0o555);
    ensureFolder(`${folder}/etc/cdi`);
    expect(["etc", "etc/cdi"].map((name) => modeOf(`${folder}/${name}`))).toEqual(["555", "555"]);
  });

  test("that the operator made private stays so", () => {
    mkdirSync(`${folder}/private`, { mode: 0o700 });
    ensureFolder(`${folder}/private`);
    expect(modeOf(`${folder}/private`)).toBe("700");
  });
});

describe("what was planted under the name of one of the plugin's files", () => {
  const secret = () => `${folder}/elsewhere`;
  const spec = aSpec({ prefix: "intel.com", name: "net" });
  const file = cdiFileName(spec);
  const node = { hostPath: "/dev/vfio/2", containerPath: "/dev/vfio/2" };
  const info = { name: "intel.com-net-0000:3b:02.1-device.json", content: "{}" };
  const write = {
    [file]: () => new CdiFiles(`${folder}/d`).describe(spec, new Map([["0000:3b:02.1", [node]]])),
    [info.name]: () => writeDeviceInfo(`${folder}/d`, [info]),
  };
  const remove = {
    [file]: () => new CdiFiles(`${folder}/d`).load(),
    [info.name]: () => pruneDeviceInfo(`${folder}/d`, "intel.com/net", () => false),
  };
  beforeEach(() => mkdirSync(`${folder}/d`));

  test.each([file, info.name])("a link is replaced, and not followed: %s", (name) => {
    for (const content of ["kept", "{}"]) {
      writeFileSync(secret(), content);
      rmSync(`${folder}/d/${name}`, { force: true });
      symlinkSync(secret(), `${folder}/d/${name}`);
      write[name]?.();
      expect(lstatSync(`${folder}/d/${name}`).isFile()).toBe(true);
      expect(readFileSync(secret(), "utf8")).toBe(content);
    }
  });

  test.each([file, info.name])("a link is removed, and what it leads to is not: %s", (name) => {
    mkdirSync(secret());
    writeFileSync(`${secret()}/inside`, "");
    for (const target of [secret(), `${secret()}/inside`, "/nonexistent"]) {
      symlinkSync(target, `${folder}/d/${name}`);
      expect(remove[name]?.()).toEqual([name]);
    }
    expect(readdirSync(secret())).toEqual(["inside"]);
  });

  test.each([file, info.name])("a FIFO holds nothing up: %s", (name) => {
    Bun.spawnSync(["mkfifo", `${folder}/d/${name}`]);
    write[name]?.();
    expect(lstatSync(`${folder}/d/${name}`).isFile()).toBe(true);
  });

  test.each([file, info.name])(
    "a folder stays, is reported when it is in the way, and spares no other file: %s",
    (name) => {
      mkdirSync(`${folder}/d/${name}`);
      writeFileSync(`${folder}/d/${name}/inside`, "");
      writeFileSync(`${folder}/d/${name.replace("net", "net-z")}`, "");
      expect(() => write[name]?.()).toThrow("EISDIR");
      expect(remove[name]?.()).not.toContain(name);
      expect(readdirSync(`${folder}/d/${name}`)).toEqual(["inside"]);
    },
  );

  test("links under names of temporary files are removed when they are old, and not what they lead to", () => {
    writeFileSync(secret(), "kept");
    symlinkSync(secret(), `${folder}/d/.a.1.2.tmp`);
    lutimesSync(`${folder}/d/.a.1.2.tmp`, 0, 0);
    removeTemporaryFiles(`${folder}/d`, (name) => name === "a");
    expect(readdirSync(`${folder}/d`)).toEqual([]);
    expect(readFileSync(secret(), "utf8")).toBe("kept");
  });
});

describe("device-info files", () => {
  const name = (id: string, resource = "intel.com-net") => `${resource}-${id}-device.json`;

  test("are written where nothing was, readable by all", () => {
    writeDeviceInfo(`${folder}/devinfo/dp`, [{ name: name("0000:3b:02.1"), content: "{}" }]);
    expect(readdirSync(`${folder}/devinfo/dp`)).toEqual([name("0000:3b:02.1")]);
    expect(modeOf(`${folder}/devinfo/dp/${name("0000:3b:02.1")}`)).toBe("444");
  });

  test("a pool that has none makes no folder", () => {
    writeDeviceInfo(`${folder}/devinfo/dp`, []);
    expect(existsSync(`${folder}/devinfo`)).toBe(false);
  });

  test("are removed when nothing needs them; foreign files stay", () => {
    const foreign = [
      name("0000:3b:02.1", "intel.com-net-2"),
      name("0000:3b:02.1", "openshift.io-net"),
      "intel.com-net-notes.txt",
      "intel.com-net-x-device.json",
    ];
    for (const each of [name("0000:3b:02.1"), name("0000:3b:02.2"), ...foreign]) writeFileSync(`${folder}/${each}`, "");
    expect(pruneDeviceInfo(folder, "intel.com/net", (id) => id === "0000:3b:02.2")).toEqual([name("0000:3b:02.1")]);
    expect(readdirSync(folder).sort()).toEqual([name("0000:3b:02.2"), ...foreign].sort());
  });

  test("a missing folder holds none", () => {
    expect(pruneDeviceInfo(`${folder}/missing`, "intel.com/net", () => false)).toEqual([]);
  });
});
