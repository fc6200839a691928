import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Level } from "./log-message-row.ts";
import { createLog, formatJson, formatLine, type LogOptions } from "./log.ts";
import { debugVerbosity, verbosities } from "./verbosity.ts";

/** A log that takes any message. */
const anyLog = (options: LogOptions) =>
  createLog(options) as unknown as Readonly<Record<Level, (message: string) => void>>;

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

test("of a long list only the number of the rest is shown", () => {
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
const loggers: ReturnType<typeof anyLog>[] = [];

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

test.each<[number | string, number, readonly string[]]>([
  ["0", 0, ["info", "warning", "fault"]],
  ["4", debugVerbosity - 1, ["info", "warning", "fault"]],
  ["5", debugVerbosity, ["detail", "info", "warning", "fault"]],
  ["10", 10, ["detail", "info", "warning", "fault"]],
  ["-1", -1, ["info", "warning", "fault"]],
  ["debug", verbosities.debug, ["detail", "info", "warning", "fault"]],
  ["info", verbosities.info, ["info", "warning", "fault"]],
  ["warn", verbosities.warn, ["warning", "fault"]],
  ["error", verbosities.error, ["fault"]],
])("with -v=%s these lines are written", (_, verbosity, written) => {
  const text = stderrOf(() => {
    const log = anyLog({ format: "text", verbosity, folder: null, stderr: "all" });
    log.debug("detail");
    log.info("info");
    log.warn("warning");
    log.error("fault");
  });
  expect<readonly string[]>(text.match(/detail|info|warning|fault/g) ?? []).toEqual(written);
});

describe("a line of JSON", () => {
  const json = (message: string, fields?: Record<string, unknown>) => {
    const text = formatJson({ date, type: "warn", args: [message, fields] });
    expect(text.indexOf("\n")).toBe(text.length - 1);
    return JSON.parse(text) as Record<string, unknown>;
  };
  const head = { time: "2026-11-24T10:41:15.123Z", level: "warn", message: "m" };

  test("has time, level, message and fields as they are", () => {
    const fields = { resource: "intel.com/a", devices: 8, ids: ["a"], mode: null, text: 'a"\n\u009b31m' };
    expect(json("m", fields)).toEqual({ ...head, ...fields });
    expect(json("m")).toEqual(head);
  });

  test("shows only the number of the rest of a long list", () => {
    const ids = Array.from({ length: 300 }, (_, index) => `d${index}`);
    expect(json("m", { ids })).toEqual({ ...head, ids: ids.slice(0, 16), ids_more: 284 });
  });

  test("keeps its own keys whatever the fields are called", () => {
    expect(json("m", { level: 3, time: 4 })).toEqual({ ...head, field_level: 3, field_time: 4 });
  });

  test("is written whatever the values are", () => {
    const round: Record<string, unknown> = {};
    round["round"] = round;
    expect(json("m", { round, big: 1n, none: undefined, error: new Error("why") })).toMatchObject({
      big: "1",
      none: null,
      error: "why",
    });
  });
});

test("the same line twice is written twice", () => {
  const text = stderrOf(() => {
    const log = anyLog({ format: "text", verbosity: 0, folder: null, stderr: "all" });
    for (let time = 0; time < 20; time++) log.warn("again");
  });
  expect(text.match(/again/g)).toHaveLength(20);
});

test("lines that a reader of standard error does not take are dropped beyond a backlog, and counted when it reads again", () => {
  const lines: string[] = [];
  const spy = spyOn(process.stderr, "write").mockImplementation((chunk: string | Uint8Array) => {
    lines.push(String(chunk));
    return false;
  });
  try {
    const log = anyLog({ format: "text", verbosity: 0, folder: null, stderr: "all" });
    for (let line = 0; line < 5000; line++) log.warn(`line ${line}`);
    expect(lines).toHaveLength(4096);
    for (let taken = 0; taken < 4096; taken++) process.stderr.emit("drain");
    log.warn("read");
    expect(lines.slice(4096)).toEqual([
      expect.stringMatching(/ WARN {2}standard error was not read; lines dropped lines=904\n$/),
      expect.stringContaining("read"),
    ]);
    process.stderr.emit("drain");
    process.stderr.emit("drain");
  } finally {
    spy.mockRestore();
  }
});

test.each([
  ["all", ["event", "wrong"]],
  ["errors", ["wrong"]],
] as const)("with a folder, %s goes to standard error too", async (stderr, shown) => {
  const text = stderrOf(() => {
    const log = anyLog({ format: "text", verbosity: 0, folder, stderr });
    loggers.push(log);
    log.info("event");
    log.error("wrong");
  });
  expect(["event", "wrong"].filter((word) => text.includes(word))).toEqual([...shown]);
  const written = () => {
    try {
      return readFileSync(`${folder}/sriovdp.log`, "utf8");
    } catch {
      return "";
    }
  };
  while (!written().includes("wrong")) await new Promise((resolve) => setImmediate(resolve));
  expect(written()).toContain("event");
});
