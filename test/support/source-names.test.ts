// One name for one thing: in src/ and native/ no two files have the same name, nor two exports. And no file
// is longer than 350 lines.

import { expect, test } from "bun:test";
import { basename } from "node:path";

const root = `${import.meta.dir}/../..`;
const isGenerated = (path: string) => path.startsWith("src/kubelet/api/");

/** The hand-written sources below src/ and native/, as paths from the root of the repository. */
const sources = ["src", "native"]
  .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.ts`).scanSync(root)])
  .filter((path) => !isGenerated(path))
  .toSorted();

const read = (path: string) => Bun.file(`${root}/${path}`).text();

const exportOf =
  /^export (?:declare )?(?:async )?(?:abstract )?(?:const enum|function\*?|const|let|class|interface|type|enum) +(\w+)/gm;

/** The names that more than one of these has, each with all that have it. */
function shared(named: readonly (readonly [name: string, path: string])[]): Record<string, readonly string[]> {
  const byName = Map.groupBy(named, ([name]) => name);
  return Object.fromEntries(
    [...byName]
      .map(([name, all]) => [name, [...new Set(all.map(([, path]) => path))]] as const)
      .filter(([, paths]) => paths.length > 1),
  );
}

test("there are sources, and exports in them", async () => {
  expect(sources.length).toBeGreaterThan(150);
  expect([...(await read("src/text.ts")).matchAll(exportOf)].map(([, name]) => name)).toEqual([
    "counted",
    "messageOf",
    "stableReason",
    "oneLine",
  ]);
});

test("no two files have the same name", () => {
  expect(shared(sources.map((path) => [basename(path), path]))).toEqual({});
});

test("no two exports have the same name", async () => {
  const exported = await Promise.all(
    sources.map(async (path) =>
      [...(await read(path)).matchAll(exportOf)].map(([, name = ""]) => [name, path] as const),
    ),
  );
  expect(shared(exported.flat())).toEqual({});
});

test("shared names are found", () => {
  expect(
    shared([
      ["a", "x/a"],
      ["b", "x/b"],
      ["a", "y/a"],
    ]),
  ).toEqual({ a: ["x/a", "y/a"] });
});

/** All that people wrote to be run, scripts without an extension too. */
const code = ["src", "native", "test", "scripts", ".ci"]
  .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*`).scanSync({ cwd: root, dot: true })])
  .filter((path) => /(?:\.(?:ts|sh|c|h|go)|\/[^./]+)$/.test(path) && !isGenerated(path))
  .toSorted();

test("no file has more than 350 lines, tests and scripts included", async () => {
  expect(code.length).toBeGreaterThan(500);
  for (const path of [
    "src/main.ts",
    "test/vm/guest/plugin.ts",
    "test/vm/lab/guest-init",
    "test/vm/lab/labsim/labsim.h",
    "scripts/build/generate.sh",
  ])
    expect(code).toContain(path);
  const lengths = await Promise.all(
    code.map(async (path) => ({ path, lines: (await read(path)).split("\n").length - 1 })),
  );
  expect(lengths.flatMap(({ path, lines }) => (lines > 350 ? [path] : []))).toEqual([]);
});
