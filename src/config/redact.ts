// How is a config file shown to others? As JSON without what may be secret: values of additionalInfo, values of unknown keys (one may be
// a misspelled additionalInfo), and comments.

import { parseTree, type Node, type ParseError } from "jsonc-parser";
import { selectorNames } from "../pools/selectors.ts";
import { entryKeys, fileKeys } from "./config-schema.ts";

/** The text in place of a value that is not shown. */
export const redacted = "REDACTED";

/** The config as JSON without what may be secret; null for a text that can't be parsed, since then secrets cannot be located. */
export function withoutSecrets(text: string): string | null {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  if (!root || errors.length > 0) return null;
  return `${JSON.stringify(shown(root, file), null, 2)}\n`;
}

/** What is below a key: the known keys of an object there; null where every value is shown. */
interface Level {
  readonly keys: Readonly<Record<string, Level | "secret" | "shown">>;
}

const same = (names: readonly string[]): Level["keys"] =>
  Object.fromEntries(names.map((name) => [name.toLowerCase(), "shown"]));

const selectorObject: Level = { keys: same(selectorNames) };
const entry: Level = { keys: { ...same(entryKeys), selectors: selectorObject, additionalinfo: "secret" } };
const file: Level = { keys: { ...same(fileKeys), resourcelist: entry } };

function shown(node: Node, level: Level | "secret" | "shown"): unknown {
  if (node.type === "array") return (node.children ?? []).map((each) => shown(each, level));
  if (node.type !== "object") return level === "secret" ? redacted : node.value;
  return Object.fromEntries(
    (node.children ?? []).flatMap(({ children: [key, value] = [] }) => {
      if (!key || !value) return [];
      const name = String(key.value);
      if (typeof level === "string") return [[name, shown(value, level)]];
      const below = Object.hasOwn(level.keys, name.toLowerCase()) ? level.keys[name.toLowerCase()] : undefined;
      return [[name, below === undefined ? redacted : shown(value, below)]];
    }),
  );
}
