import { expect, test } from "bun:test";
import { clock, startProgress } from "./progress.ts";

const shown = (isTerminal: boolean, columns = 80) => {
  const written: string[] = [];
  const printed: string[] = [];
  const place = {
    isTerminal,
    columns,
    write: (text: string) => void written.push(text),
    print: (line: string) => void printed.push(line),
  };
  return { written, printed, place };
};

test("a terminal shows one line, which is overwritten and removed at the end", () => {
  const { written, printed, place } = shown(true);
  const progress = startProgress(() => "10 % of 3 minutes", place);
  progress.say("round 1");
  progress.step("packing");
  progress.stop();
  expect(printed).toEqual(["round 1"]);
  expect(written.join("")).toBe(
    "\r\x1b[K0:00 10 % of 3 minutes\r\x1b[K\r\x1b[K0:00 10 % of 3 minutes\r\x1b[K0:00 packing\r\x1b[K",
  );
});

test("a pipe gets only the messages", () => {
  const { written, printed, place } = shown(false);
  const progress = startProgress(() => "text", place);
  progress.step("packing");
  progress.say("round 1");
  progress.stop();
  expect({ written, printed }).toEqual({ written: [], printed: ["round 1"] });
});

test("a line is at most as long as the terminal is wide", () => {
  const { written, place } = shown(true, 20);
  startProgress(() => "x".repeat(40), place).stop();
  expect(written[0]).toBe(`\r\x1b[K0:00 ${"x".repeat(11)}...`);
});

test("times are minutes and seconds", () => {
  expect([clock(0), clock(59_999), clock(125_000)]).toEqual(["0:00", "0:59", "2:05"]);
});
