// Does the program say how it is used, also after a usage error?

import { describe, expect, test } from "bun:test";
import { type CommandRow, commands } from "../../src/cli/command-table.ts";
import { executable, runCommand } from "../support/plugin.ts";

describe.each(Object.entries(commands) as [string, CommandRow][])("the help of %s", (name, { examples }) => {
  test("is the same by `help COMMAND` and `COMMAND --help`, with its options and examples", () => {
    const { stdout, status } = runCommand(["help", name]);
    expect(runCommand([name, "--help"])).toMatchObject({ stdout, status: 0 });
    expect(runCommand([name, "-h", "--frobnicate"])).toMatchObject({ stdout, status: 0 });
    expect(stdout).toStartWith(`Usage: sriovdp ${name}`);
    for (const [args] of examples) expect(stdout).toContain(`  sriovdp ${args}\n`);
    expect(status).toBe(0);
  });
});

test("the help of the program lists the commands, and is ASCII", () => {
  const { stdout } = runCommand(["help"]);
  expect(runCommand(["--help"]).stdout).toBe(stdout);
  for (const name of Object.keys(commands)) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
  expect(stdout).not.toMatch(/[^\n -~]/);
  expect(runCommand(["help", "statsu"])).toMatchObject({
    stdout: "",
    stderr: "sriovdp: unknown command statsu; did you mean status?\n",
    status: 2,
  });
});

test.each([
  [["discover", "--pool", "a"], "discover does not take --pool, an option of status", "discover --help"],
  [["validate", "--config", "x"], "unknown option --config; did you mean --config-file?", "validate --help"],
  [["status", "-o", "xml"], "--output=xml: expected table, wide, json or yaml", "status --help"],
  [["statis"], "unknown command statis; did you mean status?", "--help"],
  [["--unhealthy"], "--unhealthy is an option of status; put the command before it", "--help"],
])("%j is a mistake: %s", (args, message, hint) => {
  expect(runCommand(args)).toEqual({
    status: 2,
    stdout: "",
    stderr: `sriovdp: ${message}\nTry "sriovdp ${hint}".\n`,
  });
});

test("a file that is not there has no line", () => {
  expect(runCommand(["validate", "--no-node", "/nowhere.json"]).stderr).toBe("/nowhere.json: error: no such file\n");
  expect(runCommand(["explain", "--config-file", "/nowhere.json"]).stderr).toBe(
    "/nowhere.json: error: no such file; set --config-file\n",
  );
});

test.each([
  ["C", "\\u7f51..."],
  ["C.UTF-8", "\u7f51\u2026"],
])("with LC_ALL=%s what an operator wrote is shown as %s", (locale, shown) => {
  const { stderr } = Bun.spawnSync([executable, "validate", "--no-node", "-"], {
    stdin: Buffer.from(JSON.stringify({ resourceList: [{ resourceName: `\u7f51\u2026`, selectors: {} }] })),
    env: { LC_ALL: locale },
  });
  expect(stderr.toString()).toContain(shown);
});
