// What do commands print as JSON? A JSON Schema (draft 7) a command: `sriovdp schema COMMAND` prints it, the documentation's tables are made of
// it, and the tests hold what the commands print against it.

import type { schemaNames } from "./command-table.ts";
import { discoveredSchema } from "./discover-schema.ts";
import { explainedSchema } from "./explain-schema.ts";
import { statusSchema } from "./status-schema.ts";
import { type Schema, count, deviceType, flag, listOf, object, orNull, problem, text } from "./schema-terms.ts";

const validated = object({
  valid: [flag, "whether the plugin would use all configs with all their entries; warnings do not count"],
  node: [orNull(text), "the node that they were checked against: `this node`, or the file of `--node`"],
  configs: [
    listOf(
      object({
        file: [text, "the file's name, or `standard input`"],
        configMap: [orNull(text), "`NAMESPACE/NAME` of the ConfigMap in the file"],
        key: [orNull(text), "the key of the ConfigMap"],
        valid: [flag, "whether the plugin would use it with all its entries"],
        pools: [
          listOf(
            object({
              resource: [text, "each entry; empty if the config is rejected"],
              deviceType: [deviceType, "its device type"],
              devices: [orNull(count), "how many devices it would have on the node"],
            }),
          ),
          "its pools",
        ],
        problems: [listOf(problem), "its errors and warnings"],
      }),
    ),
    "each config that was found",
  ],
});

const reported = object({
  files: [
    listOf(
      object({
        name: [text, "the file in the archive"],
        bytes: [count, "its size"],
        content: [text, "a description of its content"],
        text: [text, "its content, as it would be sent"],
      }),
    ),
    "what the archive holds",
  ],
  missing: [
    listOf(object({ name: [text, "a file"], reason: [text, "why it is not there"] })),
    "what could not be collected",
  ],
});

const titled = (title: string, schema: Schema): Schema => ({
  $schema: "http://json-schema.org/draft-07/schema#",
  title,
  ...schema,
});

/** The schema of what each command prints with -o json. */
export const outputSchemas = {
  discover: titled("sriovdp discover -o json", listOf(discoveredSchema)),
  explain: titled("sriovdp explain -o json", explainedSchema),
  report: titled("sriovdp report --check -o json", reported),
  status: titled("sriovdp status -o json", statusSchema),
  validate: titled("sriovdp validate -o json", validated),
} as const satisfies Record<Exclude<(typeof schemaNames)[number], "config">, Schema>;
