import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
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
  expect(readConfigFile(`${folder}/config.json`, options)).toEqual({ specs: [], problems: [], skipped: [], text });
});

test("a missing file is a problem that says how to name another", () => {
  const { specs, text, problems } = readConfigFile(`${folder}/missing.json`, options);
  expect({ specs, text }).toEqual({ specs: null, text: null });
  expect(problems[0]?.message).toMatch(/can't be read: ENOENT.*--config-file/);
});

test("a folder in place of the file is a problem, not a crash", () => {
  expect(readConfigFile(folder, options).problems[0]?.message).toContain("EISDIR");
});

test("a file far larger than a ConfigMap is not read", () => {
  writeFileSync(`${folder}/large.json`, "");
  truncateSync(`${folder}/large.json`, 64 << 20);
  expect(readConfigFile(`${folder}/large.json`, options).problems[0]?.message).toStartWith("too large");
});
