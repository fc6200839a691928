import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { namesIn } from "./folder-names.ts";

test("a folder has its names, a missing one has none, and what is not a folder is an error", () => {
  const folder = mkdtempSync(`${tmpdir()}/sriovdp-names-`);
  writeFileSync(`${folder}/a`, "");
  expect(namesIn(folder)).toEqual(["a"]);
  expect(namesIn(`${folder}/missing`)).toEqual([]);
  expect(() => namesIn(`${folder}/a`)).toThrow("ENOTDIR");
  rmSync(folder, { recursive: true });
});
