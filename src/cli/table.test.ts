import { describe, expect, test } from "bun:test";
import { paint, type Style, table } from "./table.ts";

const plain: Style = { colour: false, columns: null };
const coloured: Style = { colour: true, columns: 80 };

describe("a table", () => {
  test("has columns as wide as their widest cell, and lines that end without blanks", () => {
    const rows = [
      ["longer", "b", ""],
      ["x", "", "c"],
    ];
    expect(table(["A", "LONG HEAD", "C"], rows, plain)).toBe(
      ["A       LONG HEAD  C", "longer  b", "x                  c", ""].join("\n"),
    );
    expect(table(["A"], [], plain)).toBe("A\n");
  });

  test("lines up whatever the characters take on a terminal", () => {
    expect(
      table(
        ["A", "B"],
        [
          ["网卡", "1"],
          ["e\u0301", "2"],
          ["abcd", "3"],
        ],
        plain,
      ),
    ).toBe("A     B\n网卡  1\ne\u0301     2\nabcd  3\n");
  });

  test("lines up the same with colours and without", () => {
    const rows = [
      [{ text: "up", tone: "good" } as const, "x"],
      [{ text: "down", tone: "bad" } as const, "y"],
    ];
    const shown = table(["LINK", "N"], rows, coloured);
    expect(shown).toContain("\x1b[32mup\x1b[0m    x");
    expect(Bun.stripANSI(shown)).toBe(table(["LINK", "N"], rows, plain));
  });

  test("escapes what would reach into the terminal", () => {
    expect(table(["A"], [["\x1b[2Jgone\nnext"]], plain)).toBe("A\n\\u001b[2Jgone\\u000anext\n");
  });
});

test("what is painted can't reach into the terminal either", () => {
  expect(paint("a\x1b[2J\x9b", "plain", plain)).toBe("a\\u001b[2J\\u009b");
});

test("nothing is painted without colours, and nothing around nothing", () => {
  expect(paint("x", "bad", plain)).toBe("x");
  expect(paint("", "bad", coloured)).toBe("");
  expect(paint("x", "plain", coloured)).toBe("x");
});
