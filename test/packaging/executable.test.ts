// Is the executable what is promised of it: one file that needs glibc and nothing else?

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { executable } from "../support/plugin.ts";
import { missingPrograms, testWhere } from "./needs.ts";

testWhere(missingPrograms("readelf"), "the executable needs libraries of glibc 2.17 and nothing else", () => {
  const { stdout } = Bun.spawnSync(["readelf", "--wide", "--dynamic", "--version-info", executable]);
  const text = stdout.toString();
  const libraries = [...text.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name);
  expect(libraries.toSorted()).toEqual([
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
  ]);
  const versions = [...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
  expect(versions.length).toBeGreaterThan(0);
  expect(Math.max(...versions)).toBeLessThanOrEqual(17);
});

test("the executable names no file of the machine that built it: what it runs is in it", () => {
  const checkout = dirname(dirname(import.meta.dir));
  expect(readFileSync(executable).includes(`${checkout}/src`)).toBeFalse();
});
