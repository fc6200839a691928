// What does `explain -o json` print? A JSON Schema.

import {
  allocation,
  count,
  deviceType,
  flag,
  health,
  kind,
  listOf,
  object,
  oneOf,
  orNull,
  text,
  texts,
} from "./schema-terms.ts";

/** The results for a device and a pool, in the words of the text. */
export const outcomes = [
  "selected",
  "retained",
  "not selected",
  "excluded",
  "claimed earlier",
  "withheld",
  "other type",
] as const;
export type Outcome = (typeof outcomes)[number];

const failedTest = {
  index: [count, "the selector object"],
  selector: [text, "the selector"],
  expected: [texts, "the expected values"],
  found: [texts, "the values that the devices have"],
} as const;

/** Devices and resources, explained. */
export const explainedSchema = object({
  source: [oneOf("plugin", "scan"), "the source of the answer: the running plugin, or a scan by the command"],
  devices: [
    listOf(
      object({
        id: [text, "the device"],
        kind: [kind, "as in discover"],
        pool: [orNull(text), "the resource that it belongs to"],
        health: [orNull(health), "as in discover"],
        unhealthyReason: [orNull(text), "as in discover"],
        allocation: [orNull(allocation), "as in discover"],
        withheld: [flag, "as in discover"],
        excluded: [texts, "as in discover"],
        linkRule: [
          orNull(text),
          "a sentence: the rule that applies to its link; null if that is simply a port that is up, or if the link makes the device Unhealthy",
        ],
        verdicts: [
          listOf(
            object({
              resource: [text, "each pool, in the order of the file"],
              outcome: [oneOf(...outcomes), "the result for this pool"],
              reasons: [texts, "sentences"],
              claimedBy: [orNull(text), "the other pool that claimed it"],
              selector: [orNull(count), "the index of the selector object that selected it"],
              trials: [
                listOf(
                  object({
                    index: [count, "each selector object"],
                    passes: [flag, "whether all its tests pass"],
                    tests: [
                      listOf(
                        object({
                          selector: [text, "the selector"],
                          expected: [texts, "the expected values"],
                          found: [text, "the value that was found; `none` for no value"],
                          passes: [flag, "whether it passes"],
                        }),
                      ),
                      "one a selector",
                    ],
                  }),
                ),
                "empty if the device has another type",
              ],
            }),
          ),
          "the result for each pool",
        ],
      }),
    ),
    "the devices that were named",
  ],
  resources: [
    listOf(
      object({
        resource: [text, "the pool"],
        deviceType: [deviceType, "its device type"],
        selectors: [
          listOf({ type: "object", additionalProperties: texts }),
          "its selector objects: names, each with the list of its values",
        ],
        devices: [
          listOf(
            object({
              id: [text, "each of its devices"],
              selector: [orNull(count), "the index of the selector object that selected it; null when it is retained"],
              health: [health, "as in discover"],
              unhealthyReason: [orNull(text), "as in discover"],
              allocation: [orNull(allocation), "as in discover"],
            }),
          ),
          "its devices",
        ],
        claimedEarlier: [
          listOf(object({ id: [text, "a device that it selects too"], claimedBy: [text, "the pool that has it"] })),
          "devices that an earlier pool claimed, or that another pool retains",
        ],
        withheld: [
          listOf(
            object({
              id: [text, "a device that it selects"],
              resource: [text, "the resource from which a pod got it"],
              pod: [text, "the pod"],
              nextPool: [orNull(text), "the pool that it moves to when the pod ends"],
            }),
          ),
          "devices that are in no pool until their pods end",
        ],
        excluded: [
          listOf(object({ reasons: [texts, "sentences"], devices: [texts, "their ids"] })),
          "excluded devices of its type",
        ],
        notSelected: [
          listOf(
            object({
              failed: [listOf(object(failedTest)), "the selectors that failed"],
              devices: [texts, "ids of devices that fail the same selectors"],
            }),
          ),
          "devices of its type that its selectors do not select",
        ],
        ofOtherTypes: [count, "the number of devices of other types"],
      }),
    ),
    "the resources that were named; all of them if none was",
  ],
});
