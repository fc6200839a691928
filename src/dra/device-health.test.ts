import { describe, expect, test } from "bun:test";
import { aPool, context, vfs } from "../../test/support/published-slices.ts";
import { isPoolOfNode } from "../pools/dra-names.ts";
import { publishedHealth } from "./device-health.ts";
import { desiredSlices } from "./slices.ts";

const devices = vfs(3);
const down = "the link of its PF is down";

describe("the health of published devices", () => {
  test("has each under the names of its slice, with the reason", () => {
    const pool = aPool(devices, [devices[1]?.id ?? ""]);
    expect(publishedHealth([pool], context)).toEqual([
      { pool: "node-a/0000-3b-00.0", device: "0000-3b-02-0", unhealthy: null },
      { pool: "node-a/0000-3b-00.0", device: "0000-3b-02-1", unhealthy: down },
      { pool: "node-a/0000-3b-00.0", device: "0000-3b-02-2", unhealthy: null },
    ]);
  });

  test("has devices that are left out of the slices: pods may have them", () => {
    const pool = aPool(devices, [devices[1]?.id ?? ""]);
    const before = { ...context, hasTaints: false, heldElsewhere: new Set([devices[2]?.id ?? ""]) };
    expect(desiredSlices([pool], before).flatMap((slice) => slice.devices)).toHaveLength(1);
    expect(publishedHealth([pool], before).map(({ unhealthy }) => unhealthy)).toEqual([null, down, null]);
  });

  test("has no device where there is none", () => expect(publishedHealth([aPool([])], context)).toEqual([]));
});

describe("the pool of a slice", () => {
  test.each(["a", "node-a.example.com", "n".repeat(63), `${"n".repeat(160)}.${"m".repeat(92)}`])(
    "shows its node: %p",
    (name) => {
      const [slice] = desiredSlices([aPool(devices)], { ...context, node: { ...context.node, name } });
      expect(isPoolOfNode(slice?.pool ?? "", name)).toBe(true);
      expect(isPoolOfNode(slice?.pool ?? "", `x${name}`)).toBe(false);
    },
  );
});
