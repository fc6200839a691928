// Everything that a commit must pass without running the program: one row a check.

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
  { name: "dependencies are exact, and their licences known", command: ["bun", "scripts/check/dependencies.ts"] },
  { name: "generated code is what proto/ gives", command: ["sh", "scripts/build/generate.sh", "--check"] },
];

/** Runs a command of this project, its tools first on PATH; prints what it says only when it fails. */
export function runQuietly(command: readonly string[]): boolean {
  const root = `${import.meta.dir}/../..`;
  const { success, stdout, stderr } = Bun.spawnSync([...command], {
    cwd: root,
    env: { ...process.env, PATH: `${root}/node_modules/.bin:${process.env["PATH"] ?? ""}` },
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!success) process.stdout.write(Buffer.concat([stdout, stderr]));
  return success;
}

if (import.meta.main) {
  argumentsOf("npm run check", {});
  const failed = checks.filter(({ name, command }) => {
    const success = runQuietly(command);
    console.log(`${success ? "ok    " : "FAILED"} ${name}`);
    return !success;
  });
  process.exit(failed.length === 0 ? 0 : 1);
}
