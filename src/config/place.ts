// Where in the file is an entry, a selector object or one of its values?

import type { Node } from "jsonc-parser";
import { selectorNames } from "../pools/selectors.ts";
import { fieldsOf, parseDocument } from "./document.ts";
import type { Problem } from "./problem.ts";
import { entryKeys, fileKeys } from "./config-schema.ts";

/** A place in resourceList: an entry, one of its selector objects, and a value of a selector in that. */
export interface Place {
  readonly entry: number;
  readonly selectorObject?: number | undefined;
  readonly value?: { readonly selector: string; readonly index: number } | undefined;
}

/** Makes warnings about places of a file that was loaded. */
export function warnings(text: string): (place: Place, message: string) => Problem {
  const { root, at } = parseDocument(text);
  const field = (node: Node | undefined, known: readonly string[], name: string) =>
    node?.type === "object" ? fieldsOf(node, known).values[name] : undefined;
  return ({ entry, selectorObject, value }, message) => {
    const entryNode = field(root ?? undefined, fileKeys, "resourceList")?.children?.[entry];
    let path = `resourceList[${entry}]`;
    let node = entryNode;
    const selectors = field(entryNode, entryKeys, "selectors");
    if (selectorObject !== undefined) {
      const isList = selectors?.type === "array";
      path += isList ? `.selectors[${selectorObject}]` : ".selectors";
      node = isList ? selectors.children?.[selectorObject] : selectors;
    }
    if (value !== undefined) {
      path += `.${value.selector}[${value.index}]`;
      node = field(node, selectorNames, value.selector)?.children?.[value.index];
    }
    return at(node ?? entryNode, path, message, "warning");
  };
}
