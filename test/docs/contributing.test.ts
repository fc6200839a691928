// Does CONTRIBUTING.md's map name the folders that there are? Every folder of the first and second level that git has a file in.

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";

const root = `${import.meta.dir}/../..`;
const text = readFileSync(`${root}/CONTRIBUTING.md`, "utf8");

/** The folders in the first column of the map's rows, as "src/host/". */
const named = [...text.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell = ""]) =>
  [...cell.matchAll(/`([^`]+\/)`/g)].map(([, folder = ""]) => folder),
);

/** A checkout's folders with files of their own, and those with files below them at the second level; null without git. */
function foldersOfGit(): string[] | null {
  const { success, stdout } = Bun.spawnSync(["git", "-C", root, "ls-files"], { stderr: "ignore" });
  if (!success) return null;
  const folders = stdout
    .toString()
    .trim()
    .split("\n")
    .flatMap((path) => /^(?:[^/]+\/){1,2}/.exec(path)?.[0] ?? []);
  return [...new Set(folders)].toSorted();
}

// A copy of the sources without git has no list to compare with.
test.skipIf(foldersOfGit() === null)("CONTRIBUTING.md's map names every folder, once, and no other", () => {
  expect(named.toSorted()).toEqual(foldersOfGit() ?? []);
});

test("each path in CONTRIBUTING.md is there", () => {
  const paths = [...text.matchAll(/`((?:src|native|scripts|test|docs|deployments|proto)\/[\w./-]*)`/g)].map(
    ([, path = ""]) => path,
  );
  expect(paths.length).toBeGreaterThan(30);
  expect(paths.filter((path) => !existsSync(`${root}/${path}`) && !path.includes("NAME"))).toEqual([]);
});
