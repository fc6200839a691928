// Is a config what its JSON Schema says? The schema is made from the loader's tables (scripts/docs/write-docs.ts).

import { Ajv } from "ajv";
import schema from "../../docs/reference/config.schema.json" with { type: "json" };

// "allowUnionTypes": null means a default beside the field's own type.
const check = new Ajv({ allErrors: true, strict: true, strictRequired: false, allowUnionTypes: true }).compile(schema);

/** What the schema finds wrong with a config. */
export const configSchemaErrors = (config: unknown) => (check(config) ? [] : (check.errors ?? []));
