// Writes what the docs say from the tables that the program itself uses: docs/reference/config.md, the config's JSON Schema, the
// tables of docs/reference/metrics.md and of the README, and pictures of what the commands print.
// Also what the manifests have of deployments/monitoring: the PrometheusRule, the Helm chart's copies.
// With --check: fails when a file is stale.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { entryFields } from "../../src/config/config-schema.ts";
import { limits } from "../../src/limits.ts";
import { deviceTypes } from "../../src/pools/device-types.ts";
import { type Selector, type SelectorName, selectors } from "../../src/pools/selectors.ts";
import type { Discovered } from "../../src/cli/commands/discover.ts";
import { argumentsOf } from "../common/arguments.ts";
import { exampleConfig } from "./example.ts";
import { alertsPage, chartCopy, prometheusRule } from "./alerts.ts";
import { configSchema } from "./config-schema.ts";
import { logsPage } from "./logs-page.ts";
import { metricsPage } from "./metrics-page.ts";
import { exampleOutput } from "./example-output.ts";
import { overviewPicture } from "./overview-picture.ts";
import { readme } from "./readme.ts";
import { terminalPicture } from "./terminal-picture.ts";

const fieldExamples: Readonly<Record<keyof typeof entryFields, string>> = {
  resourceName: '"sriov_net_A"',
  resourcePrefix: '"yourcompany.com"',
  deviceType: '"accelerator"',
  excludeTopology: "true",
  additionalInfo: '{ "*": { "token": "…" } }',
  linkHealth: "false",
  iommufd: "true",
  preferredAllocation: '"packed"',
};

const row = (...cells: string[]) => `| ${cells.join(" | ")} |`;

function fieldRows(): string {
  return Object.entries(entryFields)
    .map(([name, schema]) => {
      const inner = "wrapped" in schema ? schema.wrapped : schema;
      const fallback =
        "default" in schema && schema.default !== undefined ? `\`${JSON.stringify(schema.default)}\`` : "";
      const example = fieldExamples[name as keyof typeof entryFields];
      const need = "wrapped" in schema ? fallback : "must be given";
      return row(`\`${name}\``, v.getDescription(inner) ?? "", need, `\`${example}\``);
    })
    .join("\n");
}

function selectorTable(names: readonly SelectorName[]): string {
  const rows = names.map((name) => {
    const { help, example } = selectors[name] as Selector<unknown>;
    return row(`\`${name}\``, help, `\`${example}\``);
  });
  return [row("selector", "what it looks at", "example"), row("---", "---", "---"), ...rows].join("\n");
}

const typeSections = Object.entries(deviceTypes).map(
  ([name, type]) => `### ${name}

${type.help}.

${selectorTable(type.selectors)}${type.requiredSelectors.length > 0 ? `\n\nMust be given: ${type.requiredSelectors.map((each) => `\`${each}\``).join(", ")}.` : ""}`,
);

const text = `# The config file

<!-- Made from the tables in src/; change those and run "npm run docs". -->

A JSON file, by default \`/etc/pcidp/config.json\`. Comments and trailing commas are allowed; keys are known without regard to
case. \`sriovdp validate --config-file FILE\` lists all problems of a file; a running plugin takes a changed file up by
itself, and keeps the running config when the new one has errors. Editors complete and check a file that names
[config.schema.json](config.schema.json) (\`sriovdp schema\` prints it) as its \`"$schema"\`.

\`\`\`json
{ "resourceList": [{ "resourceName": "sriov_net_A", "selectors": [{ "vendors": ["8086"], "pfNames": ["ens1f0#0-7"] }] }] }
\`\`\`

An empty \`resourceList\` offers nothing, and so does \`{"resourceList": null}\`, which the SR-IOV operator writes. Devices go to the first entry that wants them, and in it to the first selector
object; a device that a pod holds stays where the pod got it from.

## Fields of an entry

| field | meaning | default | example |
| --- | --- | --- | --- |
${fieldRows()}
| \`selectors\` | A selector object, or a list of them that are tried in order | must be given | \`[{ "drivers": ["vfio-pci"] }]\` |

The resource's full name is \`PREFIX/NAME\`, and must be unique. Values of \`additionalInfo\` go to the container's INFO
variable, those below \`"*"\` for every device, those below a device id on top of them; they are never logged.
What \`preferredAllocation\` does stands in [allocation.md](allocation.md#which-free-device-a-pod-gets).

## Selectors

All selectors of an object must match; within a list one value must. An empty object, \`{}\`, matches every device of the type.

\`pfNames\` and \`rootDevices\` are written \`PF\` or \`PF#INDEX[-INDEX][,…]\`: all functions below the PF, or those with the indexes
and inclusive ranges given; an SF's index is its number (sfnum). Several entries for one PF add up. As in the upstream
plugin, the parts of an entry count up to the first that is not an index or range: \`ens1f0#0-1,x\` selects VFs 0 and 1, with a
warning.

An object may have keys that the type does not have, as long as a selector beside them restricts it: a list of \`vendors\`,
\`devices\`, \`drivers\`, \`pciAddresses\`, \`acpiIndexes\`, \`pfNames\`, \`rootDevices\`, \`linkTypes\`, \`ddpProfiles\` or \`pKeys\`
that the type has and that is not empty. Such keys are ignored with a warning that says how many devices the object selects.

${typeSections.join("\n\n")}

## Errors and warnings

| finding | consequence |
| --- | --- |
| not JSON; no \`resourceList\`, as in \`{}\` and \`null\`; a wrong type in a field of an entry; a name or prefix that Kubernetes or the file system could not take; a resource named twice, or with \`--use-cdi\` two whose specs would be one file; an unknown \`deviceType\` or \`preferredAllocation\`; \`selectors\` missing; in a selector object a near miss of a selector's name, or another key that the type does not have while nothing beside it restricts the object; \`isRdma\` with \`vdpaType\`; every entry skipped | the file is refused: exit status 2 at start, and a running plugin goes on with the config that it has |
| \`selectors\` empty; a value inside \`selectors\` of the wrong type or form | the entry is skipped, the others run; a running plugin that serves the entry refuses the file |
| an unknown or misplaced key; a key given twice; a value that can never match, as \`"linkTypes": ["ethernet"]\` or \`"drivers": ["mlx5_ib"]\`; a part of \`pfNames\` or \`rootDevices\` that is not an index or range; more than one link type; two resources with one environment variable | a warning |
| on this node: an entry or a selector object that selects nothing, or only what an earlier one selects; a PF that is not there or has no VFs; a range beyond the VFs; an IOMMU group of VFIO devices in several pools | a warning of \`validate\`, and in the log: after the first scan, and when a new one comes up |

## Limits

| at most | of | what is beyond |
| --- | --- | --- |
${Object.values(limits)
  .map(({ max, unit, onExceed }) => row(max.toLocaleString("en"), unit, onExceed))
  .join("\n")}

Whatever is beyond a limit, the pools that have nothing to do with it go on.
`;

/** A picture of commands in a terminal of so many columns. */
async function session(title: string, columns: number, ...commands: readonly (readonly string[])[]): Promise<string> {
  const shown = commands.map(async (args) => ({
    command: ["sriovdp", ...args].join(" "),
    output: await exampleOutput(args, columns),
  }));
  return terminalPicture(title, columns, await Promise.all(shown));
}

const pictures = {
  "docs/pictures/overview.svg": overviewPicture(
    JSON.parse(await exampleOutput(["discover", "-o", "json"], null)) as Discovered[],
    exampleConfig.resourceList,
  ),
  "docs/pictures/discover.svg": await session("sriovdp discover: PFs, what is below them, and their pools", 124, [
    "discover",
  ]),
  "docs/pictures/explain.svg": await session(
    "sriovdp explain: why a VF is in its pool, and what is in a pool",
    124,
    ["explain", "ens1f0v1"],
    ["explain", "intel.com/dpdk_vfs"],
  ),
};

/** What each file is to hold, from what it holds. */
const made: Readonly<Record<string, (before: string) => string>> = {
  "docs/reference/config.md": () => text,
  "docs/reference/metrics.md": metricsPage,
  "docs/reference/alerts.md": alertsPage,
  "docs/reference/logs.md": logsPage,
  "deployments/components/metrics/prometheusrule.yaml": prometheusRule,
  "deployments/helm/sriovdp/files/alerts.yaml": () => chartCopy("alerts.yaml"),
  "deployments/helm/sriovdp/files/dashboard.json": () => chartCopy("dashboard.json"),
  "README.md": readme,
  "docs/reference/config.schema.json": () => `${JSON.stringify(configSchema, null, 2)}\n`,
  ...Object.fromEntries(Object.entries(pictures).map(([name, picture]) => [name, () => picture])),
};

const { values } = argumentsOf("npm run docs -- [--check]", {
  options: { check: { type: "boolean", default: false } },
});

const stale = Object.entries(made).filter(([name, make]) => {
  const path = `${import.meta.dir}/../../${name}`;
  const before = existsSync(path) ? readFileSync(path, "utf8") : "";
  const now = make(before);
  if (now !== before && !values.check) writeFileSync(path, now);
  return now !== before;
});
if (stale.length > 0 && values.check) {
  console.error(`stale: ${stale.map(([name]) => name).join(", ")}; run "npm run docs" and commit what changes`);
  process.exit(1);
}
