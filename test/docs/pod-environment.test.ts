// Has docs/reference/pod-environment.md every key of the INFO variable that containers get, and no other?

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { contributors } from "../../src/allocation/contributions.ts";

const page = readFileSync(`${import.meta.dir}/../../docs/reference/pod-environment.md`, "utf8");
const golden = `${import.meta.dir}/../contract/golden`;

/** "PROVIDER.KEY" in the first column of the table. */
const documented = [...page.matchAll(/^\| (`\w+\.[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
  [...cell.matchAll(/`(\w+\.[\w-]+)`/g)].map(([, key = ""]) => key),
);

interface Requests {
  readonly requests?: readonly { readonly envs?: Readonly<Record<string, string>> }[];
}

interface Golden {
  readonly pools: Readonly<Record<string, Requests | null>>;
}

/** Those of the answers that the contract tests hold the executable to; what additionalInfo adds is called KEY. */
const given = new Set(
  [...new Bun.Glob("*.json").scanSync(golden)]
    .flatMap((name) => Object.values((JSON.parse(readFileSync(`${golden}/${name}`, "utf8")) as Golden).pools))
    .flatMap((pool) => (pool?.requests ?? []).flatMap(({ envs = {} }) => Object.entries(envs)))
    .filter(([name]) => name.endsWith("_INFO"))
    .flatMap(([, info]) => Object.values(JSON.parse(info) as Record<string, Record<string, object>>))
    .flatMap((providers) =>
      Object.entries(providers).flatMap(([provider, keys]) =>
        Object.keys(keys).map((key) => `${provider}.${provider.startsWith("extra") ? "KEY" : key}`),
      ),
    ),
);

test("every key that a container gets is documented", () => {
  expect(given.size).toBeGreaterThan(10);
  expect([...given].filter((key) => !documented.includes(key))).toEqual([]);
});

test("every provider is documented, and no other", () => {
  expect([...new Set(documented.map((key) => key.split(".")[0]))].toSorted()).toEqual(
    Object.keys(contributors).toSorted(),
  );
});
