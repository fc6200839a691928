import { expect, test } from "bun:test";
import { withoutSecrets } from "./redact.ts";

const shown = (value: unknown) => JSON.parse(withoutSecrets(JSON.stringify(value)) ?? "null") as unknown;

test("values of additionalInfo are blanked, whatever their case, form and depth; all else is shown", () => {
  expect(
    shown({
      resourceList: [
        {
          resourceName: "a",
          AdditionalInfo: { "*": { token: "s3cret", n: 7, deep: [{ x: "s3cret" }] } },
          selectors: [{ pfNames: ["ens1f0#0-3"], drivers: ["iavf"] }],
        },
      ],
    }),
  ).toEqual({
    resourceList: [
      {
        resourceName: "a",
        AdditionalInfo: { "*": { token: "REDACTED", n: "REDACTED", deep: [{ x: "REDACTED" }] } },
        selectors: [{ pfNames: ["ens1f0#0-3"], drivers: ["iavf"] }],
      },
    ],
  });
});

test.each<unknown>([
  { resourceList: [{ additionalInfos: { "*": { token: "s3cret" } } }] },
  { additionalInfo: "s3cret" },
  { resourceList: [{ selectors: [{ additionalInfo: { a: "s3cret" } }] }] },
  { resourceList: [{ additionalInfo: "s3cret" }] },
  { resourceList: { additionalInfo: ["s3cret"] } },
  { resourceList: [{ __proto__x: "s3cret", constructor: "s3cret" }] },
])("%j shows no secret", (value) => {
  expect(withoutSecrets(JSON.stringify(value))).not.toContain("s3cret");
});

test("comments are left out, and a text that can't be parsed is not shown at all", () => {
  expect(withoutSecrets('{"resourceList": [] /* s3cret */, // s3cret\n}')).toBe('{\n  "resourceList": []\n}\n');
  expect(withoutSecrets('{"resourceList": [{"additionalInfo": {"a": "s3cret"')).toBeNull();
  expect(withoutSecrets("")).toBeNull();
});
