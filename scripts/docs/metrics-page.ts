// What docs/metrics.md says of each metric and each alert: their tables, kept between marks; the words around are people's.

import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Metric, metrics } from "../../src/telemetry/metrics.ts";
import { table, withMade } from "./marked.ts";

function metricTable(): string {
  const rows = (Object.entries(metrics) as [string, Metric][]).map(([name, { type, labels, help }]) => [
    `\`${name}\``,
    type,
    labels.map((label) => `\`${label}\``).join(", "),
    help,
  ]);
  return table(["metric", "type", "labels", "what it tells"], rows);
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly for?: string;
      readonly labels: { readonly severity: string };
      readonly annotations: { readonly description: string; readonly action: string };
    }[];
  }[];
}

function alertTable(): string {
  const file = `${import.meta.dir}/../../deployments/monitoring/alerts.yaml`;
  const rules = (parse(readFileSync(file, "utf8")) as Rules).groups.flatMap((group) => group.rules);
  const inPage = (text: string) =>
    text.trim().replaceAll(/{{ *\$labels\.(\w+) *}}/g, (_, label) => label.toUpperCase());
  const rows = rules.map(({ alert, labels, annotations, ...rule }) => [
    `\`${alert}\``,
    labels.severity,
    rule.for ?? "at once",
    inPage(annotations.description),
    inPage(annotations.action),
  ]);
  return table(["alert", "severity", "after", "what it means", "what to do"], rows);
}

/** The page with its tables as they are now. */
export const metricsPage = (before: string): string =>
  withMade(before, { metrics: metricTable(), alerts: alertTable() });
