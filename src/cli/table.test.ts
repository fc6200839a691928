import { describe, expect, test } from "bun:test";
import { fittedTable, inAscii, paint, type Style, table, truncated, wrapped } from "./table.ts";

const plain: Style = { color: false, columns: null };
const colored: Style = { color: true, columns: 80 };

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

  test("lines up the same with colors and without", () => {
    const rows = [
      [{ text: "up", tone: "good" } as const, "x"],
      [{ text: "down", tone: "bad" } as const, "y"],
    ];
    const shown = table(["LINK", "N"], rows, colored);
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

test("nothing is painted without colors, and nothing around nothing", () => {
  expect(paint("x", "bad", plain)).toBe("x");
  expect(paint("", "bad", colored)).toBe("");
  expect(paint("x", "plain", colored)).toBe("x");
});

test("a terminal of ASCII gets ASCII, lined up", () => {
  expect(inAscii("\u7f51\u2026 \u{1F600}")).toBe("\\u7f51... \\u1f600");
  expect(table(["A", "B"], [["\u7f51", "x"]], { ...plain, ascii: true })).toBe("A       B\n\\u7f51  x\n");
});

test("words are put into lines, and texts cut off, by what a terminal shows", () => {
  expect(wrapped("aa bb  cc", 5)).toEqual(["aa bb", "cc"]);
  expect(wrapped("", 5)).toEqual([]);
  expect(truncated("\u7f51\u5361\u7f51\u5361", 7)).toBe("\u7f51\u5361...");
  expect(truncated("abcdef", 6)).toBe("abcdef");
});

describe("a table that fits", () => {
  const columns = [
    { title: "NAME", cell: ([name = ""]: string[]) => name },
    { title: "MORE", cell: ([, more = ""]: string[]) => more, yields: 1 },
    { title: "EVEN MORE", cell: ([, , even = ""]: string[]) => even, yields: 2 },
    { title: "WIDE", cell: () => "w", wideOnly: true as const },
    { title: "LAST", cell: ([, , , last = ""]: string[]) => last },
  ];
  const long = "x".repeat(70);
  const rows = [
    ["a", "m".repeat(20), "e".repeat(20), long],
    [long, "", "", ""],
  ];
  test.each([30, 80, 100, 200])("is at most %i columns wide, and names what it hides", (width) => {
    const lines = fittedTable(columns, rows, { color: false, columns: width }).trimEnd().split("\n");
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
    const hides = lines.join(" ").includes("columns hidden: terminal too narrow: ");
    expect(hides).toBe(width < 200);
  });
  test("hides nothing, and shows more, with --all", () => {
    const text = fittedTable(columns, rows, { color: false, columns: 30, wide: true });
    expect(text).toContain("WIDE");
    expect(text).toContain(long);
    expect(text).not.toContain("hidden");
  });
});
