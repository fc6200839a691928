// Is the unit as closed as docs/deploy/systemd.md says? systemd's own verdict on the file; that the plugin works under it is
// tested in the virtual machine (test/vm/guest/systemd.vm.ts).

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { missingPrograms, testWhere } from "./needs.ts";

const root = join(import.meta.dir, "../..");
const unit = join(root, "deployments/sriovdp.service");
const missing = missingPrograms("systemd-analyze");

const analyze = (...args: string[]): string => {
  const { stdout, stderr } = Bun.spawnSync(["systemd-analyze", ...args], { stdout: "pipe", stderr: "pipe" });
  return stdout.toString() + stderr.toString();
};

testWhere(missing, "the unit's exposure is 2.0 or less, and each one left is explained", () => {
  const verdict = analyze("security", "--no-pager", "--offline=true", unit);
  const rating = /Overall exposure level for sriovdp\.service: (\d+\.\d)/.exec(verdict)?.[1];
  console.log(`systemd ${analyze("--version").split(" ")[1]} rates the unit ${rating}`);
  expect(Number(rating)).toBeLessThanOrEqual(2);
  const left = [...verdict.matchAll(/^✗ (\w+=)/gm)].map(([, setting = ""]) => setting);
  expect(left.length).toBeGreaterThan(3);
  const docs = readFileSync(join(root, "docs/deploy/systemd.md"), "utf8");
  for (const setting of left) expect(docs).toContain(`\n| \`${setting}\` |`);
  expect(docs).toContain(`rates the unit ${rating} `);
});

testWhere(missing, "systemd understands every line of the unit", () => {
  const complaints = analyze("verify", "--man=no", unit);
  // The executable is not installed here.
  expect(complaints.replace(/^.*Command \/usr\/local\/bin\/sriovdp is not executable.*\n/m, "")).toBe("");
});
