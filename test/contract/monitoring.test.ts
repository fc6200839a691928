// Do the alerts and the dashboard query metrics that the plugin has, and do they say what to do?

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { poolStates } from "../../src/telemetry/metrics.ts";
import { DraNode } from "../support/dra-node.ts";
import { host } from "../support/plugin.ts";
import { running } from "./live.ts";
import { alerts, alertTests, dashboard, dashboardExpressions } from "./monitoring.ts";
import { scrape } from "./scrape.ts";

const resource = "intel.com/net";
const repository = `${import.meta.dir}/../..`;
/** The headings of the page that alerts name as their runbook. */
const headings = readFileSync(`${repository}/docs/reference/alerts.md`, "utf8").match(/(?<=^## ).*$/gm) ?? [];
const config = { resourceList: [{ resourceName: "net", selectors: {} }] };

/** The names of metrics in an expression; "up" is Prometheus' own. */
const metricsIn = (expr: string): string[] => expr.match(/\b(?:sriovdp|process)_[a-z_]+/g) ?? [];

test("every metric, label and state that alerts and dashboard name is in a real scrape", async () => {
  await using node = await running({ node: "iavf-vfs", config, resources: [resource] });
  await using other = await DraNode.start({ entries: host("iavf-vfs"), config });
  other.startPlugin(...other.args);
  await other.plugin.waitUntilReady();
  const series = [...(await scrape(node)), ...(await scrape(other))];
  const names = new Set(series.map(({ name }) => name));
  const labels = new Set(series.flatMap((sample) => Object.keys(sample.labels)));
  const variables = dashboard().templating.list.flatMap(({ definition }) => definition ?? []);
  for (const expr of [...alerts().map(({ expr }) => expr), ...dashboardExpressions(), ...variables]) {
    expect(metricsIn(expr).filter((name) => !names.has(name))).toEqual([]);
    const matched = [...expr.matchAll(/[{,]\s*([a-z_]+)\s*(?:=~|!=|=)/g)].map(([, label = ""]) => label);
    expect(matched.filter((label) => !labels.has(label) && !["job", "instance"].includes(label))).toEqual([]);
    for (const [, states = ""] of expr.matchAll(/state=~?"([^"]*)"/g))
      expect(states.split("|").filter((state) => !(poolStates as readonly string[]).includes(state))).toEqual([]);
  }
});

test.each(alerts().map((alert) => [alert.alert, alert] as const))(
  "the alert %s says how bad it is, what it means and what to do, and is tested",
  (name, { expr, labels, annotations }) => {
    expect(["critical", "warning", "info"]).toContain(labels["severity"] ?? "none");
    expect(Object.keys(annotations)).toEqual(["summary", "description", "action", "runbook_url"]);
    const { runbook_url: runbook, ...texts } = annotations;
    for (const text of Object.values(texts)) expect(text.trim()).toEndWith(".");
    // absent() has no instance: there is none.
    if (!expr.startsWith("absent(")) expect(annotations["summary"]).toMatch(/\$labels\.instance/);
    expect(runbook).toBe(`${manifest.homepage}/docs/reference/alerts.md#${name.toLowerCase()}`);
    expect(headings).toContain(name);
    expect(alertTests()).toContain(`alertname="${name}"`);
  },
);

test("the dashboard's panels have titles, explanations and places of their own", () => {
  const { panels } = dashboard();
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const taken = new Set<string>();
  for (const { type, title, description, targets, gridPos } of panels) {
    expect(title).not.toBe("");
    if (type !== "row") {
      expect(description).toBeString();
      expect(targets).not.toEqual([]);
    }
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(taken.has(`${x},${y}`)).toBeFalse();
        taken.add(`${x},${y}`);
      }
    }
  }
});

test("the PrometheusRule object has the same alerts", () => {
  const text = readFileSync(`${repository}/deployments/components/metrics/prometheusrule.yaml`, "utf8");
  const { kind, spec } = parse(text) as { kind: string; spec: { groups: { rules: { alert: string }[] }[] } };
  expect([kind, spec.groups.flatMap(({ rules }) => rules)]).toEqual(["PrometheusRule", alerts() as never]);
});
