// How is an explanation shown to a person? A device: pool by pool, test by test. A pool: what it has, and all else summed up.

import { counted, oneLine } from "../text.ts";
import type { Device } from "../host/device.ts";
import { notableLinkRule } from "../pools/health.ts";
import type { PoolExplanation, Refusal, Trial, PoolVerdict, Withheld } from "../pools/explanation.ts";
import type { AllocationStatus, ExcludedStatus } from "../telemetry/plugin-status.ts";
import { runLabel, deviceLabel, compact, firstFew, follows, runIdRange, runsOf } from "./describe.ts";
import { type Cell, paint, type Style, table, type Tone, wrapped } from "./table.ts";

/** The style of an explanation, and the running plugin's data about pods. */
export interface ExplanationStyle extends Style {
  /** A line for each device. */
  readonly all: boolean;
  /** Allocated devices by id. */
  readonly allocations: ReadonlyMap<string, AllocationStatus>;
  readonly withheld: Withheld;
}

/** A style for a table that is this many columns further to the right. */
const narrower = (style: Style, by: number): Style => ({
  ...style,
  columns: style.columns === null || style.wide === true ? null : style.columns - by,
});

const indented = (text: string, by: number): string => text.replaceAll(/^(?=.)/gm, " ".repeat(by));

/** Lines of words where the terminal has not the room for one, the further ones indented. */
const folded = (text: string, { columns, wide }: Style): string =>
  wrapped(oneLine(text), wide === true ? Infinity : (columns ?? Infinity) - 2)
    .map((line, index) => `${index === 0 ? "" : "  "}${line}\n`)
    .join("");

/** Why a device is where it is; `exclusions` are those that the running plugin has for it. */
export function deviceText(
  device: Device,
  verdicts: readonly PoolVerdict[],
  exclusions: readonly ExcludedStatus[],
  style: ExplanationStyle,
): string {
  const owner = verdicts.find(({ outcome }) => outcome === "taken");
  const state = owner?.reasons[0] ?? "Healthy";
  const allocation = style.allocations.get(device.id);
  const withheld = style.withheld.get(device.id);
  const place = owner ? `in ${owner.resource}, ${state}` : withheld ? "withheld from all pools" : "in no pool";
  const tone = owner ? (owner.reasons.length > 0 ? "bad" : "good") : "warning";
  const what = `${deviceLabel(device)}, driver ${device.driver ?? "none"}`;
  const rule = notableLinkRule(device);
  const facts = [
    ...(allocation ? [allocationLine(allocation)] : []),
    ...(withheld ? [`next pool: ${withheld.nextPool ?? "none"}, when pod ${withheld.pod || "unknown"} ends`] : []),
    ...exclusions.map(({ reason, since, until }) => `excluded: ${reason}, since ${since}, until ${until}`),
    ...(rule === null ? [] : [`link: ${rule}`]),
  ];
  const first = folded(`${device.id} is ${what}; it is ${place}`, style).trimEnd();
  // The whole sentence is folded first: colors have no width.
  const head = `${paintedIn(first, [device.id, place], ["head", tone], style)}\n${facts.map((fact) => indented(folded(fact, narrower(style, 2)), 2)).join("")}`;
  if (verdicts.length === 0) return `${head}\n  no pool is configured\n`;
  const parts = verdicts.map((verdict) => indented(verdictText(verdict, narrower(style, 2)), 2));
  // An empty line around what takes more than one.
  const isLong = (part: string | undefined) => part !== undefined && part.indexOf("\n") < part.length - 1;
  return (
    head +
    parts.map((part, index) => (index === 0 || isLong(part) || isLong(parts[index - 1]) ? "\n" : "") + part).join("")
  );
}

/** A text that was folded, with some of its pieces in their tones; one that was folded in its middle stays plain. */
function paintedIn(text: string, pieces: readonly string[], pieceTones: readonly Tone[], style: Style): string {
  return pieces.reduce((painted, piece, index) => {
    const at = painted.lastIndexOf(oneLine(piece));
    const tone = pieceTones[index] ?? "plain";
    return at < 0
      ? painted
      : painted.slice(0, at) + paint(piece, tone, style) + painted.slice(at + oneLine(piece).length);
  }, text);
}

function allocationLine({ pod, container, resource, evidence }: AllocationStatus): string {
  const whose = pod === "" ? "a pod that is being admitted" : pod;
  const part = container === "" ? "" : `, container ${container}`;
  return `allocated to ${whose}${part}, as ${resource} (evidence: ${evidence})`;
}

function verdictText({ resource, outcome, reasons, selector, takenBy, trials }: PoolVerdict, style: Style): string {
  const selects = trials.some(({ passes }) => passes);
  const trialTable = indented(trialsText(trials, narrower(style, 2)), 2);
  const line = (text: string, tone: Tone) => paint(text, tone, style);
  if (outcome === "taken") {
    const by = selector === null ? "retains it" : `selects it by selectors[${selector}]`;
    return `${line(`${resource} ${by}`, "good")}\n${trialTable}`;
  }
  const failed = trials.length > 0 && reasons.every((reason) => reason.startsWith("selectors["));
  const isExcluded = trials.length > 0 && !failed && !selects;
  if (selects && (takenBy !== null || reasons[0]?.startsWith("withheld") === true))
    return `${line(`${resource} selects it too; ${reasons.join("; ")}`, "warning")}\n${trialTable}`;
  // Of the right type, and no selector failed: something excludes it from every pool.
  const verb = isExcluded || (selects && !failed) ? "excludes it" : "does not select it";
  const why = failed ? "" : `: ${oneLine(reasons.join("; "))}`;
  const [start = "", ...rest] = folded(`${resource} ${verb}${why}`, style).split("\n");
  const painted = start.startsWith(`${resource} ${verb}`)
    ? line(`${resource} ${verb}`, "bad") + start.slice(`${resource} ${verb}`.length)
    : start;
  return `${[painted, ...rest].join("\n")}${failed ? trialTable : ""}`;
}

/** One line per test: the selector object, the selector, whether it passes, and what it is about. */
function trialsText(trials: readonly Trial[], style: Style): string {
  const rows = trials.flatMap(({ index, tests }) => {
    const name = `selectors[${index}]`;
    if (tests.length === 0) return [[name, "{}", passing(true), "matches every device of the type"] as Cell[]];
    return tests.map(({ selector, expected, found, passes }, place): Cell[] => [
      place === 0 ? name : "",
      selector,
      passing(passes),
      expected.length === 0 ? "expected any" : `expected ${firstFew(expected)}, found ${found}`,
    ]);
  });
  return rows.length === 0 ? "" : table(null, rows, style);
}

const passing = (passes: boolean): Cell => (passes ? { text: "passes", tone: "good" } : { text: "fails", tone: "bad" });

/** What is in a pool, and why each other device of its type isn't. */
export function poolText(
  { spec, devices, taken, withheld, refused, others }: PoolExplanation,
  style: ExplanationStyle,
): string {
  const ill = devices.filter(({ unhealthy }) => unhealthy !== null).length;
  const count = counted(devices.length, "device") + (ill > 0 ? `, ${ill} Unhealthy` : "");
  const tone = devices.length === 0 ? "warning" : ill > 0 ? "bad" : "good";
  const pods = devices.filter(({ device }) => style.allocations.has(device.id)).length;
  const allocated = pods === 0 ? "" : `, ${pods} allocated`;
  const head = folded(`${spec.resource} (${spec.deviceType}) has ${count}${allocated}`, style);
  const parts = [paintedIn(head, [spec.resource, count], ["head", tone], style)];
  const lines = <T extends { readonly device: Device }>(list: readonly T[], cells: (each: T) => Cell[]) =>
    runsOf(
      list,
      (before, next) =>
        !style.all &&
        follows(next.device, before.device) &&
        JSON.stringify(cells(next)) === JSON.stringify(cells(before)),
    ).map((run): Cell[] => {
      const [first] = run;
      return first ? [...who(run.map(({ device }) => device)), ...cells(first)] : [];
    });
  const own = lines(devices, ({ device, selector, unhealthy }) => [
    `driver ${device.driver ?? "none"}`,
    selector === null ? "retained" : `by selectors[${selector}]`,
    stateCell(device, unhealthy, style),
  ]);
  if (own.length > 0) parts.push(indented(table(null, own, narrower(style, 2)), 2));
  if (withheld.length > 0) {
    const rows = lines(withheld, ({ retention: { resource, pod } }) => [
      { text: `allocated to ${pod} as ${resource}`, tone: "warning" },
    ]);
    parts.push(
      "\n  also selected, but withheld until its pod ends:\n",
      indented(table(null, rows, narrower(style, 4)), 4),
    );
  }
  if (taken.length > 0) {
    const rows = lines(taken, ({ by }) => [{ text: by, tone: "warning" }]);
    parts.push(
      "\n  also selected, but claimed by pools listed earlier:\n",
      indented(table(null, rows, narrower(style, 4)), 4),
    );
  }
  const excluded = refused.filter(({ reasons }) => reasons.length > 0);
  if (excluded.length > 0) {
    const rows = excluded.flatMap(({ reasons, devices: those }) =>
      lines(
        those.map((device) => ({ device })),
        () => [{ text: reasons.join("; "), tone: "warning" }],
      ),
    );
    parts.push("\n  excluded:\n", indented(table(null, rows, narrower(style, 4)), 4));
  }
  const failing = refused.filter(({ failed }) => failed.length > 0);
  if (failing.length > 0) {
    parts.push(
      "\n  not selected:\n",
      ...failing.map((refusal) => indented(refusalText(refusal, { ...style, ...narrower(style, 4) }), 4)),
    );
  }
  if (others > 0)
    parts.push(`\n  ${counted(others, "device")} of this node ${others === 1 ? "is" : "are"} of another type\n`);
  if (devices.length + taken.length + refused.length === 0) parts.push("\n  no device of this node is of its type\n");
  return parts.join("");
}

/** The health of a pool's device, and the pod that has it, which only a running plugin can show. */
function stateCell({ id }: Device, unhealthy: string | null, { allocations }: ExplanationStyle): Cell {
  const pod = allocations.get(id)?.pod;
  const allocated = pod === undefined ? "" : `, allocated to ${pod || "a pod"}`;
  return unhealthy === null
    ? { text: `Healthy${allocated}`, tone: "good" }
    : { text: `Unhealthy${allocated}: ${unhealthy}`, tone: "bad" };
}

/** Neighbors by their ids and what they are called: "0000:3b:02.0-02.7", "VF 0-7 of ens1f0". */
const who = (run: readonly Device[]): string[] => [runIdRange(run), runLabel(run)];

/** How many lines of devices a refusal shows; if more than one line would follow, their number of devices is shown. */
const mostLines = 4;

function refusalText({ failed, devices }: Refusal, style: ExplanationStyle): string {
  const runs = runsOf(devices, (before, next) => !style.all && follows(next, before));
  const shown = style.all || runs.length <= mostLines + 1 ? runs : runs.slice(0, mostLines);
  const more = devices.length - shown.flat().length;
  const which = table(null, [...shown.map(who), ...(more > 0 ? [[`and ${more} more`]] : [])], style);
  const rows = failed.map(({ index, selector, expected, found }, place): Cell[] => [
    failed[place - 1]?.index === index ? "" : `selectors[${index}]`,
    selector,
    passing(false),
    `expected ${firstFew(expected)}, found ${firstFew(compact(found))}`,
  ]);
  return which + indented(table(null, rows, narrower(style, 2)), 2);
}
