// Reads the JUnit XML that `bun test` writes, and writes one report from several.

import { escapeUTF8 } from "entities";
import { Parser } from "htmlparser2";

export type Outcome = "passed" | "failed" | "skipped";

export interface TestResult {
  readonly file: string;
  readonly name: string;
  readonly outcome: Outcome;
  readonly seconds: number;
  readonly message?: string;
}

interface OpenTestCase {
  readonly attributes: Readonly<Record<string, string>>;
  outcome: Outcome;
  message: string;
}

const outcomes: Readonly<Record<string, Outcome>> = { failure: "failed", error: "failed", skipped: "skipped" };

/**
 * Reads a JUnit report; `file` is what the results say they are from. A report that was cut off gives the test cases that end
 * before the cut: what has no end tag may have failed.
 */
export function parseJUnit(xml: string, file: string): TestResult[] {
  const results: TestResult[] = [];
  let open: OpenTestCase | null = null;
  let text = "";
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (name === "testcase") open = { attributes, outcome: "passed", message: "" };
        else if (open && outcomes[name]) {
          open.outcome = outcomes[name];
          open.message = attributes["message"] ?? "";
        }
        text = "";
      },
      ontext(part) {
        text += part;
      },
      onclosetag(name) {
        if (!open) return;
        if (outcomes[name] === "failed") open.message = text || open.message;
        if (name !== "testcase") return;
        results.push(resultOf(open, file));
        open = null;
      },
    },
    { xmlMode: true },
  );
  // end() would close what is open.
  parser.write(xml);
  return results;
}

function resultOf({ attributes, outcome, message }: OpenTestCase, file: string): TestResult {
  // Bun writes the innermost scope first.
  const scopes = (attributes["classname"] ?? "").split(" > ").filter(Boolean).toReversed();
  return {
    file,
    name: [...scopes, attributes["name"] ?? ""].join(" > "),
    outcome,
    seconds: Number(attributes["time"] ?? 0),
    ...(outcome === "failed" && { message: message.trim() }),
  };
}

/** Text as it may stand in an attribute. XML allows no control characters but these three, and a console may print them. */
const escapeXML = (text: string): string => escapeUTF8(text.replace(/(?![\t\n\r])\p{Cc}/gu, "\ufffd"));

export function count(results: readonly TestResult[]): Record<Outcome, number> {
  const of = (outcome: Outcome) => results.filter((result) => result.outcome === outcome).length;
  return { passed: of("passed"), failed: of("failed"), skipped: of("skipped") };
}

export function formatJUnit(results: readonly TestResult[]): string {
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"];
  for (const [file, cases] of Map.groupBy(results, (result) => result.file)) {
    const { failed, skipped } = count(cases);
    const seconds = cases.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(3);
    lines.push(
      `  <testsuite name="${escapeXML(file)}" tests="${cases.length}" failures="${failed}" skipped="${skipped}" time="${seconds}">`,
    );
    for (const { name, outcome, seconds, message } of cases) {
      const start = `    <testcase name="${escapeXML(name)}" classname="${escapeXML(file)}" time="${seconds.toFixed(3)}"`;
      if (outcome === "passed") lines.push(`${start} />`);
      else if (outcome === "skipped") lines.push(`${start}><skipped /></testcase>`);
      else lines.push(`${start}><failure message="${escapeXML(message ?? "")}" /></testcase>`);
    }
    lines.push("  </testsuite>");
  }
  return `${[...lines, "</testsuites>"].join("\n")}\n`;
}
