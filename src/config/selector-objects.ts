// Which devices does an entry select? From the text of its "selectors" to selector objects. A key that the upstream plugin
// ignores is ignored as long as another one restricts the object; without one the object would select every device.

import type { Node } from "jsonc-parser";
import * as v from "valibot";
import { type DeviceTypeName, deviceTypes } from "../pools/device-types.ts";
import {
  isRestricted,
  type Selector,
  type SelectorName,
  selectorNames,
  selectors,
  type SelectorObject,
} from "../pools/selectors.ts";
import { type Fields, fieldsOf, valueOf } from "./document.ts";
import { misplaced, nearKeyHint, ofOtherTypes } from "./keys.ts";
import type { Problem } from "./problem.ts";
import { meaninglessKeys } from "./config-schema.ts";

/** Who collects the problems. */
export interface Reporter {
  readonly problem: (node: Node, path: string, message: string, severity?: Problem["severity"]) => void;
  readonly repeated: (fields: Fields, pathOf: (key: string) => string) => void;
  readonly issue: (
    issue: Pick<v.BaseIssue<unknown>, "input" | "message">,
    steps: readonly (string | number)[],
    node: Node | null,
    owner: Node,
    path: string,
    severity: Problem["severity"],
  ) => void;
}

/** The entry that the selectors are of; deviceType is null when the file names one that is not known. */
export interface Owner {
  readonly node: Node;
  readonly fields: Fields;
  /** The path of its selectors. */
  readonly path: string;
  readonly deviceType: DeviceTypeName | null;
}

/** A selector object, and its keys that were ignored. */
export interface ReadSelectors {
  readonly selectorObject: SelectorObject;
  readonly ignored: readonly string[];
}

const example = '{"vendors": ["8086"], "drivers": ["iavf"]}';

/** Reads selectors: one object or a list of objects. */
export function readSelectors(to: Reporter, node: Node | undefined, owner: Owner): ReadSelectors[] {
  const { path, fields } = owner;
  if (!node) {
    const outside = fields.unknown.map(({ key }) => key).filter((key) => isSelector(key));
    const advice =
      outside.length > 0
        ? `${outside.map((key) => JSON.stringify(key)).join(", ")} belongs inside "selectors"`
        : `write which devices the pool gets, as in "selectors": ${example}`;
    to.problem(owner.node, path, `missing; ${advice}`);
    return [];
  }
  if (node.type === "object") return readObject(to, node, path, owner.deviceType);
  if (node.type !== "array") {
    to.problem(node, path, `expected an object or a list of objects, found ${node.type}`, "skip");
    return [];
  }
  const items = node.children ?? [];
  if (items.length === 0)
    to.problem(node, path, `empty; write which devices the pool gets, as in [${example}]`, "skip");
  return items.flatMap((item, index) => {
    const here = `${path}[${index}]`;
    if (item.type === "object") return readObject(to, item, here, owner.deviceType);
    to.problem(item, here, `expected an object, found ${item.type}`, item.type === "null" ? "error" : "skip");
    return [];
  });
}

const isSelector = (key: string) => selectorNames.some((name) => name.toLowerCase() === key.toLowerCase());

function readObject(to: Reporter, node: Node, path: string, deviceType: DeviceTypeName | null): ReadSelectors[] {
  const fields = fieldsOf(node, selectorNames);
  const plain = Object.fromEntries(Object.entries(fields.values).map(([key, value]) => [key, valueOf(value)]));
  const type = deviceType === null ? null : deviceTypes[deviceType];
  const has: readonly SelectorName[] = type?.selectors ?? selectorNames;
  const ignored = reportStrayKeys(to, fields, plain, { path, deviceType, has });
  to.repeated(fields, (key) => `${path}.${key}`);
  for (const name of type?.requiredSelectors ?? []) {
    const value = plain[name];
    if (value === undefined || (Array.isArray(value) && value.length === 0))
      to.problem(node, `${path}.${name}`, `missing for ${deviceType}; write ${selectors[name].example}`);
  }
  const selectorObject: Record<string, unknown> = {};
  let isWhole = true;
  // One by one, so that no mistake hides another, nor a warning.
  for (const [name, value] of Object.entries(plain)) {
    if (![...has, ...(type?.ignoredSelectors ?? [])].includes(name as SelectorName)) continue;
    const { schema, warnings } = selectors[name as SelectorName] as Selector<unknown>;
    const valueNode = fields.values[name] ?? node;
    const parsed = v.safeParse(schema, value);
    for (const issue of parsed.issues ?? []) {
      const steps = (issue.path ?? []).map(({ key }) => key as string | number);
      to.issue(issue, steps, valueNode, node, `${path}.${name}`, "skip");
    }
    isWhole &&= parsed.success;
    if (!parsed.success || !has.includes(name as SelectorName)) continue;
    selectorObject[name] = parsed.output;
    for (const message of warnings?.(parsed.output) ?? []) to.problem(valueNode, `${path}.${name}`, message, "warning");
  }
  if (selectorObject["isRdma"] === true && (selectorObject["vdpaType"] ?? "") !== "")
    to.problem(node, path, "isRdma and vdpaType can't be combined: put them into entries of their own");
  return isWhole ? [{ selectorObject: selectorObject as SelectorObject, ignored }] : [];
}

/** Reports keys that devices of this type don't have; returns those that are ignored. */
function reportStrayKeys(
  to: Reporter,
  fields: Fields,
  plain: Readonly<Record<string, unknown>>,
  {
    path,
    deviceType,
    has,
  }: { readonly path: string; readonly deviceType: DeviceTypeName | null; readonly has: readonly SelectorName[] },
): string[] {
  const ignored: string[] = [];
  const isSafe = isRestricted(plain, has);
  const report = (key: string, node: Node, why: string) => {
    if (isSafe) ignored.push(key);
    const effect = isSafe
      ? "ignored"
      : `without a selector beside it that restricts the object, every ${deviceType ?? "device"} would be selected`;
    to.problem(node, `${path}.${key}`, `${why}: ${effect}`, isSafe ? "warning" : "error");
  };
  for (const { key, node } of fields.unknown) {
    if (meaninglessKeys.has(key.toLowerCase())) continue;
    const near = nearKeyHint(key, "selector");
    const elsewhere = misplaced(key, "selector");
    if (near !== null) to.problem(node, `${path}.${key}`, `unknown selector; ${near}`);
    else report(key, node, elsewhere === null ? "no selector has this name" : `it ${elsewhere}`);
  }
  if (deviceType === null) return ignored;
  for (const [name, node] of Object.entries(fields.values)) {
    if (has.includes(name as SelectorName)) continue;
    const isIgnoredSelector = (deviceTypes[deviceType].ignoredSelectors as readonly string[]).includes(name);
    if (isIgnoredSelector) to.problem(node, `${path}.${name}`, `has no effect for ${deviceType}`, "warning");
    else if (isEmpty(plain[name]))
      to.problem(node, `${path}.${name}`, `${ofOtherTypes(name as SelectorName, deviceType)}: ignored`, "warning");
    else report(name, node, ofOtherTypes(name as SelectorName, deviceType));
  }
  return ignored;
}

/** Whether a selector's value selects nothing in any type that has it. */
const isEmpty = (value: unknown): boolean =>
  value === false || value === "" || (Array.isArray(value) && value.length === 0);
