// Which metrics do the alerts and the dashboard of deployments/monitoring query?

import { readFileSync } from "node:fs";
import { parse } from "yaml";

const folder = `${import.meta.dir}/../../deployments/monitoring`;

/** An alert rule. */
export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export const alerts = (): Alert[] =>
  (parse(readFileSync(`${folder}/alerts.yaml`, "utf8")) as { groups: { rules: Alert[] }[] }).groups.flatMap(
    ({ rules }) => rules,
  );

/** The text of the alerts' own tests. */
export const alertTests = (): string => readFileSync(`${folder}/alerts.test.yaml`, "utf8");

/** A panel of the dashboard, as far as it is tested. */
export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export const dashboard = (): Dashboard => JSON.parse(readFileSync(`${folder}/dashboard.json`, "utf8")) as Dashboard;

/** Every expression of the dashboard, with its variables as Grafana fills them in. */
export function dashboardExpressions(): string[] {
  const { panels, annotations } = dashboard();
  const written = [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...annotations.list.map(({ expr }) => expr),
  ];
  return written.map((expr) => expr.replaceAll("$__rate_interval", "4m").replaceAll(/\$(instance|resource)\b/g, ".*"));
}
