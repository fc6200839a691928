// How is a node's /sys, /dev and netlink written down? As text, one line an entry, so that a person can review it:
//   folder/ · link -> target · attribute = text · device c · text | and the lines below it, indented · # remark

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { KernelFacts } from "../../src/host/kernel.ts";

/** One thing below a node's root; paths have no leading "/". */
export type Entry =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  /** A character device; in an unpacked tree it is an empty file, since making one needs privileges. */
  | { readonly kind: "device"; readonly path: string }
  /** Bytes stand for text that is not UTF-8. */
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

const word = String.raw`"(?:[^"\\]|\\.)*"|[^\s"#|=][^\s"]*`;
const folderLine = new RegExp(`^(?:(${word})/|(${word}))$`);
const linkLine = new RegExp(`^(${word}) -> (${word})$`);
const deviceLine = new RegExp(`^(${word}) c$`);
const textLine = new RegExp(`^(${word}) =(?: (.*))?$`);
const blockLine = new RegExp(`^(${word}) \\|$`);

/** Reads entries from text; throws an Error that names the line which is none. */
export function parse(text: string): Entry[] {
  const entries: Entry[] = [];
  const lines = text.split("\n");
  for (let number = 0; number < lines.length; number++) {
    const line = lines[number] ?? "";
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, blockPath] = blockLine.exec(line) ?? [];
    if (blockPath !== undefined) {
      const block: string[] = [];
      while (/^(?: {2}|$)/.test(lines[number + 1] ?? "#")) block.push((lines[++number] ?? "").slice(2));
      // Empty lines before the next entry only set it apart.
      while (block.at(-1) === "") block.pop();
      entries.push(file(unquoteText(blockPath), `${block.join("\n")}\n`));
      continue;
    }
    const entry = parseLine(line);
    if (!entry) throw new Error(`line ${number + 1} is no entry: ${line}`);
    entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): Entry | null {
  const [, linkPath, target] = linkLine.exec(line) ?? [];
  if (linkPath !== undefined && target !== undefined) return link(unquoteText(linkPath), unquoteText(target));
  const [, devicePath] = deviceLine.exec(line) ?? [];
  if (devicePath !== undefined) return device(unquoteText(devicePath));
  const [, path, content = '""'] = textLine.exec(line) ?? [];
  if (path !== undefined) {
    return file(unquoteText(path), content.startsWith('"') ? unquote(content) : `${content}\n`);
  }
  const [, folderPath] = folderLine.exec(line) ?? [];
  return folderPath === undefined ? null : folder(unquoteText(folderPath));
}

/** A word's text; bytes when they are not UTF-8. */
function unquote(text: string): string | Uint8Array {
  if (!text.startsWith('"')) return text;
  const pieces: Uint8Array[] = [];
  for (const [piece] of text.slice(1, -1).matchAll(/\\x[0-9a-f]{2}|\\.|[^\\]+/gs)) {
    if (piece.startsWith("\\x")) pieces.push(Uint8Array.of(Number.parseInt(piece.slice(2), 16)));
    else pieces.push(Buffer.from(piece === "\\n" ? "\n" : piece.startsWith("\\") ? piece.slice(1) : piece));
  }
  const bytes = new Uint8Array(Buffer.concat(pieces));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes;
  }
}

function unquoteText(text: string): string {
  const content = unquote(text);
  if (typeof content !== "string") throw new Error(`a path must be UTF-8: ${text}`);
  return content;
}

/** Makes the entries below a folder, with the folders above them. Existing files are replaced. */
export function unpack(entries: Iterable<Entry>, into: string): void {
  const made = new Set<string>();
  const ensure = (path: string) => {
    if (made.has(path)) return;
    mkdirSync(path, { recursive: true });
    made.add(path);
  };
  ensure(into);
  for (const entry of entries) {
    const path = `${into}/${entry.path}`;
    if (entry.kind === "folder") {
      ensure(path);
      continue;
    }
    ensure(dirname(path));
    if (entry.kind === "link") symlinkSync(entry.target, path);
    else writeFileSync(path, entry.kind === "device" ? "" : entry.content);
  }
}

/** Where a tree keeps what netlink answers. */
export const kernelFactsName = "netlink.json";

/** The facts that netlink tells of a node as a file of its tree, one line a record. */
export const kernelFacts = (facts: KernelFacts): Entry => file(kernelFactsName, formatKernelFacts(facts));

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
