// The parts of a Markdown page that can be tested: its fenced blocks with their directives, its headings and links.
// An HTML comment before a block is a directive for the tests, and readers don't see it: see `directives`.

import GithubSlugger from "github-slugger";
import { lexer, type Token, walkTokens } from "marked";

/** What a comment before a block may say: `<!-- not run: needs an E810 -->`. */
export const directives = {
  "not run": "why the lab can't run this sh block",
  machine: "on which machine of test/docs/lab.ts it runs, when not on the first",
  fixture: "the recorded node of test/hosts on which the fast tests run it, and not the lab",
  lab: "what the lab prepares before: names of docs-preparations.ts in test/vm/guest or test/cluster, commas between them",
  plugin: "the plugin runs, with the config that the page has put in its place",
  pod: "it runs with the variables of a container that has these resources: RESOURCE[=COUNT], commas between them",
  file: "where the block's text is put before the next block runs: an absolute path, in the cluster a name",
  "exit status": "with which status the block's last command ends",
  "not a config": "what this JSON is, when it is neither a config file nor an entry of one",
} as const;

export type Directive = keyof typeof directives;

/** One fenced block. */
export interface Block {
  /** From 1 */
  readonly line: number;
  /** "sh", "json", …; empty when the fence names none */
  readonly language: string;
  readonly text: string;
  readonly says: Readonly<Partial<Record<Directive, string>>>;
  /** Of an sh block: the text block that follows, what the commands print; null when none follows. */
  readonly prints: string | null;
}

/** A page as its readers and its tests see it. */
export interface Page {
  readonly blocks: readonly Block[];
  /** Anchors of its headings, as the web page of a repository makes them. */
  readonly anchors: ReadonlySet<string>;
  /** Targets of its links and pictures. */
  readonly links: readonly string[];
  /** What is wrong with the page itself, as "line: message". */
  readonly problems: readonly string[];
}

const comment = /<!--\s*(.*?)\s*-->/gs;

/** Reads a page; a comment that names no directive is one for people. */
export function readPage(source: string): Page {
  const blocks: Block[] = [];
  const problems: string[] = [];
  let line = 1;
  let says: Block["says"] = {};
  let printing: number | null = null;
  for (const token of lexer(source)) {
    if (token.type === "html") says = { ...says, ...directivesIn(token.raw) };
    else if (token.type === "code" && token["codeBlockStyle"] !== "indented") {
      const language = (token["lang"] as string | undefined) ?? "";
      if (language === "text" && printing !== null) blocks[printing] = { ...blocks[printing]!, prints: token["text"] };
      blocks.push({ line, language, text: token["text"] as string, says, prints: null });
      printing = language === "sh" ? blocks.length - 1 : null;
      says = {};
    } else if (token.type !== "space") {
      says = {};
      printing = null;
    }
    line += token.raw.split("\n").length - 1;
  }
  const fences = source.match(/^[ >]*(?:```|~~~)/gm)?.length ?? 0;
  if (fences !== 2 * blocks.length) problems.push("1: a fenced block is in a list or a quote, where no test finds it");
  return { blocks, problems, ...anchorsAndLinks(source) };
}

function directivesIn(html: string): Block["says"] {
  const found = [...html.matchAll(comment)].flatMap(([, text = ""]) => {
    const name = (Object.keys(directives) as Directive[]).find((each) => text.startsWith(`${each}:`));
    return name ? [[name, text.slice(name.length + 1).trim()]] : [];
  });
  return Object.fromEntries(found);
}

function anchorsAndLinks(source: string): Pick<Page, "anchors" | "links"> {
  const slugger = new GithubSlugger();
  const anchors = new Set<string>();
  const links: string[] = [];
  walkTokens(lexer(source), (token: Token) => {
    if (token.type === "heading") anchors.add(slugger.slug(plain(token["tokens"] ?? [])));
    if (token.type === "link" || token.type === "image") links.push(token["href"] as string);
  });
  return { anchors, links };
}

const plain = (tokens: readonly Token[]): string =>
  tokens
    .map((token) => ("tokens" in token && token.tokens ? plain(token.tokens) : "text" in token ? token.text : ""))
    .join("");
