import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { readConfigFile } from "./file.ts";

const options = { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 };
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-config-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a file is loaded, and its text is given for comparison", () => {
  const text = '{"resourceList":[]}';
  writeFileSync(`${folder}/config.json`, text);
  expect(readConfigFile(`${folder}/config.json`, options)).toEqual({
    specs: [],
    wellFormed: [],
    problems: [],
    skipped: [],
    entries: [],
    text,
  });
});

test("a missing file is a problem that says how to name another", () => {
  const { specs, text, problems } = readConfigFile(`${folder}/missing.json`, options);
  expect({ specs, text }).toEqual({ specs: null, text: null });
  expect(problems).toEqual([
    { severity: "error", path: "", message: "no such file; set --config-file", line: null, column: null },
  ]);
});

test("a folder in place of the file is a problem, not a crash", () => {
  expect(readConfigFile(folder, options).problems[0]?.message).toContain("EISDIR");
});

test("a file far larger than a ConfigMap is not read", () => {
  writeFileSync(`${folder}/large.json`, "");
  truncateSync(`${folder}/large.json`, 64 << 20);
  expect(readConfigFile(`${folder}/large.json`, options).problems[0]?.message).toContain("too large");
});

test("a FIFO, a device or a link to itself in place of the file is a problem at once", () => {
  Bun.spawnSync(["mkfifo", `${folder}/fifo`]);
  symlinkSync("loop", `${folder}/loop`);
  const said = [`${folder}/fifo`, `${folder}/loop`, "/dev/zero"].map(
    (path) => readConfigFile(path, options).problems[0]?.message,
  );
  expect(said).toEqual([
    expect.stringContaining("not a regular file"),
    expect.stringContaining("ELOOP"),
    expect.stringContaining("not a regular file"),
  ]);
});

test("a file without a size, as those of /proc, is read to its end", () => {
  const { text } = readConfigFile("/proc/self/status", options);
  expect(text).toStartWith("Name:");
  expect(text).toEndWith("\n");
});

test("64 MiB of file, and a whole file of nothing but tokens, cost little memory", () => {
  const peakOf = (name: string) => {
    const code = `
      const { readConfigFile } = await import(${JSON.stringify(`${import.meta.dir}/file.ts`)});
      readConfigFile(${JSON.stringify(folder)} + "/${name}", { resourcePrefix: "a.b", useCdi: false, socketNameLimit: 73 });
      console.log(/VmHWM:\\s+(\\d+)/.exec(require("node:fs").readFileSync("/proc/self/status", "utf8"))[1]);`;
    return Number(Bun.spawnSync([process.execPath, "-e", code]).stdout.toString());
  };
  writeFileSync(`${folder}/small.json`, "{}");
  writeFileSync(`${folder}/signs.json`, `[${",".repeat((1 << 20) - 1)}`);
  const least = peakOf("small.json");
  expect(least).toBeGreaterThan(1000);
  for (const name of ["large.json", "signs.json"]) expect(peakOf(name) - least).toBeLessThan(48 << 10);
});
