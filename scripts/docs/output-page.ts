// What does docs/reference/output.md say of each field that a command prints as JSON? Tables of the schemas, kept between marks.

import { outputSchemas } from "../../src/cli/output-schemas.ts";
import type { Schema } from "../../src/cli/schema-terms.ts";
import { table, withMade } from "./marked.ts";

interface Field extends Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly items?: Field;
  readonly anyOf?: readonly Field[];
}

/** The fields below a schema by their paths, "pools[].resource", with what they mean. */
function rowsOf({ properties, items, anyOf }: Field, path: string): string[][] {
  if (anyOf) return anyOf.flatMap((each) => rowsOf(each, path));
  if (items) return rowsOf(items, path === "" ? "" : `${path}[]`);
  return Object.entries(properties ?? {}).flatMap(([name, field]) => {
    const here = path === "" ? name : `${path}.${name}`;
    return [[`\`${here}\``, valuesOf(field), (field.description ?? "").replaceAll("|", "\\|")], ...rowsOf(field, here)];
  });
}

/** What a field may hold, in a few words. */
function valuesOf(field: Field): string {
  const { type, items, anyOf } = field;
  const values = field["enum"] as readonly (string | null)[] | undefined;
  if (values) return values.map((value) => (value === null ? "null" : `\`${value}\``)).join(", ");
  if (anyOf) return anyOf.map(valuesOf).join(" or ");
  const types = (Array.isArray(type) ? (type as string[]) : [String(type)]).map((each) => names[each] ?? each);
  const known = field["format"] === "date-time" ? types.map((each) => (each === "text" ? "time" : each)) : types;
  return items && known[0] === "list"
    ? ["list of", plural(valuesOf(items)), ...known.slice(1).map((each) => `or ${each}`)].join(" ")
    : known.join(" or ");
}

const names: Readonly<Record<string, string>> = {
  string: "text",
  array: "list",
  boolean: "true or false",
  integer: "number",
};

const plural = (text: string): string =>
  text === "text" || text === "object" || text === "number" ? `${text}s` : text;

/** The page with its tables as they are now. */
export const outputPage = (before: string): string =>
  withMade(
    before,
    Object.fromEntries(
      Object.entries(outputSchemas).map(([name, schema]) => [
        `fields of ${name}`,
        table(["field", "value", "meaning"], rowsOf(schema as Field, "")),
      ]),
    ),
  );

/** The files of the schemas. */
export const schemaFiles: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(outputSchemas).map(([name, schema]) => [
    `docs/reference/schemas/${name}.schema.json`,
    `${JSON.stringify(schema, null, 2)}\n`,
  ]),
);
