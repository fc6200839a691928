// `discover`: what does the node have, and which pool is it in? PFs with what is below them, and why a function that
// could be offered is not.

import { existsSync } from "node:fs";
import type { Device } from "../../host/device.ts";
import { kindOf } from "../../pools/device-kind.ts";
import { readIommuGroup } from "../../host/userspace.ts";
import { exclusionsOf } from "../../pools/device-types.ts";
import type { Pool } from "../../pools/pool.ts";
import { follows, linkOf, runIdRange, runKindLabel, runsOf, spanOf } from "../describe.ts";
import { deviceState, isConfigNamed, loadConfigFile, viewNode, runningView, scan, type View } from "../view.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";
import { type Cell, type Column, type Fitted, fittedTable, type Style } from "../table.ts";

/** A device as `discover -o json` prints it. */
export type Discovered = ReturnType<typeof discovered>;

/** Puts a device's facts, its place and its state together. */
function discovered(root: string, device: Device, owner: Pool | undefined, view: View) {
  return {
    kind: kindOf(device),
    ...device,
    iommuGroup: readIommuGroup(root, device.pci),
    ...deviceState(device, owner, view),
  };
}

/** `discover`: prints the node's devices. Works without a config file too, which then says nothing of pools. */
export async function discover(line: CommandLine, output: Output): Promise<number> {
  const { root } = pathsOf(line);
  const { view, status } = await viewWithoutNeed(line, output);
  const owners = new Map(view.pools.flatMap((pool) => [...pool.claims.keys()].map((id) => [id, pool] as const)));
  const found = view.devices.map((device) => discovered(root, device, owners.get(device.id), view));
  // Of an instance only matters whether it is the same as before.
  const data = found.map((device) =>
    Object.fromEntries(Object.entries(device).filter(([name]) => name !== "instance")),
  );
  const style = styleOf(line, output);
  await print(output, line.options.output, data, () =>
    found.length === 0
      ? "no network or accelerator function was found\n"
      : deviceTable(found, { ...style, all: line.options.all, pooled: view.pools.length > 0 }),
  );
  return status;
}

/** The node with its pools, or without them where there is no config. */
async function viewWithoutNeed(
  line: CommandLine,
  output: Output,
): Promise<{ readonly view: View; readonly status: number }> {
  const { configFile } = pathsOf(line);
  const status = exitStatus.ok;
  if (isConfigNamed(line)) {
    const { specs } = loadConfigFile(line, output);
    return { view: await viewNode(line, specs ?? [], output), status: specs ? status : exitStatus.operatorMistake };
  }
  const running = await runningView(line);
  if (typeof running !== "string") return { view: running, status };
  const isThere = existsSync(configFile);
  const specs = isThere ? loadConfigFile(line, output).specs : [];
  const view = await scan(line, specs ?? [], running, output);
  if (!isThere) output.err(`note: there is no ${configFile}, so no device is in a pool; name one by --config-file\n`);
  return { view, status: specs ? status : exitStatus.operatorMistake };
}

/** The style of the table. */
interface TableStyle extends Style {
  /** A line for each device. */
  readonly all: boolean;
  /** Whether there are pools at all. */
  readonly pooled: boolean;
}

/** A line of the table: one device, or neighbors that are alike. */
interface Row {
  readonly run: readonly Discovered[];
  readonly isBelow: boolean;
}

const linkTones = { up: "good", "no carrier": "bad", "admin down": "warning", down: "bad" } as const;

function linkCell({ run: [device] }: Row): Cell {
  const link = linkOf(device?.link ?? null);
  const policy = device?.vfLinkState;
  const text = [link, policy === "auto" ? null : policy].filter(Boolean).join(", ");
  // CNIs set the policy when a pod is given the VF.
  if (policy === "disable") return { text, tone: "dim" };
  // A VF's own interface is down while it is unused.
  const isQuiet = device?.pf != null && link === "admin down";
  return { text, tone: isQuiet ? "dim" : (linkTones[link as keyof typeof linkTones] ?? "plain") };
}

function poolCell({ run: [device] }: Row, pooled: boolean, { terse }: Fitted): Cell {
  if (!device) return "";
  if (device.pool !== null) {
    return device.unhealthyReason === null
      ? { text: device.pool, tone: "good" }
      : { text: `${device.pool}, Unhealthy${terse ? "" : `: ${device.unhealthyReason}`}`, tone: "bad" };
  }
  const { withheld, allocation } = device;
  if (withheld && allocation)
    return { text: `withheld: allocated to ${allocation.pod} as ${allocation.resource}`, tone: "warning" };
  const brief = exclusionsOf(device).map((each) => each.brief);
  if (brief.length > 0) return { text: `excluded: ${brief.join(", ")}`, tone: "warning" };
  return { text: pooled ? "not selected" : "", tone: "dim" };
}

const pfName = ([device]: readonly Discovered[]): string =>
  device?.kind === "PF" && device.interfaces.length > 0 ? ` ${device.interfaces[0]}` : "";

const columnsFor = ({ pooled }: TableStyle): readonly Column<Row>[] => [
  { title: "DEVICE", cell: ({ run, isBelow }) => (isBelow ? "  " : "") + runIdRange(run) },
  // Where no column has the interface, a PF's kind names it.
  {
    title: "WHAT",
    cell: ({ run }, { hidden }) => runKindLabel(run) + (hidden.includes("INTERFACE") ? pfName(run) : ""),
  },
  { title: "INTERFACE", cell: ({ run }) => spanOf(run, ({ interfaces }) => interfaces.join(",")), yields: 2 },
  { title: "ID", cell: ({ run: [device] }) => `${device?.vendor}:${device?.product}`, yields: 6 },
  { title: "DRIVER", cell: ({ run: [device] }) => device?.driver ?? "", always: true },
  { title: "LINK", cell: linkCell, yields: 1 },
  { title: "NUMA", cell: ({ run: [device] }) => String(device?.numaNode ?? ""), yields: 4 },
  { title: "PCIE ROOT", cell: ({ run: [device] }) => device?.pcieRoot ?? "", yields: 8 },
  { title: "IOMMU", cell: ({ run }) => spanOf(run, ({ iommuGroup }) => iommuGroup), yields: 7 },
  {
    title: "RDMA",
    cell: ({ run }) => spanOf(run, ({ rdma }) => rdma && (rdma.names.join(",") || "in a pod")),
    yields: 3,
  },
  { title: "VDPA", cell: ({ run: [device] }) => device?.vdpa?.type ?? device?.vdpa?.name ?? "", yields: 5 },
  { title: "ALLOCATED TO", cell: ({ run: [device] }) => device?.allocation?.pod ?? "", yields: 1.5 },
  { title: "POOL", cell: (row, fitted) => poolCell(row, pooled, fitted) },
];

/** What makes neighbors differ: everything that one line for them all could not say. */
const alike = (a: Discovered, b: Discovered): boolean =>
  follows(b, a) &&
  sameText(a, b, (each) => [
    ...[each.vendor, each.product, each.driver, linkOf(each.link), each.vfLinkState, each.numaNode, each.pcieRoot],
    ...[each.interfaces.length, each.iommuGroup === null, each.rdma?.names.length, each.vdpa?.type, each.linkType],
    ...[each.pool, each.unhealthyReason, each.excluded, each.allocation?.pod, each.withheld],
  ]);

const sameText = <T>(a: T, b: T, facts: (each: T) => unknown): boolean =>
  JSON.stringify(facts(a)) === JSON.stringify(facts(b));

/** PFs, each followed by its VFs and SFs by their index; neighbors that are alike are one line. */
export function rowsOf(found: readonly Discovered[], all: boolean): Row[] {
  const shown = found.filter(({ kind }) => all || kind !== "auxiliary");
  const ids = new Set(shown.map(({ id }) => id));
  const above = ({ pf }: Discovered) => (pf !== null && ids.has(pf.address) ? pf.address : null);
  const below = Map.groupBy(shown, above);
  const rows: Row[] = [];
  const add = (device: Discovered, isBelow: boolean) => {
    rows.push({ run: [device], isBelow });
    const functions = (below.get(device.pci) ?? []).filter(({ id }) => id !== device.id);
    if (device.bus !== "pci") return;
    functions.sort((a, b) => order(a) - order(b) || (a.functionIndex ?? 0) - (b.functionIndex ?? 0));
    for (const run of runsOf(functions, (before, next) => !all && alike(before, next))) {
      const [first] = run;
      if (run.length === 1 && first) add(first, true);
      else rows.push({ run, isBelow: true });
    }
  };
  for (const device of below.get(null) ?? []) add(device, false);
  return rows;
}

const order = ({ kind }: Discovered): number => ["VF", "SF", "auxiliary"].indexOf(kind);

/** The devices of a node, with as many columns as the terminal has room for. */
export const deviceTable = (found: readonly Discovered[], style: TableStyle): string =>
  fittedTable(columnsFor(style), rowsOf(found, style.all), style);
