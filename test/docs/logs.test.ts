// Is docs/reference/logs.md, which is made from the table of messages, about the lines that are logged? That a message has a row,
// the compiler sees; that a row has a message, this; that levels and fields are those of the row, each contract test (TestNode).

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { clientLogMessages } from "../../src/process/client-log-messages.ts";
import { draLogMessages } from "../../src/process/dra-log-messages.ts";
import { logMessages } from "../../src/process/log-messages.ts";
import { nodeLogMessages } from "../../src/process/node-log-messages.ts";
import { undocumented } from "../support/log-lines.ts";

const source = `${import.meta.dir}/../../src`;
const texts = [...new Bun.Glob("**/*.ts").scanSync(source)]
  .filter((name) => !name.endsWith(".test.ts") && !name.endsWith("log-messages.ts"))
  .map((name) => readFileSync(`${source}/${name}`, "utf8"));

test.each(Object.keys(logMessages))("the source logs: %s", (message) => {
  const quoted = [`"${message}"`, `'${message}'`, `\`${message}\``];
  expect(texts.some((text) => quoted.some((each) => text.includes(each)))).toBe(true);
});

test("no message is in two tables, of which one would hide the other", () => {
  const tables = [nodeLogMessages, clientLogMessages, draLogMessages];
  expect(Object.keys(logMessages)).toEqual(tables.flatMap((table) => Object.keys(table)));
});

const at = "2026-11-24T10:41:15.123Z";

test.each([
  [`${at} INFO  serving the pool resource=intel.com/a devices=8 unhealthy=0`, null],
  [`${at} INFO  serving the pool resource="a b=c" devices=8`, null],
  [`${at} WARN  /etc/pcidp/config.json:3:5: warning: resourceList[0]: unknown key "x"; ignored=1`, null],
  [`${at} ERROR config.json:1:1: error: not JSON`, null],
  [`${at} WARN  Allocate was refused resource=intel.com/a reason="unknown device"`, null],
  ["a line of another program", null],
  [`${at} INFO  something new`, "no row for"],
  [`${at} WARN  serving the pool resource=intel.com/a`, "other levels"],
  [`${at} INFO  serving the pool resource=intel.com/a speed=8`, "no field speed"],
])("of a line it is seen whether it is documented: %s", (line, problem) => {
  if (problem === null) expect(undocumented(line)).toBeNull();
  else expect(undocumented(line)).toContain(problem);
});
