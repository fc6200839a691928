import { describe, expect, test } from "bun:test";
import { entry, list, load } from "../../test/support/load-config.ts";
import { limits } from "../limits.ts";

describe("hostile files", () => {
  const levels = [10, 100, 1000, 3000, 10_000, 30_000, 100_000];
  test.each(levels)("%d nested lists never throw", (depth) => {
    const deep = "[".repeat(depth) + "]".repeat(depth);
    for (const text of [
      deep,
      `{"resourceList":${deep}}`,
      `{"resourceList":[{"resourceName":"a","additionalInfo":${deep},"selectors":[{}]}]}`,
      `{"resourceList":[{"resourceName":"a","selectors":[{"vendors":${deep}}]}]}`,
      '{"a":'.repeat(depth) + "1" + "}".repeat(depth),
    ]) {
      expect(load(text).problems.length).toBeGreaterThan(0);
    }
  });

  test("what is nested more deeply than any config is rejected with its place, and what comes close is read", () => {
    const info = (depth: number) =>
      `{"resourceList":[{"resourceName":"a","selectors":[{}],"x":${"[".repeat(depth)}1${"]".repeat(depth)}}]}`;
    expect(load(info(limits.configDepth.max - 3)).specs).toHaveLength(1);
    expect(load(info(limits.configDepth.max - 2)).problems[0]).toMatchObject({
      line: 1,
      column: 88,
      severity: "error",
    });
  });

  test("a million tokens are rejected without building a tree of them, and few problems are listed of many", () => {
    expect(load("[".repeat(1) + ",".repeat(1 << 20)).problems).toHaveLength(1);
    const { specs, problems } = load(`{"resourceList":[${"{},".repeat(5000)}]}`);
    expect(specs).toBeNull();
    expect(problems).toHaveLength(limits.problems.max + 1);
    expect(problems.at(-1)?.message).toBe(`and ${2 * 5000 - limits.problems.max} more problems`);
  });

  test("warnings never push the error that refuses the file out of the list", () => {
    const { problems } = load(
      list(...Array.from({ length: 200 }, () => entry({ speed: 1 })), entry({ linkHealth: 1 })),
    );
    expect(problems.filter(({ severity }) => severity === "error").length).toBeGreaterThan(0);
  });

  test("pools beyond the limit are skipped, and the first ones run", () => {
    const many = Array.from({ length: limits.pools.max + 2 }, (_, index) => entry({ resourceName: `r${index}` }));
    const { specs, skipped } = load(list(...many));
    expect(specs).toHaveLength(limits.pools.max);
    expect(skipped).toEqual([limits.pools.max, limits.pools.max + 1].map((index) => `intel.com/r${index}`));
  });

  test("additionalInfo keeps keys that a JavaScript object has already", () => {
    const text = '{"*":{"__proto__":"a","constructor":"b","prototype":"c"},"__proto__":{"k":"v"}}';
    const { specs } = load(`{"resourceList":[{"resourceName":"a","selectors":[{}],"additionalInfo":${text}}]}`);
    expect(JSON.stringify(specs?.[0]?.additionalInfo)).toBe(text);
    expect(({} as { k?: string }).k).toBeUndefined();
  });

  test.each(["\uFEFF", "\uFEFF\n"])("a byte order mark before the text is passed over", (mark) => {
    expect(load(`${mark}{"resourceList":[]}`).specs).toEqual([]);
  });

  test("NUL and lone surrogates are not part of a name, and harm nothing in a value", () => {
    for (const escape of ["\\u0000", "\\ud800", "\\udfff", "../", "/", "..", "a\\nb"]) {
      const { specs } = load(`{"resourceList":[{"resourceName":"a${escape}","selectors":[{}]}]}`);
      expect(specs).toBeNull();
      expect(
        load(`{"resourceList":[{"resourceName":"a","resourcePrefix":"${escape}","selectors":[{}]}]}`).specs,
      ).toBeNull();
      const text = `{"resourceList":[{"resourceName":"a","selectors":[{"pfNames":["${escape}"]}],"additionalInfo":{"*":{"k":"${escape}"}}}]}`;
      expect(load(text).specs).toHaveLength(1);
    }
  });

  test("keys of Object's prototype are keys like any other", () => {
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(load(`{"resourceList":[{"resourceName":"a","selectors":[{"${key}":1}]}]}`).specs).toBeNull();
      expect(load(`{"${key}":1,"resourceList":[]}`).specs).toEqual([]);
      expect(load(`{"resourceList":[{"resourceName":"a","deviceType":"${key}","selectors":[{}]}]}`).specs).toBeNull();
      const text = `{"resourceList":[{"resourceName":"a","selectors":[{}],"additionalInfo":{"*":{"${key}":"x"}}}]}`;
      expect(load(text).specs).toHaveLength(1);
    }
  });

  test("random mutations of a valid file never throw", () => {
    const valid = JSON.stringify({
      resourceList: [
        entry({ additionalInfo: { "*": { a: "b" } }, excludeTopology: true, deviceType: "netDevice" }),
        entry({ resourceName: "b", selectors: { pfNames: ["ens1f0#0,2-7"], isRdma: true, vdpaType: "" } }),
        entry({
          resourceName: "c",
          deviceType: "auxNetDevice",
          selectors: [{ auxTypes: ["sf"], linkTypes: ["ether"] }],
        }),
      ],
    });
    let seed = 20_260_101;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed % below;
    };
    const pieces = ["null", "{}", "[]", '"', "\\", "1e999", "true", ",", ":", "\0", "\uD800", "/*", "//", "\n", '"x"'];
    for (let round = 0; round < 3000; round++) {
      let text = valid;
      for (let edits = 1 + random(4); edits > 0; edits--) {
        const at = random(text.length + 1);
        const piece = random(3) === 0 ? "" : (pieces[random(pieces.length)] ?? "");
        text = text.slice(0, at) + piece + text.slice(at + random(12));
      }
      const { specs, problems } = load(text);
      expect(specs !== null || problems.some(({ severity }) => severity === "error")).toBe(true);
      for (const problem of problems) expect(problem.line).toBeGreaterThan(0);
    }
  });
});
