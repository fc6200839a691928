// How is a node's /sys, /dev and netlink recorded? As text, one line per entry, so that a person can review it:
//   folder/ · link -> target · attribute = text · device c · text | and the lines below it, indented · # remark
// It is read again, and unpacked, by recorded-tree.ts.

import type { KernelFacts } from "./kernel.ts";

/** One thing below a node's root; paths have no leading "/". */
export type Entry =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  /** A character device; in an unpacked tree it is an empty file, since making one needs privileges. */
  | { readonly kind: "device"; readonly path: string }
  /** Bytes where the text is not UTF-8. */
  | { readonly kind: "file"; readonly path: string; readonly content: string | Uint8Array };

export const folder = (path: string): Entry => ({ kind: "folder", path });
export const link = (path: string, target: string): Entry => ({ kind: "link", path, target });
export const device = (path: string): Entry => ({ kind: "device", path });
export const file = (path: string, content: string | Uint8Array): Entry => ({ kind: "file", path, content });
/** A file as sysfs has them: one line. */
export const attribute = (path: string, text: string): Entry => file(path, `${text}\n`);

/** The text of entries, in their order. parse() gives the same entries again. */
export function format(entries: Iterable<Entry>): string {
  let text = "";
  for (const entry of entries) text += `${formatEntry(entry)}\n`;
  return text;
}

function formatEntry(entry: Entry): string {
  const path = formatWord(entry.path);
  switch (entry.kind) {
    case "folder":
      return `${path}/`;
    case "link":
      return `${path} -> ${formatWord(entry.target)}`;
    case "device":
      return `${path} c`;
    case "file":
      return path + formatContent(entry.content);
  }
}

/** A line as it is, several lines as a block, everything else quoted. */
function formatContent(content: string | Uint8Array): string {
  if (typeof content === "string" && /[^\n]\n$/.test(content) && !hasOddCharacter(content)) {
    const lines = content.slice(0, -1).split("\n");
    const [only = ""] = lines;
    if (lines.length === 1 && only !== "" && only === only.trim() && !only.startsWith('"')) return ` = ${only}`;
    if (lines.length > 1) return ` |${lines.map((line) => `\n${line === "" ? "" : `  ${line}`}`).join("")}`;
  }
  return ` = ${quote(content)}`;
}

/** Control characters other than the newline can't be seen, so a text with them is quoted. */
const hasOddCharacter = (text: string) => /[^\P{Cc}\n]/u.test(text);

const formatWord = (word: string) => (/^[^\s"#|=\p{Cc}][^\s"\p{Cc}]*[^\s"/\p{Cc}]$/u.test(word) ? word : quote(word));

function quote(content: string | Uint8Array): string {
  const text = typeof content === "string" ? content : latin1.decode(content);
  const escaped = text.replaceAll(/["\\\n\p{Cc}]/gu, (character) =>
    character === "\n" ? "\\n" : character === '"' || character === "\\" ? `\\${character}` : hex(character),
  );
  return `"${typeof content === "string" ? escaped : escaped.replaceAll(/[\u0080-\u00ff]/g, hex)}"`;
}

const hex = (character: string) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
const latin1 = {
  decode: (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""),
};

/** The file of a tree with what netlink answers. */
export const kernelFactsName = "netlink.json";

/** The facts that netlink reports, as a file of the node's tree, one line per record. */
export const kernelFacts = (facts: KernelFacts): Entry => file(kernelFactsName, formatKernelFacts(facts));

/** The facts that netlink reports as JSON, one line per record. */
export function formatKernelFacts(facts: KernelFacts): string {
  const lists = Object.entries(facts).map(([name, records]: [string, readonly unknown[]]) => {
    const simple = records.every((record) => typeof record !== "object");
    const lines = records.map((record) => `\n    ${spaced(record)}`);
    return `  "${name}": ${simple ? spaced(records) : `[${lines.join(",")}\n  ]`}`;
  });
  return `{\n${lists.join(",\n")}\n}\n`;
}

/** JSON on one line with spaces after ":" and ",", as a person would write it. */
function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}: ${spaced(member)}`);
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}
