// How does the text of a node (tree.ts) become a tree of folders and files again? A captured node may come from anybody: nothing is written
// outside of the folder that it is unpacked into.

import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, posix } from "node:path";
import { device, type Entry, file, folder, link } from "./tree.ts";

const word = String.raw`"(?:[^"\\]|\\.)*"|[^\s"#|=][^\s"]*`;
const folderLine = new RegExp(`^(?:(${word})/|(${word}))$`);
const linkLine = new RegExp(`^(${word}) -> (${word})$`);
const deviceLine = new RegExp(`^(${word}) c$`);
const textLine = new RegExp(`^(${word}) =(?: (.*))?$`);
const blockLine = new RegExp(`^(${word}) \\|$`);

/** Reads entries from text; throws an Error that names the line that is not an entry. */
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

/**
 * Makes the entries below a folder, with the folders above them. Existing files are replaced. Throws for a path that leads out of the folder, by
 * ".." or by a link that an entry before made.
 */
export function unpack(entries: Iterable<Entry>, into: string): void {
  const made = new Set<string>();
  const ensure = (path: string) => {
    if (made.has(path)) return;
    if (path !== into) {
      ensure(dirname(path));
      if (isLink(path)) throw new Error(`${path.slice(into.length + 1)} is a link; nothing can be below it`);
    }
    mkdirSync(path, { recursive: true });
    made.add(path);
  };
  ensure(into);
  for (const entry of entries) {
    if (!isInside(entry.path)) throw new Error(`${JSON.stringify(entry.path)} is not a path below the root`);
    const path = `${into}/${entry.path}`;
    if (entry.kind === "folder") {
      ensure(path);
      continue;
    }
    ensure(dirname(path));
    if (entry.kind === "link") symlinkSync(entry.target, path);
    else if (isLink(path)) throw new Error(`${entry.path} is a link already`);
    else writeFileSync(path, entry.kind === "device" ? "" : entry.content);
  }
}

/** Whether a path is one below a root, written in the plainest way. */
const isInside = (path: string): boolean =>
  path !== "" && path !== "." && !path.startsWith("/") && !path.startsWith("..") && posix.normalize(path) === path;

const isLink = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
