// `discover`: what does the node have, and which pool is it in? PFs with what is below them, and why a function that
// could be offered is not.

import { existsSync } from "node:fs";
import type { Device } from "../../host/device.ts";
import { readIommuGroup } from "../../host/userspace.ts";
import { barsOf } from "../../pools/device-types.ts";
import type { Pool } from "../../pools/pool.ts";
import { runKindLabel, follows, runIdRange, kindOf, linkOf, runsOf, span } from "../describe.ts";
import { loadConfigFile, look } from "../view.ts";
import { exitStatus, type Output, print } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";
import { type Cell, displayWidth, paint, type Style, table } from "../table.ts";

/** A device as `discover -o json` prints it. */
export type Discovered = ReturnType<typeof discovered>;

/** Puts a device's facts, its place and its state together. */
function discovered(root: string, device: Device, pool: Pool | undefined) {
  const unhealthy = pool?.unhealthy.get(device.id) ?? null;
  return {
    kind: kindOf(device),
    ...device,
    iommuGroup: readIommuGroup(root, device.pci),
    pool: pool?.spec.resource ?? null,
    health: pool ? (unhealthy === null ? ("Healthy" as const) : ("Unhealthy" as const)) : null,
    unhealthy,
    /** Sentences. */
    notOffered: barsOf(device).map(({ sentence }) => sentence),
  };
}

/** `discover`: prints the node's devices. Works without a config file too, which then says nothing of pools. */
export async function discover(line: CommandLine, output: Output): Promise<number> {
  const { root, configFile } = pathsOf(line);
  const isThere = line.given.has("config-file") || existsSync(configFile);
  const loaded = isThere ? loadConfigFile(line, output) : null;
  const specs = loaded?.specs ?? [];
  const { devices, pools } = await look(line, specs, output);
  const owners = new Map(pools.flatMap((pool) => [...pool.claims.keys()].map((id) => [id, pool] as const)));
  const found = devices.map((device) => discovered(root, device, owners.get(device.id)));
  // Of an instance only matters whether it is the same as before.
  const data = found.map((device) =>
    Object.fromEntries(Object.entries(device).filter(([name]) => name !== "instance")),
  );
  await print(output, line.options.output, data, () =>
    found.length === 0
      ? "no network or accelerator function was found\n"
      : deviceTable(found, { ...output, all: line.options.all, pooled: specs.length > 0 }),
  );
  if (!isThere) output.err(`note: there is no ${configFile}, so no device is in a pool; --config-file names another\n`);
  return loaded && !loaded.specs ? exitStatus.operatorMistake : exitStatus.ok;
}

/** How the table is to look. */
interface TableStyle extends Style {
  /** A line for each device. */
  readonly all: boolean;
  /** Whether there are pools at all. */
  readonly pooled: boolean;
  /** Whether there is no room for reasons of bad health. */
  readonly terse?: boolean;
  /** Whether a PF's kind is to name its interface, for want of a column that does. */
  readonly named?: boolean;
}

/** A line of the table: one device, or neighbours that are alike. */
interface Row {
  readonly run: readonly Discovered[];
  readonly isBelow: boolean;
}

/** A column: what stands in it for one line; "" where nothing applies. */
interface Column {
  readonly title: string;
  readonly cell: (row: Row, style: TableStyle) => Cell;
  /** Left out when there is no room, the largest first; columns without stay. */
  readonly yields?: number;
}

/** What the first and the last of neighbours have, as one text. */
const spanOf = (run: readonly Discovered[], fact: (device: Discovered) => string | null | undefined): string => {
  const [first] = run;
  const last = run.at(-1);
  return first && last ? span(fact(first) ?? "", fact(last) ?? "") : "";
};

const linkTones = { up: "good", "no carrier": "bad", "admin down": "doubt", down: "bad" } as const;

function linkCell({ run: [device] }: Row): Cell {
  const link = linkOf(device?.link ?? null);
  const policy = device?.vfLinkState;
  const text = [link, policy === "auto" ? null : policy].filter(Boolean).join(", ");
  // CNIs set the policy when a pod is given the VF.
  if (policy === "disable") return { text, tone: "quiet" };
  // A VF's own interface is down while nobody uses it.
  const isQuiet = device?.pf != null && link === "admin down";
  return { text, tone: isQuiet ? "quiet" : (linkTones[link as keyof typeof linkTones] ?? "plain") };
}

function poolCell({ run: [device] }: Row, { pooled, terse = false }: TableStyle): Cell {
  if (!device) return "";
  if (device.pool !== null) {
    return device.unhealthy === null
      ? { text: device.pool, tone: "good" }
      : { text: `${device.pool}, Unhealthy${terse ? "" : `: ${device.unhealthy}`}`, tone: "bad" };
  }
  const bars = barsOf(device).map(({ brief }) => brief);
  if (bars.length > 0) return { text: `excluded: ${bars.join(", ")}`, tone: "doubt" };
  return { text: pooled ? "not selected" : "", tone: "quiet" };
}

const pfName = ([device]: readonly Discovered[]): string =>
  device?.kind === "PF" && device.interfaces.length > 0 ? ` ${device.interfaces[0]}` : "";

const columns: readonly Column[] = [
  { title: "DEVICE", cell: ({ run, isBelow }) => (isBelow ? "  " : "") + runIdRange(run) },
  { title: "WHAT", cell: ({ run }, { named }) => runKindLabel(run) + (named ? pfName(run) : "") },
  { title: "INTERFACE", cell: ({ run }) => spanOf(run, ({ interfaces }) => interfaces.join(",")), yields: 2 },
  { title: "ID", cell: ({ run: [device] }) => `${device?.vendor}:${device?.product}`, yields: 6 },
  { title: "DRIVER", cell: ({ run: [device] }) => device?.driver ?? "" },
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
  { title: "POOL", cell: poolCell },
];

/** What makes neighbours differ: everything that one line for them all could not say. */
const alike = (a: Discovered, b: Discovered): boolean =>
  follows(b, a) &&
  sameText(a, b, (each) => [
    ...[each.vendor, each.product, each.driver, linkOf(each.link), each.vfLinkState, each.numaNode, each.pcieRoot],
    ...[each.interfaces.length, each.iommuGroup === null, each.rdma?.names.length, each.vdpa?.type, each.linkType],
    ...[each.pool, each.unhealthy, each.notOffered],
  ]);

const sameText = <T>(a: T, b: T, facts: (each: T) => unknown): boolean =>
  JSON.stringify(facts(a)) === JSON.stringify(facts(b));

/** PFs, each followed by its VFs and SFs by their index; neighbours that are alike are one line. */
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

/** The room that the last column has at least, before other columns yield to it. */
const poolRoom = 32;

/** The devices of a node, with as many columns as the terminal has room for. */
export function deviceTable(found: readonly Discovered[], style: TableStyle): string {
  const rows = rowsOf(found, style.all);
  const filled = columns
    .map((column) => ({ ...column, cells: rows.map((row) => column.cell(row, style)) }))
    .filter(({ title, cells }) => title === "DRIVER" || cells.some((cell) => textOf(cell) !== ""));
  const widthOf = ({ title, cells }: (typeof filled)[number]) =>
    Math.max(...[title, ...cells.map(textOf)].map(displayWidth)) + 2;
  const room = style.columns ?? Infinity;
  const yielding = filled
    .filter(({ yields }) => yields !== undefined)
    .sort((a, b) => (a.yields ?? 0) - (b.yields ?? 0));
  const left: string[] = [];
  const isKept = ({ title }: Column) => !left.includes(title);
  const needed = () =>
    filled
      .filter(isKept)
      .reduce(
        (sum, column) => sum + (column.title === "POOL" ? Math.min(widthOf(column), poolRoom) : widthOf(column)),
        -2,
      );
  while (needed() > room && yielding.length > 0) left.push(yielding.pop()?.title ?? "");
  const kept = filled.filter(isKept);
  const wide = kept.reduce((sum, column) => sum + widthOf(column), -2);
  const fitting = { ...style, named: left.includes("INTERFACE"), terse: wide > room };
  const shown = table(
    kept.map(({ title }) => title),
    rows.map((row) => kept.map(({ cell }) => dash(cell(row, fitting)))),
    style,
  );
  const order = filled.map(({ title }) => title).filter((title) => left.includes(title));
  const note = `columns hidden: terminal too narrow: ${order.join(", ")}; -o yaml has everything`;
  return shown + (left.length > 0 ? `${paint(note, "quiet", style)}\n` : "");
}

const textOf = (cell: Cell): string => (typeof cell === "string" ? cell : cell.text);

const dash = (cell: Cell): Cell => (textOf(cell) === "" ? { text: "-", tone: "quiet" } : cell);
