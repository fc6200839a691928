// A JSON file as its operator wrote it: comments and trailing commas allowed, positions kept, keys known by their
// names without regard to case, as the upstream plugin's JSON library reads them.

import {
  createScanner,
  type Node,
  type ParseError,
  type ParseErrorCode,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";
import { limits } from "../limits.ts";
import { didYouMean, inFileOrder, type Problem } from "./problem.ts";

/** A parsed file: its tree, and how to say where in it something is. */
export interface Document {
  readonly root: Node | null;
  readonly at: (node: Node | undefined, path: string, message: string, severity?: Problem["severity"]) => Problem;
  readonly syntaxErrors: readonly Problem[];
}

/** Parses JSON with comments and trailing commas; what can't be parsed is listed in syntaxErrors. */
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
  const problem = (offset: number, message: string): Problem => ({
    severity: "error",
    path: "",
    message,
    ...where(offset),
  });
  const tooMuch = excess(content);
  const errors: ParseError[] = [];
  const hashes = tooMuch ? [] : hashComments(content);
  const root = tooMuch
    ? null
    : parseTree(withoutRanges(content, hashes), errors, { allowTrailingComma: true, allowEmptyContent: true });
  const syntaxErrors = tooMuch
    ? [problem(tooMuch.offset, tooMuch.message)]
    : [
        ...hashes.map(([start]) => problem(start, 'not JSON: comments begin with "//", not with "#"')),
        ...errors.map(({ error, offset }) => problem(offset, explainSyntax(error, content.codePointAt(offset)))),
      ].sort(inFileOrder);
  return {
    root: root ?? null,
    at: (node, path, message, severity = "error") => ({ severity, path, message, ...where(node?.offset ?? 0) }),
    syntaxErrors,
  };
}

// jsonc-parser's SyntaxKind, of which only the types can be imported: "{", "[", "}", "]" and the end.
const opening: ReadonlySet<number> = new Set([1, 3]);
const closing: ReadonlySet<number> = new Set([2, 4]);
const endOfFile = 17;

/** Where a text is deeper or longer than a tree is made of; null when it is not. The scanner needs no stack and keeps nothing. */
function excess(content: string): { readonly offset: number; readonly message: string } | null {
  const scanner = createScanner(content, true);
  const scan = () => scanner.scan() as number;
  const [deepest, most] = [limits.configDepth.max, limits.configTokens.max];
  let depth = 0;
  for (let tokens = 0, kind = scan(); kind !== endOfFile; tokens++, kind = scan()) {
    if (opening.has(kind)) depth++;
    if (closing.has(kind)) depth--;
    const message =
      depth > deepest
        ? `nested too deeply: at most ${deepest} levels`
        : tokens >= most
          ? `too long: at most ${most} tokens`
          : null;
    if (message !== null) return { offset: scanner.getTokenOffset(), message };
  }
  return null;
}

type Range = readonly [start: number, end: number];

/** Comments in the way of shells and YAML, each to the end of its line: outside of texts and real comments. */
function hashComments(content: string): readonly Range[] {
  const scanner = createScanner(content, true);
  const scan = () => scanner.scan() as number;
  const found: Range[] = [];
  const lineEnd = /[\r\n]|$/g;
  for (let kind = scan(); kind !== endOfFile; kind = scan()) {
    const start = scanner.getTokenOffset();
    if (content[start] !== "#") continue;
    lineEnd.lastIndex = start;
    const end = lineEnd.exec(content)?.index ?? content.length;
    found.push([start, end]);
    scanner.setPosition(end);
  }
  return found;
}

/** The text with blanks in place of the ranges: what comes after them keeps its place. */
function withoutRanges(content: string, ranges: readonly Range[]): string {
  let text = "";
  let from = 0;
  for (const [start, end] of ranges) {
    text += content.slice(from, start) + " ".repeat(end - start);
    from = end;
  }
  return text + content.slice(from);
}

/** Quotes of other languages, and those that word processors and web pages put in place of plain ones. */
const otherQuotes = new Set([..."'`\u2018\u2019\u201A\u201C\u201D\u201E\u00AB\u00BB"]);

function explainSyntax(code: ParseErrorCode, at: number | undefined): string {
  const name = printParseErrorCode(code);
  const words = name.replaceAll(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  const character = at === undefined ? "" : String.fromCodePoint(at);
  if (otherQuotes.has(character)) return `not JSON: strings are in double quotes ("), found ${character}`;
  // Of characters that only resemble a blank, such as U+00A0 of a web page, nothing else can be seen.
  const unseen = at !== undefined && at > 0x7e ? ` U+${at.toString(16).toUpperCase().padStart(4, "0")}` : "";
  return `not JSON: ${words}${unseen}`;
}

/** An object's values by known key; null values are left out, since they mean the default. */
export interface Fields {
  readonly values: Readonly<Record<string, Node>>;
  readonly unknown: readonly { readonly key: string; readonly node: Node; readonly meant: string | null }[];
  readonly repeated: readonly { readonly key: string; readonly node: Node }[];
  /** Known keys that are there, also those whose value is null. */
  readonly present: ReadonlySet<string>;
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
  return { values, unknown, repeated, present: seen };
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
