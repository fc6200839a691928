// Which environment variables does a container get? Exactly two per pool: the ids, and INFO about them as JSON.

import { idsVariable, infoVariable } from "../pools/names.ts";
import type { PoolSpec } from "../pools/pool.ts";
import type { Contributions } from "./contributions.ts";

/** The two variables of a pool, for ids in the order of the request. */
export function poolEnvironment(
  spec: PoolSpec,
  contributions: ReadonlyMap<string, Contributions>,
): Record<string, string> {
  const info: Record<string, Record<string, Readonly<Record<string, string>>>> = {};
  for (const [id, providers] of contributions) {
    info[id] = Object.fromEntries([...providers].map(([provider, given]) => [provider, given.info]));
  }
  return {
    [idsVariable(spec.resource)]: [...contributions.keys()].join(","),
    [infoVariable(spec.resource)]: stableJson(info),
  };
}

type Json = string | { readonly [key: string]: Json };

/**
 * Compact JSON as the upstream plugin's library writes it: keys sorted by their UTF-8 bytes at every level; <, >, & and the
 * line separators escaped; everything else beyond ASCII as it is.
 */
export function stableJson(value: Json): string {
  if (typeof value === "string") return escaped(value);
  const keys = Object.keys(value).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${keys.map((key) => `${escaped(key)}:${stableJson(value[key] ?? "")}`).join(",")}}`;
}

const escaped = (text: string): string =>
  JSON.stringify(text.toWellFormed()).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
