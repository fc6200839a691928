import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { createLog, debugVerbosity, formatLine, type Log } from "./log.ts";

const date = new Date("2026-11-24T10:41:15.123Z");
const line = (message: string, fields?: Record<string, unknown>) =>
  formatLine({ date, type: "info", args: [message, fields] });

test("a line has time, level, message and fields", () => {
  expect(line("pool is served", { resource: "intel.com/a", devices: 8 })).toBe(
    "2026-11-24T10:41:15.123Z INFO  pool is served resource=intel.com/a devices=8\n",
  );
  expect(line("ready")).toBe("2026-11-24T10:41:15.123Z INFO  ready\n");
  expect(formatLine({ date, type: "fatal", args: ["x"] })).toContain(" ERROR x");
});

test.each([
  ["plain", "plain"],
  [8, "8"],
  [null, "null"],
  [true, "true"],
  [undefined, "undefined"],
  ["", '""'],
  ["two words", '"two words"'],
  ['a"b', '"a\\"b"'],
  ["a=b", '"a=b"'],
  ["a\\b", '"a\\\\b"'],
  ["a\nINFO forged", '"a\\nINFO forged"'],
  ["\u001b[31mred", '"\\u001b[31mred"'],
  ["東京", "東京"],
  [["a", "b"], "a,b"],
  [[], '""'],
  [{ a: 1 }, '"{\\"a\\":1}"'],
])("the value %j is written as %s", (value, shown) => {
  expect(line("m", { key: value })).toEndWith(` key=${shown}\n`);
});

test("of a long list only the number of the rest is told", () => {
  const ids = Array.from({ length: 300 }, (_, index) => `d${index}`);
  expect(line("m", { ids })).toEndWith('d15, and 284 more"\n');
  expect(line("m", { ids: ids.slice(0, 16) })).toEndWith("d15\n");
});

test("a line is one line whatever its values hold", () => {
  for (let code = 0; code < 0x20; code++) {
    const text = line("m", { text: `a${String.fromCharCode(code)}b`, list: [`${String.fromCharCode(code)}`] });
    expect(text.slice(0, -1)).not.toMatch(/\p{Cc}/u);
  }
});

test("control characters beyond ASCII are escaped too", () => {
  expect(line("m", { text: "a\u0085b\u009b31m\u007f" }).slice(0, -1)).not.toMatch(/\p{Cc}/u);
});

test("a message that quotes the operator's file is one line", () => {
  expect(line("resourceList[0].x\nforged: unknown key").slice(0, -1)).not.toMatch(/\p{Cc}/u);
});

test("a value that JSON can't write does not end the program", () => {
  const round: Record<string, unknown> = {};
  round["round"] = round;
  expect(() => line("m", { round, big: 1n })).not.toThrow();
});

/** Loggers live as long as the process, as in the program: Bun ends a process whose open log file is collected. */
const loggers: Log[] = [];

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-log-`);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What is written to standard error meanwhile. */
function stderrOf(run: () => void): string {
  let text = "";
  const spy = spyOn(process.stderr, "write").mockImplementation((chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  });
  try {
    run();
  } finally {
    spy.mockRestore();
  }
  return text;
}

test.each([
  [0, false],
  [debugVerbosity - 1, false],
  [debugVerbosity, true],
  [10, true],
])("with -v=%d debug lines are written: %p", (verbosity, written) => {
  const text = stderrOf(() => {
    const log = createLog({ verbosity, folder: null, stderr: "all" });
    log.info("story");
    log.debug("detail");
  });
  expect(text).toContain("story");
  expect(text.includes("detail")).toBe(written);
});

test("the same line twice is written twice", () => {
  const text = stderrOf(() => {
    const log = createLog({ verbosity: 0, folder: null, stderr: "all" });
    for (let time = 0; time < 20; time++) log.warn("again");
  });
  expect(text.match(/again/g)).toHaveLength(20);
});

test.each([
  ["all", ["told", "wrong"]],
  ["errors", ["wrong"]],
] as const)("with a folder, %s goes to standard error too", async (stderr, shown) => {
  const text = stderrOf(() => {
    const log = createLog({ verbosity: 0, folder, stderr });
    loggers.push(log);
    log.info("told");
    log.error("wrong");
  });
  expect(["told", "wrong"].filter((word) => text.includes(word))).toEqual([...shown]);
  const written = () => {
    try {
      return readFileSync(`${folder}/sriovdp.log`, "utf8");
    } catch {
      return "";
    }
  };
  while (!written().includes("wrong")) await new Promise((resolve) => setImmediate(resolve));
  expect(written()).toContain("told");
});
