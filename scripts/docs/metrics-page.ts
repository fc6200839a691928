// What docs/reference/metrics.md says of each metric and each alert: their tables, kept between marks; the text around them is written by hand.

import type { Metric } from "../../src/telemetry/metric.ts";
import { metrics } from "../../src/telemetry/metrics.ts";
import { alertTable } from "./alerts.ts";
import { table, withMade } from "./marked.ts";

function metricTable(): string {
  const rows = (Object.entries(metrics) as [string, Metric][]).map(([name, { type, labels, help }]) => [
    `\`${name}\``,
    type,
    labels.map((label) => `\`${label}\``).join(", "),
    help,
  ]);
  return table(["metric", "type", "labels", "meaning"], rows);
}

/** The page with its tables as they are now. */
export const metricsPage = (before: string): string =>
  withMade(before, { metrics: metricTable(), alerts: alertTable() });
