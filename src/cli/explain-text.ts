// How is an explanation told to a person? A device: pool by pool, test by test. A pool: what it has, and all else summed up.

import { counted, oneLine } from "../text.ts";
import type { Device } from "../host/device.ts";
import { notableLinkRule } from "../pools/health.ts";
import type { PoolStory, Refusal, Trial, PoolVerdict } from "../pools/explanation.ts";
import { runLabel, deviceLabel, compact, firstFew, follows, runIdRange, runsOf } from "./describe.ts";
import { type Cell, paint, type Style, table } from "./table.ts";

/** How an explanation is to look. */
export interface ExplanationStyle extends Style {
  /** A line for each device. */
  readonly all: boolean;
}

const indented = (text: string, by: number): string => text.replaceAll(/^(?=.)/gm, " ".repeat(by));

/** Why a device is where it is. */
export function deviceText(device: Device, verdicts: readonly PoolVerdict[], style: Style): string {
  const owner = verdicts.find(({ outcome }) => outcome === "taken");
  const state = owner?.reasons[0] ?? "Healthy";
  const place = owner
    ? paint(`in ${owner.resource}, ${state}`, owner.reasons.length > 0 ? "bad" : "good", style)
    : paint("in no pool", "doubt", style);
  const what = oneLine(`${deviceLabel(device)}, driver ${device.driver ?? "none"}`);
  const rule = notableLinkRule(device);
  const link = rule === null ? "" : `  link: ${oneLine(rule)}\n`;
  const head = `${paint(device.id, "head", style)} is ${what}; it is ${place}\n${link}`;
  if (verdicts.length === 0) return `${head}\n  no pool is configured\n`;
  const parts = verdicts.map((verdict) => indented(verdictText(verdict, style), 2));
  // An empty line around what takes more than one.
  const isLong = (part: string | undefined) => part !== undefined && part.indexOf("\n") < part.length - 1;
  return (
    head +
    parts.map((part, index) => (index === 0 || isLong(part) || isLong(parts[index - 1]) ? "\n" : "") + part).join("")
  );
}

function verdictText({ resource, outcome, reasons, selector, takenBy, trials }: PoolVerdict, style: Style): string {
  const wants = trials.some(({ passes }) => passes);
  const trialTable = indented(trialsText(trials, style), 2);
  if (outcome === "taken") {
    const by = selector === null ? "retains it" : `selects it by selectors[${selector}]`;
    return `${paint(`${resource} ${by}`, "good", style)}\n${trialTable}`;
  }
  if (takenBy !== null && wants) {
    return `${paint(`${resource} selects it too; ${takenBy} claimed it already, listed earlier`, "doubt", style)}\n${trialTable}`;
  }
  const failed = trials.length > 0 && reasons.every((reason) => reason.startsWith("selectors["));
  // Of the right type, and no selector failed: something excludes it from every pool.
  const verb = trials.length > 0 && !failed ? "excludes it" : "does not select it";
  return `${paint(`${resource} ${verb}`, "bad", style)}${failed ? "" : `: ${oneLine(reasons.join("; "))}`}\n${failed ? trialTable : ""}`;
}

/** One line a test: the selector object, the selector, whether it passes, and what it is about. */
function trialsText(trials: readonly Trial[], style: Style): string {
  const rows = trials.flatMap(({ index, tests }) => {
    const name = `selectors[${index}]`;
    if (tests.length === 0) return [[name, "{}", passing(true), "matches every device of the type"] as Cell[]];
    return tests.map(({ selector, wants, has, passes }, place): Cell[] => [
      place === 0 ? name : "",
      selector,
      passing(passes),
      wants.length === 0 ? "expected any" : `expected ${firstFew(wants)}, found ${has}`,
    ]);
  });
  return rows.length === 0 ? "" : table(null, rows, style);
}

const passing = (passes: boolean): Cell => (passes ? { text: "passes", tone: "good" } : { text: "fails", tone: "bad" });

/** What is in a pool, and why each other device of its type isn't. */
export function poolText({ spec, devices, taken, refused, others }: PoolStory, style: ExplanationStyle): string {
  const ill = devices.filter(({ unhealthy }) => unhealthy !== null).length;
  const count = counted(devices.length, "device") + (ill > 0 ? `, ${ill} Unhealthy` : "");
  const tone = devices.length === 0 ? "doubt" : ill > 0 ? "bad" : "good";
  const parts = [`${paint(spec.resource, "head", style)} (${spec.deviceType}) has ${paint(count, tone, style)}\n`];
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
  const held = lines(devices, ({ device, selector, unhealthy }) => [
    `driver ${device.driver ?? "none"}`,
    selector === null ? "allocated to a pod" : `by selectors[${selector}]`,
    unhealthy === null ? { text: "Healthy", tone: "good" } : { text: `Unhealthy: ${unhealthy}`, tone: "bad" },
  ]);
  if (held.length > 0) parts.push(indented(table(null, held, style), 2));
  if (taken.length > 0) {
    const rows = lines(taken, ({ by }) => [{ text: by, tone: "doubt" }]);
    parts.push("\n  also selected, but claimed by pools listed earlier:\n", indented(table(null, rows, style), 4));
  }
  const barred = refused.filter(({ reasons }) => reasons.length > 0);
  if (barred.length > 0) {
    const rows = barred.flatMap(({ reasons, devices: those }) =>
      lines(
        those.map((device) => ({ device })),
        () => [{ text: reasons.join("; "), tone: "doubt" }],
      ),
    );
    parts.push("\n  excluded:\n", indented(table(null, rows, style), 4));
  }
  const failing = refused.filter(({ failed }) => failed.length > 0);
  if (failing.length > 0) {
    parts.push("\n  not selected:\n", ...failing.map((refusal) => indented(refusalText(refusal, style), 4)));
  }
  if (others > 0)
    parts.push(`\n  ${counted(others, "device")} of this node ${others === 1 ? "is" : "are"} of another type\n`);
  if (devices.length + taken.length + refused.length === 0) parts.push("\n  no device of this node is of its type\n");
  return parts.join("");
}

/** Neighbours by their ids and what they are called: "0000:3b:02.0…02.7", "VF 0-7 of ens1f0". */
const who = (run: readonly Device[]): string[] => [runIdRange(run), runLabel(run)];

/** So many lines of devices are told of one refusal; of more than one line beyond that the number of devices is. */
const mostLines = 4;

function refusalText({ failed, devices }: Refusal, style: ExplanationStyle): string {
  const runs = runsOf(devices, (before, next) => !style.all && follows(next, before));
  const told = style.all || runs.length <= mostLines + 1 ? runs : runs.slice(0, mostLines);
  const more = devices.length - told.flat().length;
  const which = table(null, [...told.map(who), ...(more > 0 ? [[`and ${more} more`]] : [])], style);
  const rows = failed.map(({ index, selector, wants, has }, place): Cell[] => [
    failed[place - 1]?.index === index ? "" : `selectors[${index}]`,
    selector,
    passing(false),
    `expected ${firstFew(wants)}, found ${firstFew(compact(has))}`,
  ]);
  return which + indented(table(null, rows, style), 2);
}
