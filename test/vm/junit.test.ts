import { expect, test } from "bun:test";
import { count, formatJUnit, parseJUnit, type TestResult } from "./junit.ts";

// As `bun test --reporter=junit` writes it
const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="5" assertions="1" failures="2" skipped="2" time="0.003515738">
  <testsuite name="a.vm.js" file="a.vm.js" tests="5" assertions="1" failures="2" skipped="2" time="0.001095202" hostname="lab">
    <testcase name="plain &lt;one&gt;" classname="" time="1.5" file="a.vm.js" line="2" assertions="0" />
    <testsuite name="outer" file="a.vm.js" line="3" tests="3" assertions="1" failures="1" skipped="2" time="0" hostname="lab">
      <testsuite name="inner" file="a.vm.js" line="3" tests="3" assertions="1" failures="1" skipped="2" time="0" hostname="lab">
        <testcase name="deep" classname="inner &gt; outer" time="0.000097" file="a.vm.js" line="3" assertions="1">
          <failure type="AssertionError" message="short">AssertionError: 1 &amp; 2&#10;&#10;      at a.vm.js:3:84&#10;</failure>
        </testcase>
        <testcase name="later" classname="inner &gt; outer" time="0" file="a.vm.js" line="3" assertions="0">
          <skipped message="TODO" />
        </testcase>
      </testsuite>
    </testsuite>
    <testcase name="throws" classname="" time="0.000053" file="a.vm.js" line="4" assertions="0">
      <failure type="Error" message="a &amp; b" />
    </testcase>
  </testsuite>
</testsuites>
`;

const results: TestResult[] = [
  { file: "a.vm.ts", name: "plain <one>", outcome: "passed", seconds: 1.5 },
  {
    file: "a.vm.ts",
    name: "outer > inner > deep",
    outcome: "failed",
    seconds: 0.000097,
    message: "AssertionError: 1 & 2\n\n      at a.vm.js:3:84",
  },
  { file: "a.vm.ts", name: "outer > inner > later", outcome: "skipped", seconds: 0 },
  { file: "a.vm.ts", name: "throws", outcome: "failed", seconds: 0.000053, message: "a & b" },
];

test("bun's report is read with scopes, outcomes, durations and messages", () => {
  expect(parseJUnit(report, "a.vm.ts")).toEqual(results);
});

test("a report that was cut off gives the tests before the cut", () => {
  expect(parseJUnit(report.slice(0, report.indexOf('<testcase name="throws"')), "a.vm.ts")).toHaveLength(3);
  expect(parseJUnit("", "a.vm.ts")).toEqual([]);
});

test("a report cut off anywhere gives whole tests only, as the whole report does", () => {
  for (let end = 0; end <= report.length; end++) {
    const some = parseJUnit(report.slice(0, end), "a.vm.ts");
    expect(some).toEqual(results.slice(0, some.length));
  }
});

test.each([
  ["comments and CDATA", '<testcase name="<!--"><failure><!-- x --><![CDATA[a < b]]></failure></testcase>', "a < b"],
  ["a > in an attribute", '<testcase name="n" note="1 > 0"><failure message="x > y"></failure></testcase>', "x > y"],
  ["single quotes", "<testcase name='n'><failure message='it&apos;s' /></testcase>", "it's"],
  ["the text of a test's output", '<testcase name="n"><failure>f</failure><system-out>o</system-out></testcase>', "f"],
])("%s are read as XML has it", (_, xml, message) => {
  expect(parseJUnit(xml, "x")).toMatchObject([{ outcome: "failed", message }]);
});

test("what is written is what is read", () => {
  const message = 'a\n\t"quoted" & <tag> \u{1f642} ünï';
  const written = [{ file: "x", name: message, outcome: "failed", seconds: 1, message }] as const;
  expect(parseJUnit(formatJUnit(written), "x")).toMatchObject([{ message }]);
});

test("the merged report has every file with its counts", () => {
  const merged = formatJUnit([...results, { file: "b.vm.ts", name: "fine", outcome: "passed", seconds: 2 }]);
  expect(merged).toContain('<testsuite name="a.vm.ts" tests="4" failures="2" skipped="1" time="1.500">');
  expect(merged).toContain('<testsuite name="b.vm.ts" tests="1" failures="0" skipped="0" time="2.000">');
  expect(merged).toContain('name="plain &lt;one&gt;"');
  expect(parseJUnit(merged, "x").map(({ outcome }) => outcome)).toEqual([
    "passed",
    "failed",
    "skipped",
    "failed",
    "passed",
  ]);
});

test("a message with terminal escapes is still XML", () => {
  const merged = formatJUnit([
    { file: "a", name: "n", outcome: "failed", seconds: 0, message: "\u001b[31mred\u001b[0m" },
  ]);
  expect(merged).not.toContain("\u001b");
});

test("outcomes are counted", () => {
  expect(count(results)).toEqual({ passed: 1, failed: 2, skipped: 1 });
});
