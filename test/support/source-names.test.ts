// One name for one thing: in src/ and native/ no two files have the same name, nor two exports, nor a file more lines than a reader keeps in mind.

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

/** Tables alone, of which a reader reads a row. */
const tables: readonly string[] = ["src/cli/options.ts", "src/cli/output-schemas.ts"];

test("no source has more than 350 lines, but for tests and tables", async () => {
  const lengths = await Promise.all(
    sources
      .filter((path) => !path.endsWith(".test.ts") && !tables.includes(path))
      .map(async (path) => ({ path, lines: (await read(path)).split("\n").length - 1 })),
  );
  expect(lengths.filter(({ lines }) => lines > 350)).toEqual([]);
});
