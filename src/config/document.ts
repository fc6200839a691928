// A JSON file as its operator wrote it: comments and trailing commas allowed, positions kept, keys known by their
// names without regard to case, as the reference's JSON library reads them.

import { type Node, type ParseError, type ParseErrorCode, parseTree, printParseErrorCode } from "jsonc-parser";
import { didYouMean, type Problem } from "./problem.ts";

/** A parsed file: its tree, and how to say where in it something is. */
export interface Document {
  readonly root: Node | null;
  readonly at: (node: Node | undefined, path: string, message: string, severity?: Problem["severity"]) => Problem;
  readonly syntaxErrors: readonly Problem[];
}

/** Parses JSON with comments and trailing commas; what can't be parsed is told in syntaxErrors. */
export function parseDocument(text: string): Document {
  const content = text.startsWith("\uFEFF") ? ` ${text.slice(1)}` : text;
  const starts = [0];
  for (let i = content.indexOf("\n"); i !== -1; i = content.indexOf("\n", i + 1)) starts.push(i + 1);
  const where = (offset: number) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
  const errors: ParseError[] = [];
  let root: Node | undefined;
  let tooDeep = false;
  try {
    root = parseTree(content, errors, { allowTrailingComma: true, allowEmptyContent: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    tooDeep = true;
  }
  const syntaxErrors = errors.map(({ error, offset }): Problem => ({
    severity: "error",
    path: "",
    message: explainSyntax(error),
    ...where(offset),
  }));
  if (tooDeep) syntaxErrors.push({ severity: "error", path: "", message: "nested too deeply", line: 1, column: 1 });
  return {
    root: root ?? null,
    at: (node, path, message, severity = "error") => ({ severity, path, message, ...where(node?.offset ?? 0) }),
    syntaxErrors,
  };
}

function explainSyntax(code: ParseErrorCode): string {
  const name = printParseErrorCode(code);
  const words = name.replaceAll(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return `not JSON: ${words}`;
}

/** An object's values by known key; null values are left out, since they mean the default. */
export interface Fields {
  readonly values: Readonly<Record<string, Node>>;
  readonly unknown: readonly { readonly key: string; readonly node: Node; readonly meant: string | null }[];
  readonly repeated: readonly { readonly key: string; readonly node: Node }[];
}

/** Sorts an object's properties by known keys, case-insensitively; of a repeated key the last one counts. */
export function fieldsOf(object: Node, known: readonly string[]): Fields {
  const canonical = new Map(known.map((key) => [key.toLowerCase(), key]));
  const values: Record<string, Node> = {};
  const unknown: { key: string; node: Node; meant: string | null }[] = [];
  const repeated: { key: string; node: Node }[] = [];
  const seen = new Set<string>();
  for (const property of object.children ?? []) {
    const [keyNode, value] = property.children ?? [];
    if (!keyNode || !value) continue;
    const written = String(keyNode.value);
    const key = canonical.get(written.toLowerCase());
    if (key === undefined) {
      unknown.push({ key: written, node: keyNode, meant: didYouMean(written, known) });
      continue;
    }
    if (seen.has(key)) repeated.push({ key, node: keyNode });
    seen.add(key);
    if (value.type !== "null") values[key] = value;
  }
  return { values, unknown, repeated };
}

/** The plain value of a node. */
export function valueOf(node: Node): unknown {
  switch (node.type) {
    case "array":
      return (node.children ?? []).map(valueOf);
    case "object":
      return Object.fromEntries(
        (node.children ?? []).flatMap(({ children: [key, value] = [] }) =>
          key && value ? [[String(key.value), valueOf(value)]] : [],
        ),
      );
    default:
      return node.value;
  }
}

/** The node at a path below another, or the nearest one above it that exists. */
export function nodeAt(node: Node, path: readonly (string | number)[]): Node {
  let here = node;
  for (const step of path) {
    const next =
      typeof step === "number"
        ? here.children?.[step]
        : here.children?.findLast(({ children: [key] = [] }) => key?.value === step)?.children?.[1];
    if (!next) break;
    here = next;
  }
  return here;
}
