import { expect, test } from "bun:test";
import { warnings } from "./place.ts";

const text = `{
  "ResourceList": [
    {"resourceName": "a", "selectors": {"PFNames": ["x", "y"]}},
    {"resourceName": "b", "Selectors": [{}, {"rootDevices": ["z"]}]}
  ]
}`;
const warn = warnings(text);

test.each([
  [{ entry: 0 }, "resourceList[0]", 3, 5],
  [{ entry: 0, selectorObject: 0 }, "resourceList[0].selectors", 3, 40],
  [
    { entry: 0, selectorObject: 0, value: { selector: "pfNames", index: 1 } },
    "resourceList[0].selectors.pfNames[1]",
    3,
    58,
  ],
  [{ entry: 1, selectorObject: 1 }, "resourceList[1].selectors[1]", 4, 45],
  [
    { entry: 1, selectorObject: 1, value: { selector: "rootDevices", index: 0 } },
    ...(["resourceList[1].selectors[1].rootDevices[0]", 4, 62] as const),
  ],
])("%j is found whatever case its keys are in", (place, path, line, column) => {
  expect(warn(place, "doubtful")).toEqual({ severity: "warning", path, message: "doubtful", line, column });
});
