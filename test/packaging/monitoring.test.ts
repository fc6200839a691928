// Does Prometheus' own checker take the alerts, the dashboard's expressions and a scrape?

import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { dashboardExpressions } from "../contract/monitoring.ts";
import { running } from "../contract/live.ts";
import { removeTemporaryFolder, temporaryFolder } from "../support/plugin.ts";
import { testWhere } from "./needs.ts";
import { findPromtool } from "./promtool.ts";

const monitoring = `${import.meta.dir}/../../deployments/monitoring`;
const { path: promtool, missing } = await findPromtool();

/** Runs promtool; returns its exit status and all that it printed. */
function run(args: readonly string[], input = ""): { status: number; printed: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([promtool ?? "promtool", ...args], { stdin: Buffer.from(input) });
  return { status: exitCode, printed: `${stdout}${stderr}` };
}

testWhere(missing, "promtool takes the alert rules", () => {
  const { status, printed } = run(["check", "rules", `${monitoring}/alerts.yaml`]);
  expect(printed).toMatch(/SUCCESS: \d+ rules found/);
  expect(status).toBe(0);
});

testWhere(missing, "each alert fires when it should, and none on a healthy node", () => {
  const { status, printed } = run(["test", "rules", `${monitoring}/alerts.test.yaml`]);
  expect(printed).toContain("SUCCESS");
  expect(status).toBe(0);
});

testWhere(missing, "promtool takes the dashboard's expressions", () => {
  const folder = temporaryFolder();
  const rules = dashboardExpressions().map((expr, index) => ({ record: `panel:${index}`, expr }));
  writeFileSync(`${folder}/dashboard.yaml`, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
  const { printed } = run(["check", "rules", `${folder}/dashboard.yaml`]);
  removeTemporaryFolder(folder);
  expect(printed).toContain(`SUCCESS: ${rules.length} rules found`);
});

testWhere(missing, "promtool accepts a scrape", async () => {
  const resource = "intel.com/net";
  const config = { resourceList: [{ resourceName: "net", selectors: {} }] };
  await using node = await running({ node: "iavf-vfs", config, resources: [resource] });
  await node.kubelet.allocate(resource, 1);
  const unix = `${node.root}/run/sriovdp/status.sock`;
  const text = await (await fetch("http://localhost/metrics", { unix })).text();
  expect(run(["check", "metrics"], text)).toEqual({ status: 0, printed: "" });
});
