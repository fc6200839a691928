import { describe, expect, test } from "bun:test";
import { parse } from "yaml";
import type { Options } from "./options.ts";
import { isAsciiOnly, print, takesColor } from "./output.ts";

test.each([
  ["a terminal", true, { TERM: "xterm" }, true],
  ["a terminal that doesn't name its type", true, {}, true],
  ["a terminal with an empty NO_COLOR", true, { NO_COLOR: "" }, true],
  ["a terminal with NO_COLOR", true, { NO_COLOR: "1" }, false],
  ["a dumb terminal", true, { TERM: "dumb" }, false],
  ["a file or a pipe", false, { TERM: "xterm" }, false],
])("on %s", (_, isTerminal, environment, color) => {
  expect(takesColor(isTerminal, environment)).toBe(color);
});

test.each([
  [{}, true],
  [{ LANG: "C" }, true],
  [{ LANG: "en_US.UTF-8" }, false],
  [{ LANG: "en_US.UTF-8", LC_ALL: "C" }, true],
  [{ LANG: "POSIX", LC_CTYPE: "C.utf8", LC_ALL: "" }, false],
])("with %j other characters than ASCII are escaped: %p", (environment, isAscii) => {
  expect(isAsciiOnly(environment)).toBe(isAscii);
});

describe("what a command found", () => {
  const shared = ["x"];
  const data = { id: "0000:03:02.1", none: null, a: shared, b: shared, octal: "010", yes: "y", control: "\u009b2J" };
  const printed = async (format: Options["output"]) => {
    const parts: string[] = [];
    const output = {
      out: (text: string) => void parts.push(text),
      err: () => {},
      bytes: () => {},
      color: false,
      columns: null,
    };
    await print(output, format, data, () => "for a person\n");
    return parts.join("");
  };

  test("is printed for a person", async () => expect(await printed("table")).toBe("for a person\n"));
  test("is printed as JSON", async () => {
    const text = await printed("json");
    expect(JSON.parse(text)).toEqual(data);
    expect(text).toStartWith('{\n  "id": "0000:03:02.1",\n');
    expect(text).not.toContain("\u009b");
  });
  test("is printed as YAML that YAML 1.1 and 1.2 read alike, without anchors", async () => {
    const text = await printed("yaml");
    expect(parse(text)).toEqual(data);
    expect(parse(text, { version: "1.1" })).toEqual(data);
    expect(text).not.toContain("&");
  });
});
