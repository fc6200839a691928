// What else is made of deployments/monitoring/alerts.yaml? The runbook page, a table for docs/reference/metrics.md, the PrometheusRule object, and
// the copies of alerts and dashboard that the Helm chart has, since a chart holds no files from outside its folder.

import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { table } from "./marked.ts";

const monitoring = `${import.meta.dir}/../../deployments/monitoring`;
const source = (name: string): string => readFileSync(`${monitoring}/${name}`, "utf8");

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly for?: string;
      readonly labels: { readonly severity: string };
      readonly annotations: { readonly summary: string; readonly description: string; readonly action: string };
    }[];
  }[];
}

const rules = () => (parse(source("alerts.yaml")) as Rules).groups.flatMap((group) => group.rules);

/** An annotation for readers: `{{ $labels.resource }}` becomes RESOURCE, `{{ printf … }}` N. */
const inPage = (text: string): string =>
  text
    .trim()
    .replaceAll(/{{ *\$labels\.(\w+) *}}/g, (_, label: string) => label.toUpperCase())
    .replaceAll(/{{ *printf [^}]*}}/g, "N");

/** The alerts in brief, each linked to its section of docs/reference/alerts.md. */
export const alertTable = (): string =>
  table(
    ["alert", "severity", "after", "meaning"],
    rules().map(({ alert, labels, annotations, ...rule }) => [
      `[${alert}](alerts.md#${alert.toLowerCase()})`,
      labels.severity,
      rule.for ?? "at once",
      inPage(annotations.description),
    ]),
  );

/** docs/reference/alerts.md: a section for each alert, to which its runbook_url leads. */
export function alertsPage(): string {
  const sections = rules().map(
    ({ alert, expr, labels, annotations, ...rule }) => `## ${alert}

${inPage(annotations.summary)}

| severity | fires after |
| --- | --- |
| ${labels.severity} | ${rule.for ?? "at once"} |

**Meaning.** ${inPage(annotations.description)}

**What to do.** ${inPage(annotations.action)}

\`\`\`text
${expr.trim()}
\`\`\``,
  );
  return `# Alerts

<!-- Made from deployments/monitoring/alerts.yaml; change that and run "npm run docs". -->

A runbook for each alert of [deployments/monitoring/alerts.yaml](../../deployments/monitoring/alerts.yaml); [metrics.md](metrics.md#alerts-and-dashboard) describes how to load
them. INSTANCE is the address of the node's plugin, RESOURCE the name of a pool, N a number.

${sections.join("\n\n")}
`;
}

/** The alerts as the object that the Prometheus operator reads. */
export const prometheusRule = (): string => `# Made from monitoring/alerts.yaml; change that and run "npm run docs".
# For clusters with the Prometheus operator; not part of the component, since elsewhere the kind is unknown.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sriov-device-plugin
  namespace: kube-system
  labels:
    app: sriovdp
    app.kubernetes.io/name: sriovdp
    app.kubernetes.io/component: device-plugin
spec:
${source("alerts.yaml")
  .replaceAll(/^#.*\n/gm, "")
  .replaceAll(/^(?=.)/gm, "  ")}`;

/** The chart's copy of a file of deployments/monitoring. */
export const chartCopy = (name: string): string => source(name);
