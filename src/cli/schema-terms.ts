// Of what are the schemas of commands' output made? Values, lists and objects, and what several commands print.

import { allocationEvidences } from "../pools/decide-allocations.ts";
import { deviceKinds } from "../pools/device-kind.ts";
import { deviceTypeNames } from "../pools/device-types.ts";

/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>;

export const text: Schema = { type: "string" };
export const flag: Schema = { type: "boolean" };
export const count: Schema = { type: "integer", minimum: 0 };
export const number: Schema = { type: "number" };
export const time: Schema = { type: "string", format: "date-time" };
export const oneOf = (...values: readonly string[]): Schema => ({ enum: values });
export const listOf = (items: Schema): Schema => ({ type: "array", items });
export const texts = listOf(text);

/** A value, or null where it does not apply. */
export function orNull(schema: Schema): Schema {
  if (typeof schema["type"] === "string") return { ...schema, type: [schema["type"], "null"] };
  return Array.isArray(schema["enum"])
    ? { ...schema, enum: [...schema["enum"], null] }
    : { anyOf: [schema, { type: "null" }] };
}

/** An object all of whose fields are always there; each with what it means. Further ones may come in any release. */
export const object = (
  fields: Readonly<Record<string, readonly [Schema, string]>>,
  optional: readonly string[] = [],
): Schema => ({
  type: "object",
  properties: Object.fromEntries(
    Object.entries(fields).map(([name, [schema, description]]) => [name, { ...schema, description }]),
  ),
  required: Object.keys(fields).filter((name) => !optional.includes(name)),
});

export const kind = oneOf(...deviceKinds);
export const health = oneOf("Healthy", "Unhealthy");
export const deviceType = oneOf(...deviceTypeNames);

export const allocation = object({
  resource: [text, "the resource that the pod requested"],
  pod: [text, "`NAMESPACE/POD`; the pod's UID while only that is known; empty while the pod is being admitted"],
  container: [text, "the container; may be empty as `pod`"],
  evidence: [oneOf(...allocationEvidences), "what shows it"],
});

export const problem = object({
  severity: [oneOf("error", "skip", "warning"), "`error` (the file is rejected), `skip` (the entry is) or `warning`"],
  path: [text, "as `resourceList[2].selectors[0].vendors`; empty for the file as a whole"],
  message: [text, "a sentence"],
  line: [orNull({ type: "integer", minimum: 1 }), "in the file; null if it concerns no particular place"],
  column: [orNull({ type: "integer", minimum: 1 }), "in the line"],
});
