// Which config files are in what operators edit? A manifest, or what kustomize and helm print: YAML of many documents, with configs as
// keys of ConfigMaps. Each is a text of its own; its lines are those of the manifest where YAML writes it as it is.

import { type Document, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, Scalar, type YAMLMap } from "yaml";
import { messageOf } from "../text.ts";
import type { Problem } from "./problem.ts";

/** One config that a manifest holds. */
export interface ManifestConfig {
  readonly configMap: string;
  readonly namespace: string | null;
  readonly key: string;
  readonly text: string;
  /** Puts a problem of the text at its place in the manifest. */
  readonly place: (problem: Problem) => Problem;
}

/** What a manifest holds. */
export interface Manifest {
  readonly configs: readonly ManifestConfig[];
  /** What is not YAML. */
  readonly problems: readonly Problem[];
  /** ConfigMaps of which no key was taken for a config. */
  readonly others: readonly string[];
}

/** Whether a text is a Kubernetes object, or many: a config file has neither key. */
export const isManifest = (text: string): boolean =>
  /^\s*["']?apiVersion["']?\s*:|["']apiVersion["']\s*:/m.test(text) && /["']?\bkind["']?\s*:/m.test(text);

/**
 * The configs in a manifest, in its order. A key holds one when its text names resourceList; in a ConfigMap that has such a key, or is
 * named after SR-IOV, also when its text is a JSON object, since the name may be misspelled. With `key` that key alone is taken, whatever it holds.
 */
export function readManifest(text: string, key: string | null): Manifest {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, logLevel: "silent", uniqueKeys: false });
  const list: readonly Document[] = Array.isArray(documents) ? (documents as Document[]) : [];
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problems = list.flatMap(({ errors }) =>
    errors.map(({ message, pos: [offset] }): Problem => {
      const [what = ""] = message.split("\n");
      const hint = text.includes("{{") ? "; render the template first (helm template)" : "";
      return {
        severity: "error",
        path: "",
        message: `not YAML: ${what.replace(/ at line \d+.*/, "")}${hint}`,
        ...placeOf(offset),
      };
    }),
  );
  const found = list
    .flatMap((document) => configMapsIn(document.contents))
    .map((map) => ({ name: nameOf(map), configs: configsIn(map, text, key, placeOf) }));
  return {
    configs: found.flatMap(({ configs }) => configs),
    problems,
    others: found.filter(({ configs }) => configs.length === 0).map(({ name }) => name.join("/")),
  };
}

/** ConfigMaps of a document: itself, or those in its list. */
function configMapsIn(node: unknown): YAMLMap[] {
  if (!isMap(node)) return [];
  const kind = textAt(node, "kind");
  if (kind === "ConfigMap") return [node];
  const items = node.get("items");
  return kind !== null && kind.endsWith("List") && isSeq(items) ? items.items.flatMap(configMapsIn) : [];
}

const textAt = (map: YAMLMap, key: string): string | null => {
  const value = map.get(key);
  return typeof value === "string" ? value : null;
};

/** The namespace, where there is one, and the name. */
function nameOf(map: YAMLMap): string[] {
  const metadata = map.get("metadata");
  if (!isMap(metadata)) return ["unnamed"];
  return [...[textAt(metadata, "namespace")].filter((each) => each !== null), textAt(metadata, "name") ?? "unnamed"];
}

function configsIn(
  map: YAMLMap,
  text: string,
  only: string | null,
  placeOf: (offset: number) => { readonly line: number; readonly column: number },
): ManifestConfig[] {
  const data = map.get("data");
  if (!isMap(data)) return [];
  const entries = data.items.flatMap(({ key, value }) => {
    const scalar = isScalar(value) && typeof value.value === "string" ? value : null;
    return scalar ? [{ key: String(isScalar(key) ? key.value : key), value: scalar.value as string, scalar }] : [];
  });
  const names = nameOf(map);
  const name = names.at(-1) ?? "";
  const namesList = (value: string) => /resourceList/i.test(value);
  const mayBe = /sriov/i.test(name) || entries.some(({ value }) => namesList(value));
  const isConfig = ({ key, value }: (typeof entries)[number]) =>
    only === null ? namesList(value) || (mayBe && value.trimStart().startsWith("{")) : key === only;
  return entries.filter(isConfig).map(({ key, value, scalar }) => ({
    configMap: name,
    namespace: names.length > 1 ? (names[0] ?? null) : null,
    key,
    text: value,
    place: placing(scalar, value, text, placeOf(scalar.range?.[0] ?? 0)),
  }));
}

/** How a place in a value becomes one in the manifest: exactly in a literal block, else that of the value, with a description of the one in it. */
function placing(
  scalar: Scalar,
  value: string,
  text: string,
  at: { readonly line: number; readonly column: number },
): (problem: Problem) => Problem {
  if (scalar.type === Scalar.BLOCK_LITERAL) {
    const below = text
      .slice(scalar.range?.[0] ?? 0)
      .split("\n")
      .slice(1);
    const first = value.split("\n").findIndex((line) => line.trim() !== "");
    const indent =
      (/^ */.exec(below[first] ?? "")?.[0].length ?? 0) - (/^ */.exec(value.split("\n")[first] ?? "")?.[0].length ?? 0);
    return (problem) => ({
      ...problem,
      line: at.line + (problem.line ?? 1),
      column: problem.line === null ? at.column : Math.max(0, indent) + (problem.column ?? 1),
    });
  }
  return (problem) => ({
    ...problem,
    ...at,
    message:
      problem.line === null
        ? problem.message
        : `${problem.message} (line ${problem.line}, column ${problem.column} of the value)`,
  });
}

/** What is said of a text that should be a manifest and can't be read at all. */
export const unreadable = (error: unknown): Problem => ({
  severity: "error",
  path: "",
  message: `cannot read the manifest: ${messageOf(error)}`,
  line: null,
  column: null,
});
