// Does npm know of advisories about what is in the executable? Where the registry answers that question: many mirrors don't.

import { expect } from "bun:test";
import { join } from "node:path";
import { missingPrograms, testWhere } from "./needs.ts";

interface Audit {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string; readonly isDirect: boolean }>>;
  readonly message?: string;
}

/** What npm answers for package-lock.json without the development dependencies; or what is missing for an answer, as a phrase. */
function audit(): { found: Audit; missing: null } | { found: null; missing: string } {
  const absent = missingPrograms("npm");
  if (absent !== null) return { found: null, missing: absent };
  const { stdout } = Bun.spawnSync(
    ["npm", "audit", "--package-lock-only", "--omit=dev", "--json", "--fetch-retries=0"],
    {
      cwd: join(import.meta.dir, "../.."),
      stdout: "pipe",
      stderr: "ignore",
      timeout: 30_000,
    },
  );
  const found = JSON.parse(stdout.toString() || "{}") as Audit;
  if (found.vulnerabilities === undefined)
    return {
      found: null,
      missing: `the registry has no advisories: ${found.message?.split(" - ")[0] ?? "no answer"}`,
    };
  return { found, missing: null };
}

const { found, missing } = audit();

testWhere(missing, "npm has no advisory about a package in the executable", () => {
  expect(found?.vulnerabilities).toEqual({});
});
