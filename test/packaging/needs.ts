// How does a test say that a machine can't run it? It is skipped under a name that says what is missing, and counted.

import { test } from "bun:test";

type Body = () => void | Promise<void>;

/** A test that runs when nothing is missing; `missing` says what this machine lacks, or is null. */
export function testWhere(missing: string | null, name: string, body: Body): void {
  if (missing === null) test(name, body);
  else test.skip(`${name} (${missing})`, body);
}

/** What is missing when these programs are not on PATH, as a phrase; null when all are. */
export function missingPrograms(...programs: readonly string[]): string | null {
  const absent = programs.filter((program) => Bun.which(program) === null);
  return absent.length === 0 ? null : `there is no ${absent.join(" and no ")} here`;
}

/** "root is needed", unless this is root. */
export const missingRoot: string | null = process.getuid?.() === 0 ? null : "root is needed";
