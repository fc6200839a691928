// What the config file may contain, as a JSON Schema (draft 7) for editors and CI: from the tables that the loader uses.
// As the loader, it takes keys in any case, null for a field's default, and one selector object in place of a list.

import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { entryFields, meaninglessKeys } from "../../src/config/config-schema.ts";
import { type DeviceTypeName, deviceTypeNames, deviceTypes } from "../../src/pools/device-types.ts";
import { type Selector, type SelectorName, selectorNames, selectors } from "../../src/pools/selectors.ts";

type Schema = Readonly<Record<string, unknown>>;

const ref = (name: string): Schema => ({ $ref: `#/definitions/${name}` });

/** The form of a value as valibot's schema says it; what valibot can only check by code is left open. */
function form(schema: unknown): Schema {
  const patterns: string[] = [];
  const { $schema: _dialect, ...rest } = toJsonSchema(schema as v.GenericSchema, {
    errorMode: "ignore",
    typeMode: "input",
    overrideAction: ({ valibotAction }) => {
      if ("requirement" in valibotAction && valibotAction.requirement instanceof RegExp)
        patterns.push(valibotAction.requirement.source);
      return undefined;
    },
  }) as Schema;
  // A schema has one pattern; several are checked at one place.
  return patterns.length > 1 ? { ...rest, pattern: patterns.map((each) => `(?=${each})`).join("") } : rest;
}

/** Lets null and, for texts, "" stand for the default, as the loader does. */
function orDefault(schema: Schema, empty: boolean): Schema {
  const { type, enum: values, pattern, ...rest } = schema;
  return {
    ...rest,
    ...(type === undefined ? {} : { type: [type, "null"] }),
    ...(Array.isArray(values) ? { enum: [...new Set([...values, null, ...(empty ? [""] : [])])] } : {}),
    ...(typeof pattern === "string" ? { pattern: empty ? `^$|${pattern}` : pattern } : {}),
  };
}

/** Matches a key in any case. */
const anyCase = (key: string): string =>
  `^${key.replaceAll(/[a-z]/gi, (letter) => `[${letter.toUpperCase()}${letter.toLowerCase()}]`).replaceAll("$", "\\$")}$`;

/** Properties by their documented keys, which editors complete, and by all other spellings. */
const keys = (properties: Readonly<Record<string, Schema>>): Schema => ({
  properties,
  patternProperties: Object.fromEntries(
    Object.entries(properties).map(([key, schema]) => [`(?!^${key.replaceAll("$", "\\$")}$)${anyCase(key)}`, schema]),
  ),
});

/** Whether an object has a key, in any case. */
const has = (key: string): Schema => ({
  anyOf: [{ required: [key] }, { not: { propertyNames: { not: { pattern: anyCase(key) } } } }],
});

const additionalInfo: Schema = {
  type: "object",
  additionalProperties: { type: ["object", "null"], additionalProperties: { type: ["string", "null"] } },
};

/** One definition a field of an entry. */
const fields = Object.fromEntries(
  Object.entries(entryFields).map(([name, schema]) => {
    const inner = "wrapped" in schema ? schema.wrapped : schema;
    const described = { description: v.getDescription(inner), ...form(schema) };
    const given = name === "additionalInfo" ? { ...described, ...additionalInfo } : described;
    return [name, "wrapped" in schema ? orDefault(given, true) : given];
  }),
);

/** One definition a selector. */
const values = Object.fromEntries(
  selectorNames.map((name) => {
    const { schema, help, example, pattern } = selectors[name] as Selector<unknown>;
    const given = orDefault(form(schema), false);
    const items = pattern ? { items: { type: "string", pattern: pattern.source } } : {};
    return [name, { description: help, ...given, ...items, examples: [JSON.parse(example)] }];
  }),
);

function selectorsSchema(name: DeviceTypeName): Schema {
  const type = deviceTypes[name];
  const known: readonly SelectorName[] = [...type.selectors, ...type.ignoredSelectors];
  return {
    description: `Selectors of ${name}: all of one object must match`,
    type: "object",
    ...keys(Object.fromEntries(known.map((each) => [each, ref(each)]))),
    ...(type.requiredSelectors.length > 0 ? { allOf: type.requiredSelectors.map(has) } : {}),
    additionalProperties: false,
  };
}

const selectorsOf = (name: DeviceTypeName): Schema => ({
  description: "A selector object, or a list of them that are tried in order",
  anyOf: [ref(`${name}Selectors`), { type: "array", minItems: 1, items: ref(`${name}Selectors`) }],
});

const fallback = entryFields.deviceType.default;
const isOf = (name: DeviceTypeName): Schema => ({ ...keys({ deviceType: { const: name } }), ...has("deviceType") });
const others = deviceTypeNames.filter((name) => name !== fallback);

const entry: Schema = {
  description: "A pool: an extended resource, and the devices that it is made of",
  type: "object",
  ...keys({
    ...Object.fromEntries(Object.keys(fields).map((name) => [name, ref(name)])),
    selectors: {},
    ...Object.fromEntries([...meaninglessKeys].map((key) => [key, {}])),
  }),
  additionalProperties: false,
  allOf: [
    ...["resourceName", "selectors"].map(has),
    // "else" alone: the linter takes an object with a "then" for a promise.
    ...others.map((name) => ({ if: { not: isOf(name) }, else: keys({ selectors: selectorsOf(name) }) })),
    { if: { anyOf: others.map(isOf) }, else: keys({ selectors: selectorsOf(fallback) }) },
  ],
};

/** The whole schema. */
export const configSchema: Schema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "The config file of sriovdp",
  description: "Made from the tables in src/",
  type: "object",
  ...keys({
    $schema: { description: "Where this schema is", type: ["string", "null"] },
    resourceList: {
      description: "The pools; a device is in the first that selects it",
      type: ["array", "null"],
      items: ref("entry"),
    },
  }),
  additionalProperties: false,
  ...has("resourceList"),
  definitions: {
    entry,
    ...fields,
    ...Object.fromEntries(deviceTypeNames.map((name) => [`${name}Selectors`, selectorsSchema(name)])),
    ...values,
  },
};
