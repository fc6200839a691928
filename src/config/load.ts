// What does the operator want? From the text of the config file to pool specs, with every problem found at once.
// The compatibility rule: what the reference runs with, runs, with a warning where it is doubtful; what it refuses,
// crashes on or silently gets wrong is refused or done right.

import type { Node } from "jsonc-parser";
import * as v from "valibot";
import { type DeviceTypeName, deviceTypes } from "../pools/device-types.ts";
import { limits } from "../limits.ts";
import type { PoolSpec } from "../pools/pool.ts";
import { type Selector, type SelectorName, selectorNames, selectors, type Wanted } from "../pools/selectors.ts";
import { type Document, type Fields, fieldsOf, nodeAt, parseDocument, valueOf } from "./document.ts";
import type { Problem } from "./problem.ts";
import { entryKeys, entrySchema, fileKeys, meaninglessKeys, resourcePrefixSchema, wantedSchema } from "./schema.ts";

/** What the command line says about all entries. */
export interface LoadOptions {
  readonly resourcePrefix: string;
  readonly useCdi: boolean;
  /** The longest socket file name that the kubelet's directories leave room for, in bytes. */
  readonly socketNameLimit: number;
}

/** The outcome of loading a file: specs is null when the file is refused. */
export interface Loaded {
  readonly specs: readonly PoolSpec[] | null;
  readonly problems: readonly Problem[];
  /** Full names of entries that were skipped. */
  readonly skipped: readonly string[];
  /** For each spec the index of its entry in resourceList. */
  readonly entries: readonly number[];
}

/** Reads the text of a config file into pool specs; never throws for what the operator wrote. */
export function loadConfig(text: string, options: LoadOptions): Loaded {
  const document = parseDocument(text);
  const root = document.root;
  if (document.syntaxErrors.length > 0) return refused(listed(document.syntaxErrors));
  if (!root)
    return refused([
      document.at(undefined, "", 'not JSON: the file is empty; for no pools write {"resourceList": []}'),
    ]);
  if (root.type === "null") return { specs: [], problems: [], skipped: [], entries: [] };
  if (root.type !== "object") {
    return refused([document.at(root, "", `expected an object {"resourceList": […]}, found ${root.type}`)]);
  }
  const reader = new EntryReader(document, options);
  const prefix = v.safeParse(resourcePrefixSchema, options.resourcePrefix);
  if (!prefix.success) {
    const [issue] = prefix.issues;
    reader.problem(root, "", `--resource-prefix=${options.resourcePrefix}: ${issue.message}`);
  }
  const file = fieldsOf(root, fileKeys);
  reader.strangers(file, "", "warning");
  const list = file.values["resourceList"];
  if (!list && (file.unknown.length > 0 || file.values["$schema"])) {
    reader.problem(
      root,
      "resourceList",
      'missing, though there are other keys; for no pools write {"resourceList": []}',
    );
  }
  if (list && list.type !== "array") reader.problem(list, "resourceList", `expected a list, found ${list.type}`);
  else for (const [index, entry] of (list?.children ?? []).entries()) reader.entry(entry, index);
  const { problems, specs, skipped, entries } = reader;
  const fatal = problems.some(({ severity }) => severity === "error");
  return { specs: fatal ? null : specs, problems: listed(inOrder(problems)), skipped, entries };
}

const refused = (problems: readonly Problem[]): Loaded => ({ specs: null, problems, skipped: [], entries: [] });

const inOrder = (problems: readonly Problem[]) => problems.toSorted((a, b) => a.line - b.line || a.column - b.column);

/** So many problems that somebody may read them, those that refuse the file first, and the number of the others. */
function listed(problems: readonly Problem[]): readonly Problem[] {
  const { most } = limits.problems;
  if (problems.length <= most) return problems;
  const severe = problems.toSorted((a, b) => rank[b.severity] - rank[a.severity]);
  const shown = inOrder(severe.slice(0, most));
  const [next] = severe.slice(most);
  return next ? [...shown, { ...next, path: "", message: `and ${problems.length - most} more problems` }] : shown;
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

  /** Reports keys that nothing knows and keys that stand twice. */
  strangers(fields: Fields, path: string, severity: Problem["severity"]): void {
    const below = (key: string) => (path === "" ? key : `${path}.${key}`);
    for (const { key, node, meant } of fields.unknown) {
      if (meaninglessKeys.has(key.toLowerCase())) continue;
      const hint = meant === null ? "" : `; did you mean "${meant}"?`;
      const effect = severity === "warning" ? "unknown key, ignored" : "unknown selector: it would select everything";
      this.problem(node, below(key), `${effect}${hint}`, severity);
    }
    for (const { key, node } of fields.repeated) {
      this.problem(node, below(key), "given twice; the last one counts", "warning");
    }
  }

  entry(node: Node, index: number): void {
    const path = `resourceList[${index}]`;
    if (node.type !== "object") return this.problem(node, path, `expected an object, found ${node.type}`);
    const fields = fieldsOf(node, entryKeys);
    this.strangers(fields, path, "warning");
    const { selectors: selectorsNode, ...rest } = fields.values;
    // As the reference: an empty deviceType or resourcePrefix is the same as none.
    const given = Object.entries(rest).filter(([key, { value }]) => value !== "" || key === "resourceName");
    const plain = Object.fromEntries(given.map(([key, value]) => [key, valueOf(value)]));
    const parsed = v.safeParse(entrySchema, plain, { abortPipeEarly: true });
    if (!parsed.success) {
      for (const issue of parsed.issues) this.#issue(issue, node, fields, path, "error");
    }
    const deviceType = parsed.success ? parsed.output.deviceType : typeIfKnown(plain["deviceType"]);
    const before = this.problems.length;
    const wishes = this.#selectors(selectorsNode, node, `${path}.selectors`, deviceType);
    if (!parsed.success) return;
    const entry = parsed.output;
    const prefix = entry.resourcePrefix ?? this.#options.resourcePrefix;
    const resource = `${prefix}/${entry.resourceName}`;
    if (this.#resources.size >= limits.pools.most) {
      this.problem(node, path, `too many entries: at most ${limits.pools.most} pools are served`, "skip");
    }
    this.#names(node, path, { prefix, name: entry.resourceName, deviceType: entry.deviceType }, resource);
    if (this.problems.slice(before).some(({ severity }) => severity === "skip")) {
      this.skipped.push(resource);
      return;
    }
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
      selectors: wishes,
      additionalInfo: entry.additionalInfo ?? null,
    });
  }

  #issue(issue: v.BaseIssue<unknown>, node: Node, fields: Fields, path: string, severity: Problem["severity"]): void {
    const steps = (issue.path ?? []).map(({ key }) => key as string | number);
    const [first, ...deeper] = steps;
    const field = typeof first === "string" ? fields.values[first] : undefined;
    const where = steps.reduce<string>(
      (so_far, step) => so_far + (typeof step === "number" ? `[${step}]` : `.${step}`),
      path,
    );
    const missing = issue.input === undefined && !field;
    const [topLevel] = steps;
    const allowed =
      (topLevel === "deviceType" || topLevel === "preferredAllocation") && typeof issue.input === "string"
        ? `, found ${JSON.stringify(issue.input)}`
        : "";
    this.problem(
      field ? nodeAt(field, deeper) : node,
      where,
      missing ? "missing" : `${issue.message}${allowed}`,
      severity,
    );
  }

  /** Checks what concerns the whole name, and that it is unique. */
  #names(
    node: Node,
    path: string,
    { prefix, name, deviceType }: Pick<PoolSpec, "prefix" | "name" | "deviceType">,
    resource: string,
  ): void {
    const earlier = this.#resources.get(resource);
    if (earlier !== undefined) {
      this.problem(node, path, `${resource} stands twice, first in ${earlier}; put all selectors into one entry`);
      return;
    }
    this.#resources.set(resource, path);
    const socketName = `${prefix}_${name}.sock`;
    const limit = this.#options.socketNameLimit;
    if (Buffer.byteLength(socketName) > limit) {
      this.problem(node, path, `the socket's file name ${socketName} is too long: at most ${limit} bytes fit`, "skip");
    }
    if (this.#options.useCdi && !/^[a-zA-Z]/.test(prefix)) {
      this.problem(node, path, `a CDI vendor must start with a letter, found resourcePrefix "${prefix}"`);
    }
    const specFile = `${prefix}-${deviceTypes[deviceType].cdiClass}-${name}`;
    const namesake = this.#specFiles.get(specFile);
    if (this.#options.useCdi && namesake !== undefined) {
      this.problem(
        node,
        path,
        `its CDI spec's file, sriov-dp-${specFile}.yaml, would also be ${namesake}'s; rename one`,
      );
    }
    this.#specFiles.set(specFile, resource);
    const variable = resource.toUpperCase().replaceAll(/[./]/g, "_");
    const twin = this.#variables.get(variable);
    if (twin !== undefined) {
      this.problem(node, path, `its environment variable PCIDEVICE_${variable} is also ${twin}'s`, "warning");
    }
    this.#variables.set(variable, resource);
  }

  /** Reads selectors: one object or a list of objects. */
  #selectors(node: Node | undefined, entry: Node, path: string, deviceType: DeviceTypeName | null): Wanted[] {
    if (!node) {
      this.problem(entry, path, 'missing; for every device of this type write "selectors": [{}]');
      return [];
    }
    if (node.type === "object") return this.#wanted(node, path, deviceType);
    if (node.type !== "array") {
      this.problem(node, path, `expected an object or a list of objects, found ${node.type}`, "skip");
      return [];
    }
    const items = node.children ?? [];
    if (items.length === 0) {
      this.problem(node, path, 'empty; for every device of this type write "selectors": [{}]', "skip");
    }
    return items.flatMap((item, index) => {
      const here = `${path}[${index}]`;
      if (item.type === "object") return this.#wanted(item, here, deviceType);
      const severity = item.type === "null" ? "error" : "skip";
      this.problem(item, here, `expected an object, found ${item.type}`, severity);
      return [];
    });
  }

  #wanted(node: Node, path: string, deviceType: DeviceTypeName | null): Wanted[] {
    const fields = fieldsOf(node, selectorNames);
    this.strangers(fields, path, "error");
    if (deviceType === null) return [];
    const type = deviceTypes[deviceType];
    const applicable: readonly SelectorName[] = [...type.selectors, ...type.ignoredSelectors];
    for (const [name, value] of Object.entries(fields.values)) {
      if (!applicable.includes(name as SelectorName)) {
        this.problem(value, `${path}.${name}`, `not a selector of ${deviceType}; it would select everything`);
      } else if ((type.ignoredSelectors as readonly string[]).includes(name)) {
        this.problem(value, `${path}.${name}`, `has no effect for ${deviceType}`, "warning");
      }
    }
    const plain = Object.fromEntries(Object.entries(fields.values).map(([key, value]) => [key, valueOf(value)]));
    for (const name of type.requiredSelectors) {
      const value = plain[name];
      if (!Array.isArray(value) || value.length === 0)
        this.problem(node, `${path}.${name}`, `missing for ${deviceType}; write ${selectors[name].example}`);
    }
    const parsed = v.safeParse(wantedSchema(deviceType), plain, { abortPipeEarly: true });
    if (!parsed.success) {
      for (const issue of parsed.issues) this.#issue(issue, node, fields, path, "skip");
      return [];
    }
    const wanted = Object.fromEntries(
      Object.entries(parsed.output).filter(([name]) => (type.selectors as readonly string[]).includes(name)),
    ) as Wanted;
    if (wanted.isRdma === true && (wanted.vdpaType ?? "") !== "") {
      this.problem(node, path, "isRdma and vdpaType can't be combined: put them into entries of their own");
    }
    for (const [name, value] of Object.entries(wanted)) {
      const { doubts } = selectors[name as SelectorName] as Selector<unknown>;
      for (const doubt of doubts?.(value) ?? []) {
        this.problem(fields.values[name] ?? node, `${path}.${name}`, doubt, "warning");
      }
    }
    return [wanted];
  }
}

const typeIfKnown = (value: unknown): DeviceTypeName | null =>
  value === undefined
    ? "netDevice"
    : typeof value === "string" && Object.hasOwn(deviceTypes, value)
      ? (value as DeviceTypeName)
      : null;
