// What does the operator configure? From the text of the config file to pool specs, with every problem found at once.
// The compatibility rule: what the upstream plugin runs with, runs, with a warning where it is doubtful; what it refuses,
// crashes on or silently gets wrong is rejected or done right.

import type { Node } from "jsonc-parser";
import * as v from "valibot";
import { type DeviceTypeName, deviceTypes } from "../pools/device-types.ts";
import { limits } from "../limits.ts";
import { cdiFileName, idsVariable, resourceName, socketName } from "../pools/names.ts";
import type { PoolSpec } from "../pools/pool.ts";
import { type Document, type Fields, fieldsOf, nodeAt, parseDocument, valueOf } from "./document.ts";
import { deviceTypeHint, type KeyLevel, misplaced, nearKeyHint } from "./keys.ts";
import { inFileOrder, type Problem } from "./problem.ts";
import {
  entryFields,
  entryKeys,
  entrySchema,
  fileKeys,
  meaninglessKeys,
  resourcePrefixSchema,
} from "./config-schema.ts";
import { readSelectors } from "./selector-objects.ts";

/** What the command line sets for all entries. */
export interface LoadOptions {
  readonly resourcePrefix: string;
  readonly useCdi: boolean;
  /** The longest socket file name that the kubelet's directories leave room for, in bytes. */
  readonly socketNameLimit: number;
}

/** The outcome of loading a file: specs is null when the file is rejected. */
export interface Loaded {
  readonly specs: readonly PoolSpec[] | null;
  /** Entries without a mistake of their own, also of a file that is rejected: checks beyond the loader's go on with them. */
  readonly wellFormed: readonly PoolSpec[];
  readonly problems: readonly Problem[];
  /** Full names of entries that were skipped. */
  readonly skipped: readonly string[];
  /** For each of `wellFormed` the index of its entry in resourceList. */
  readonly entries: readonly number[];
}

/** Reads the text of a config file into pool specs; never throws for what is in the file. */
export function loadConfig(text: string, options: LoadOptions): Loaded {
  const document = parseDocument(text);
  const root = document.root;
  if (document.syntaxErrors.length > 0) return rejected(listed(document.syntaxErrors));
  if (!root)
    return rejected([
      document.at(undefined, "", 'not JSON: the file is empty; for no pools write {"resourceList": []}'),
    ]);
  if (root.type !== "object") {
    return rejected([document.at(root, "", `expected an object {"resourceList": […]}, found ${root.type}`)]);
  }
  const reader = new EntryReader(document, options);
  const prefix = v.safeParse(resourcePrefixSchema, options.resourcePrefix);
  if (!prefix.success) {
    const [issue] = prefix.issues;
    reader.problem(root, "", `--resource-prefix=${options.resourcePrefix}: ${issue.message}`);
  }
  const file = fieldsOf(root, fileKeys);
  reader.reportUnknownKeys(file, "", "file");
  const list = file.values["resourceList"];
  // The operator writes {"resourceList": null} for a node without pools; a template that renders nothing gives null or {}.
  if (!file.present.has("resourceList"))
    reader.problem(root, "resourceList", 'missing; for no pools write {"resourceList": []}');
  if (list && list.type !== "array") reader.problem(list, "resourceList", `expected a list, found ${list.type}`);
  else for (const [index, entry] of (list?.children ?? []).entries()) reader.entry(entry, index);
  if (list && reader.skipped.length > 0 && reader.skipped.length === list.children?.length)
    reader.problem(list, "resourceList", "all entries are skipped, so no pool is left");
  const { problems, specs, skipped, entries } = reader;
  const fatal = problems.some(({ severity }) => severity === "error");
  return { specs: fatal ? null : specs, wellFormed: specs, problems: listed(inOrder(problems)), skipped, entries };
}

const rejected = (problems: readonly Problem[]): Loaded => ({
  specs: null,
  wellFormed: [],
  problems,
  skipped: [],
  entries: [],
});

const inOrder = (problems: readonly Problem[]) => problems.toSorted(inFileOrder);

/** As many problems as a person reads, those that reject the file first, and the number of the others. */
function listed(problems: readonly Problem[]): readonly Problem[] {
  const { max } = limits.problems;
  if (problems.length <= max) return problems;
  const severe = problems.toSorted((a, b) => rank[b.severity] - rank[a.severity]);
  const shown = inOrder(severe.slice(0, max));
  const [next] = severe.slice(max);
  return next ? [...shown, { ...next, path: "", message: `and ${problems.length - max} more problems` }] : shown;
}

const rank = { warning: 0, skip: 1, error: 2 } as const satisfies Record<Problem["severity"], number>;

/** Reads entries one after the other; what is unique over the file is remembered between them. */
class EntryReader {
  readonly problems: Problem[] = [];
  readonly specs: PoolSpec[] = [];
  readonly skipped: string[] = [];
  readonly entries: number[] = [];
  readonly #resources = new Map<string, string>();
  readonly #variables = new Map<string, string>();
  readonly #specFiles = new Map<string, string>();
  readonly #document: Document;
  readonly #options: LoadOptions;

  constructor(document: Document, options: LoadOptions) {
    this.#document = document;
    this.#options = options;
  }

  problem(node: Node, path: string, message: string, severity: Problem["severity"] = "error"): void {
    this.problems.push(this.#document.at(node, path, message, severity));
  }

  /** Reports keys of the file or of an entry that are unknown there, and duplicate keys. */
  reportUnknownKeys(fields: Fields, path: string, level: Exclude<KeyLevel, "selector">): void {
    const below = (key: string) => (path === "" ? key : `${path}.${key}`);
    for (const { key, node } of fields.unknown) {
      if (meaninglessKeys.has(key.toLowerCase())) continue;
      const elsewhere = misplaced(key, level);
      const hint = elsewhere ?? nearKeyHint(key, level);
      const effect = elsewhere === null ? "unknown key, ignored" : "ignored here";
      this.problem(
        node,
        below(key),
        `${effect}${hint === null ? "" : `; ${elsewhere === null ? "" : "it "}${hint}`}`,
        "warning",
      );
    }
    this.repeated(fields, below);
  }

  /** Reports duplicate keys. */
  repeated({ repeated }: Fields, pathOf: (key: string) => string): void {
    for (const { key, node } of repeated)
      this.problem(node, pathOf(key), "duplicate key; the last value is used", "warning");
  }

  entry(node: Node, index: number): void {
    const path = `resourceList[${index}]`;
    if (node.type !== "object") return this.problem(node, path, `expected an object, found ${node.type}`);
    const fields = fieldsOf(node, entryKeys);
    this.reportUnknownKeys(fields, path, "entry");
    const { selectors: selectorsNode, ...rest } = fields.values;
    // As the upstream plugin: an empty deviceType or resourcePrefix is the same as none.
    const given = Object.entries(rest).filter(([key, { value }]) => value !== "" || key === "resourceName");
    const plain = Object.fromEntries(given.map(([key, value]) => [key, valueOf(value)]));
    const parsed = v.safeParse(entrySchema, plain, { abortPipeEarly: true });
    for (const issue of parsed.issues ?? []) {
      const [first, ...deeper] = (issue.path ?? []).map(({ key }) => key as string | number);
      const name = String(first);
      this.issue(issue, deeper, fields.values[name] ?? null, node, `${path}.${name}`, "error");
    }
    const deviceType = parsed.success ? parsed.output.deviceType : typeIfKnown(plain["deviceType"]);
    const before = this.problems.length;
    const selectors = readSelectors(this, selectorsNode, { node, fields, path: `${path}.selectors`, deviceType });
    // Also of an entry that has other mistakes: none hides another.
    const name = v.safeParse(entryFields.resourceName, plain["resourceName"]);
    const ownPrefix = v.safeParse(entryFields.resourcePrefix, plain["resourcePrefix"]);
    if (!name.success || !ownPrefix.success) return;
    const prefix = ownPrefix.output ?? this.#options.resourcePrefix;
    const resource = resourceName({ prefix, name: name.output });
    if (this.#resources.size >= limits.pools.max) {
      this.problem(node, path, `too many entries: at most ${limits.pools.max} pools are served`, "skip");
    }
    this.#names(node, path, { prefix, name: name.output, deviceType }, resource);
    if (this.problems.slice(before).some(({ severity }) => severity === "skip")) {
      this.skipped.push(resource);
      return;
    }
    const isFlawed = this.problems.slice(before).some(({ severity }) => severity === "error");
    if (!parsed.success || isFlawed) return;
    const entry = parsed.output;
    this.entries.push(index);
    this.specs.push({
      resource,
      prefix,
      name: entry.resourceName,
      deviceType: entry.deviceType,
      excludeTopology: entry.excludeTopology,
      linkHealth: entry.linkHealth,
      iommufd: entry.iommufd,
      preferredAllocation: entry.preferredAllocation ?? null,
      selectors: selectors.map(({ selectorObject }) => selectorObject),
      ...ignoredIn(selectors),
      additionalInfo: entry.additionalInfo ?? null,
    });
  }

  /** Reports what valibot found at some steps below the value of a key; `node` is null when the key is not there. */
  issue(
    { input, message: why }: Pick<v.BaseIssue<unknown>, "input" | "message">,
    steps: readonly (string | number)[],
    node: Node | null,
    owner: Node,
    path: string,
    severity: Problem["severity"],
  ): void {
    const where = steps.reduce<string>(
      (so_far, step) => so_far + (typeof step === "number" ? `[${step}]` : `.${step}`),
      path,
    );
    // Values of additionalInfo may be secrets.
    const isShown = typeof input === "string" && !/^resourceList\[\d+\]\.additionalInfo/.test(where);
    const found = isShown ? `, found ${shown(input)}` : "";
    const hint = isShown && /^resourceList\[\d+\]\.deviceType$/.test(where) ? deviceTypeHint(input) : "";
    const message = input === undefined && node === null ? "missing" : `${why}${found}${hint}`;
    this.problem(node ? nodeAt(node, steps) : owner, where, message, severity);
  }

  /** Checks what concerns the whole name, and that it is unique. */
  #names(
    node: Node,
    path: string,
    { prefix, name, deviceType }: Pick<PoolSpec, "prefix" | "name"> & { readonly deviceType: DeviceTypeName | null },
    resource: string,
  ): void {
    const earlier = this.#resources.get(resource);
    if (earlier !== undefined) {
      this.problem(
        node,
        path,
        `duplicate resource ${resource}; first defined in ${earlier}; put all selectors into one entry`,
      );
      return;
    }
    this.#resources.set(resource, path);
    const socket = socketName({ prefix, name });
    const limit = this.#options.socketNameLimit;
    if (Buffer.byteLength(socket) > limit) {
      this.problem(node, path, `the socket's file name ${socket} is too long: at most ${limit} bytes fit`, "skip");
    }
    if (this.#options.useCdi && !/^[a-zA-Z]/.test(prefix)) {
      this.problem(node, path, `a CDI vendor must start with a letter, found resourcePrefix "${prefix}"`);
    }
    if (deviceType !== null) {
      const specFile = cdiFileName({ prefix, name, deviceType });
      const namesake = this.#specFiles.get(specFile);
      if (this.#options.useCdi && namesake !== undefined) {
        const message = `its CDI spec's file, ${specFile}, would also be ${namesake}'s; rename one`;
        this.problem(node, path, message);
      }
      this.#specFiles.set(specFile, resource);
    }
    const variable = idsVariable(resource);
    const twin = this.#variables.get(variable);
    if (twin !== undefined) {
      this.problem(node, path, `its environment variable ${variable} is also ${twin}'s`, "warning");
    }
    this.#variables.set(variable, resource);
  }
}

/** A text as JSON, its end cut off when it is long. */
const shown = (text: string): string =>
  text.length > 80 ? `${JSON.stringify(text.slice(0, 80))}…` : JSON.stringify(text);

/** The keys that were ignored, of the selector objects that have any. */
function ignoredIn(selectors: readonly { readonly ignored: readonly string[] }[]): Pick<PoolSpec, "ignoredKeys"> {
  return selectors.some(({ ignored }) => ignored.length > 0)
    ? { ignoredKeys: selectors.map(({ ignored }) => ignored) }
    : {};
}

const typeIfKnown = (value: unknown): DeviceTypeName | null =>
  value === undefined
    ? "netDevice"
    : typeof value === "string" && Object.hasOwn(deviceTypes, value)
      ? (value as DeviceTypeName)
      : null;
