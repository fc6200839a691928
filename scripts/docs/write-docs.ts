// Writes what the docs say from the tables that the program itself uses: docs/reference/config.md, the config's JSON Schema, the
// tables of docs/reference/metrics.md and of the README, and pictures of what the commands print.
// Also what the manifests have of deployments/monitoring: the PrometheusRule, the Helm chart's copies.
// With --check: fails when a file is stale.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { entryFields } from "../../src/config/config-schema.ts";
import { apiServerLimits, limits } from "../../src/limits.ts";
import { deviceTypes } from "../../src/pools/device-types.ts";
import { type Selector, type SelectorName, selectors } from "../../src/pools/selectors.ts";
import type { Discovered } from "../../src/cli/commands/discover.ts";
import { argumentsOf } from "../common/arguments.ts";
import { exampleConfig } from "./example.ts";
import { alertsPage, chartCopy, prometheusRule } from "./alerts.ts";
import { commandLinePage } from "./command-line-page.ts";
import { configSchema } from "./config-schema.ts";
import { logsPage } from "./logs-page.ts";
import { metricsPage } from "./metrics-page.ts";
import { exampleOutput } from "./example-output.ts";
import { outputPage, schemaFiles } from "./output-page.ts";
import { overviewPicture } from "./overview-picture.ts";
import { table, withMade } from "./marked.ts";
import { readme } from "./readme.ts";
import { terminalPicture } from "./terminal-picture.ts";

const { values } = argumentsOf("npm run docs -- [--check]", {
  options: { check: { type: "boolean", default: false } },
});

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
      const need = "wrapped" in schema ? fallback : "required";
      return row(`\`${name}\``, v.getDescription(inner) ?? "", need, `\`${example}\``);
    })
    .join("\n");
}

function selectorTable(names: readonly SelectorName[]): string {
  const rows = names.map((name) => {
    const { help, example } = selectors[name] as Selector<unknown>;
    return row(`\`${name}\``, help, `\`${example}\``);
  });
  return [row("selector", "matches", "example"), row("---", "---", "---"), ...rows].join("\n");
}

const typeSections = Object.entries(deviceTypes).map(
  ([name, type]) => `### ${name}

${type.help}.

${selectorTable(type.selectors)}${type.requiredSelectors.length > 0 ? `\n\nRequired: ${type.requiredSelectors.map((each) => `\`${each}\``).join(", ")}.` : ""}`,
);

const text = `# The config file

<!-- Made by npm run docs from the tables in src/; change those and run it. -->

A JSON file, \`/etc/pcidp/config.json\` by default (\`--config-file\`). Comments and trailing commas are allowed, and keys are not case-sensitive.
\`sriovdp validate FILE\` lists all problems of a file. A running plugin loads a changed file by itself; if the file has errors, the previous
config stays active. For completion and checks in editors, set \`"$schema"\` to [config.schema.json](config.schema.json), which
\`sriovdp schema\` prints.

\`\`\`json
{ "resourceList": [{ "resourceName": "sriov_net_A", "selectors": [{ "vendors": ["8086"], "pfNames": ["ens1f0#0-7"] }] }] }
\`\`\`

Each entry of \`resourceList\` is a pool and becomes one resource of the node. A device belongs to the first entry that selects it, and within
the entry to the first selector object that matches. An allocated device stays in its pool until its pod ends. An empty list, or
\`{"resourceList": null}\` as the SR-IOV network operator writes it, is a config without pools.

[deployments/examples/config.yaml](../../deployments/examples/config.yaml) has pools for kernel networking, DPDK, RDMA, InfiniBand and accelerators; the
[guides](../README.md#guides) have one for each purpose.

## Fields of an entry

| field | meaning | default | example |
| --- | --- | --- | --- |
${fieldRows()}
| \`selectors\` | A selector object, or a list of them; the first that matches wins | required | \`[{ "drivers": ["vfio-pci"] }]\` |

The full name of a resource is \`PREFIX/NAME\` and must be unique. \`additionalInfo\` is described with [the environment of
pods](pod-environment.md#additionalinfo), \`preferredAllocation\` with [allocation](allocation.md#which-free-device-a-pod-gets), \`linkHealth\` with
[health](health-and-exclusions.md#health).

## Selectors

A selector object matches a device if all its selectors match; a selector with a list matches if one value does. An empty object, \`{}\`,
matches every device of the type. The order of selectors within an object does not matter.

The order of objects does. Here, devices 154c get no \`/dev/vhost-net\`, since the first object has already claimed them:

\`\`\`json
{
  "resourceName": "intel_net",
  "selectors": [{ "vendors": ["8086"], "devices": ["154c"] }, { "vendors": ["8086"], "needVhostNet": true }]
}
\`\`\`

The other way round the second object would never match, and \`validate\` warns.

### Functions of a PF

\`pfNames\` and \`rootDevices\` take \`PF\` or \`PF#INDEX[-INDEX][,…]\`: all functions of the PF, or those with the listed indexes and inclusive
ranges. Indexes of VFs start at 0; the index of an SF is its sfnum. Several values for one PF add up.

| value | selects |
| --- | --- |
| \`"pfNames": ["netpf0"]\` | all VFs of netpf0 |
| \`"pfNames": ["netpf0#0,2-7,9"]\` | VFs 0, 2 to 7, and 9 |
| \`"rootDevices": ["0000:86:00.0#0-1,3,4"]\` | VFs 0, 1, 3 and 4 of the PF at this address |

As in the upstream plugin, parsing stops at the first part that is not an index or range: \`ens1f0#0-1,x\` selects VFs 0 and 1, with a warning.

### Keys of other device types

A selector object may have keys that its device type does not have, if another selector in it restricts the selection: a non-empty
list of \`vendors\`, \`devices\`, \`drivers\`, \`pciAddresses\`, \`acpiIndexes\`, \`pfNames\`, \`rootDevices\`, \`linkTypes\`, \`ddpProfiles\` or \`pKeys\`. Such
keys are ignored, and a warning says how many devices the object selects.

${typeSections.join("\n\n")}

## Errors and warnings

The file is **rejected** (exit status 2 at start; a running plugin keeps its config) if

- it is not JSON, or has no \`resourceList\`, as \`{}\` and \`null\`;
- a field of an entry has the wrong type, or \`selectors\` is missing;
- a name or prefix is not valid in Kubernetes or in a file name;
- two entries have the same resource, or with \`--use-cdi\` the same spec file;
- \`deviceType\` or \`preferredAllocation\` is unknown;
- a selector object has a misspelled selector, or a key that its type does not have and no selector that restricts it;
- a selector object has both \`isRdma\` and \`vdpaType\`;
- every entry is skipped.

An **entry is skipped**, and the others are used, if its \`selectors\` is empty, or a value inside has the wrong type or form. A running
plugin that already serves the entry rejects the file instead.

A **warning** is logged for

- an unknown or misplaced key, or a duplicate one;
- a value that can never match, such as \`"linkTypes": ["ethernet"]\` or \`"drivers": ["mlx5_ib"]\`;
- a part of \`pfNames\` or \`rootDevices\` that is not an index or range;
- more than one link type, or two resources with the same environment variable;
- on this node: an entry or selector object that selects nothing, or only devices that an earlier one has claimed; a PF that does not exist
  or has no VFs; a range beyond the VFs; an IOMMU group of VFIO devices in several pools.

Warnings about the node are printed by \`validate\`, and logged after the first scan and when a new one appears.

How large a file, and how many entries, is listed with the [limits](limits.md).
`;

const limitsTable = table(
  ["limit", "of", "beyond it"],
  [limits, apiServerLimits].flatMap((each) =>
    Object.values(each).map(({ max, unit, onExceed }) => [max.toLocaleString("en"), unit, onExceed]),
  ),
);

/** A picture of commands in a terminal of this many columns. */
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
  "docs/reference/command-line.md": commandLinePage,
  "docs/reference/limits.md": (before) => withMade(before, { limits: limitsTable }),
  "docs/reference/logs.md": logsPage,
  "deployments/components/metrics/prometheusrule.yaml": prometheusRule,
  "deployments/helm/sriovdp/files/alerts.yaml": () => chartCopy("alerts.yaml"),
  "deployments/helm/sriovdp/files/dashboard.json": () => chartCopy("dashboard.json"),
  "docs/reference/output.md": outputPage,
  ...Object.fromEntries(Object.entries(schemaFiles).map(([name, made]) => [name, () => made])),
  "README.md": readme,
  "docs/reference/config.schema.json": () => `${JSON.stringify(configSchema, null, 2)}\n`,
  ...Object.fromEntries(Object.entries(pictures).map(([name, picture]) => [name, () => picture])),
};

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
