// Reads the JUnit XML that `bun test` writes, and writes one report from several.

export type Outcome = "passed" | "failed" | "skipped";

export interface TestResult {
  readonly file: string;
  readonly name: string;
  readonly outcome: Outcome;
  readonly seconds: number;
  readonly message?: string;
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

export function parseJUnit(xml: string, file: string): TestResult[] {
  const results: TestResult[] = [];
  for (const [, attributeText = "", body = ""] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)) {
    const attribute = attributes(attributeText);
    const trouble = body.match(/<(failure|error|skipped)\b([^>]*?)(?:\/>|>(.*?)<\/\1>)/s);
    // Bun writes the innermost scope first.
    const scopes = (attribute["classname"] ?? "").split(" > ").filter(Boolean).toReversed();
    results.push({
      file,
      name: [...scopes, attribute["name"] ?? ""].join(" > "),
      outcome: trouble === null ? "passed" : trouble[1] === "skipped" ? "skipped" : "failed",
      seconds: Number(attribute["time"] ?? 0),
      ...(trouble &&
        trouble[1] !== "skipped" && {
          message: (unescapeXML(trouble[3] ?? "") || attributes(trouble[2] ?? "")["message"] || "").trim(),
        }),
    });
  }
  return results;
}

function attributes(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, unescapeXML(value)]),
  );
}

function unescapeXML(text: string): string {
  return text.replace(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) =>
    hex
      ? String.fromCodePoint(Number.parseInt(hex, 16))
      : decimal
        ? String.fromCodePoint(Number(decimal))
        : (entities[name] ?? whole),
  );
}

function escapeXML(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => `&${Object.entries(entities).find(([, plain]) => plain === character)?.[0]};`)
    .replace(/(?![\t\n\r])\p{Cc}/gu, "\ufffd"); // not allowed in XML, and a console may hold them
}

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
