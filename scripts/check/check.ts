// Everything that a commit must pass without running the program: one row per check.

import { argumentsOf } from "../common/arguments.ts";

/** A check: its name, as a sentence, and the command that fails when it does not hold. */
export interface Check {
  readonly name: string;
  readonly command: readonly string[];
}

const sources = ["src", "native", "test", "scripts"];

export const checks: readonly Check[] = [
  { name: "types are right", command: ["tsc", "-p", "tsconfig.json"] },
  {
    name: "lint and import rules hold",
    command: ["oxlint", "-c", "scripts/check/oxlint.json", "--deny-warnings", ...sources],
  },
  {
    name: "the format is that of npm run format",
    command: ["oxfmt", "-c", "scripts/check/oxfmt.json", "--check", ...sources],
  },
  {
    name: "the docs that are made from tables are what those give",
    command: ["bun", "scripts/docs/write-docs.ts", "--check"],
  },
  { name: "dependencies are exact, and their licenses known", command: ["bun", "scripts/check/dependencies.ts"] },
  { name: "generated code is what proto/ gives", command: ["sh", "scripts/build/generate.sh", "--check"] },
];

/** Runs a command of this project, its tools first on PATH; prints what it says only when it fails. */
export async function runQuietly(command: readonly string[]): Promise<boolean> {
  const root = `${import.meta.dir}/../..`;
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, PATH: `${root}/node_modules/.bin:${process.env["PATH"] ?? ""}` },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const printed = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const success = (await child.exited) === 0;
  if (!success) process.stdout.write(printed.join(""));
  return success;
}

if (import.meta.main) {
  argumentsOf("npm run check", {});
  let failed = 0;
  for (const { name, command } of checks) {
    const success = await runQuietly(command);
    console.log(`${success ? "ok    " : "FAILED"} ${name}`);
    if (!success) failed++;
  }
  process.exit(failed === 0 ? 0 : 1);
}
