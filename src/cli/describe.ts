// How is a device named, and many of them in one line?

import type { Device, LinkState } from "../host/device.ts";
import { type DeviceKind, kindOf } from "../pools/device-kind.ts";

/** What a device's name is made of: a device of the node, or one of a status. */
export type Described = Pick<Device, "id" | "functionIndex" | "interfaces"> & {
  readonly pf: { readonly address: string; readonly interfaceName: string | null } | null;
} & (Pick<Device, "bus" | "auxType" | "pf" | "pciClass"> | { readonly kind: DeviceKind });

const kindIn = (device: Described): DeviceKind => ("kind" in device ? device.kind : kindOf(device));

/** The device in a few words, without what it is below: "VF 3", "SF 88", "PF". */
const briefLabel = (device: Described): string => {
  const kind = kindIn(device);
  if (kind === "VF" || kind === "SF") return `${kind} ${device.functionIndex ?? "?"}`;
  return kind === "auxiliary" && "auxType" in device ? (device.auxType ?? kind) : kind;
};

/** The device in a few words: "VF 3 of ens1f0", "SF 88 of p0", "PF ens1f0". */
export const deviceLabel = (device: Described): string => runLabel([device]);

/** Neighbors in a few words: "VF 0-31 of ens1f0". */
export function runLabel(run: readonly Described[]): string {
  const [first] = run;
  if (!first) return "";
  const above = first.pf && (first.pf.interfaceName ?? first.pf.address);
  const own = kindIn(first) === "PF" ? first.interfaces[0] : undefined;
  return runKindLabel(run) + (above ? ` of ${above}` : own === undefined ? "" : ` ${own}`);
}

/** "0000:3b:02.0" and "0000:3b:09.7" as "0000:3b:02.0-09.7", "ens1f0v0" and "ens1f0v31" as "ens1f0v0-31"; explain takes it back. */
export function span(first: string, last: string): string {
  if (first === last) return first;
  let same = 0;
  while (same < first.length && first[same] === last[same]) same++;
  const digits = first.includes(":") ? /[0-9a-f.]*$/ : /\d*$/;
  const start = first.slice(0, same).replace(digits, "");
  return `${first}-${last.slice(start.length)}`;
}

/** Cuts a list where `alike` doesn't hold between neighbors. */
export function runsOf<T>(list: readonly T[], alike: (before: T, next: T) => boolean): T[][] {
  const runs: T[][] = [];
  let before: T | undefined;
  for (const each of list) {
    const run = runs.at(-1);
    if (run && before !== undefined && alike(before, each)) run.push(each);
    else runs.push([each]);
    before = each;
  }
  return runs;
}

/** Whether a device is the next function of the same kind below the same PF. */
export const follows = (next: Described, before: Described): boolean =>
  before.pf !== null &&
  next.pf?.address === before.pf.address &&
  kindIn(next) === kindIn(before) &&
  before.functionIndex !== null &&
  next.functionIndex === before.functionIndex + 1;

/** What neighbors are called together: "VF 0-31", "SF 88". */
export function runKindLabel(run: readonly Described[]): string {
  const [first] = run;
  const last = run.at(-1);
  if (!first || !last) return "";
  return run.length === 1 ? briefLabel(first) : `${kindIn(first)} ${first.functionIndex}-${last.functionIndex}`;
}

/** Ids of neighbors: "0000:3b:02.0-09.7". */
export const runIdRange = (run: readonly Described[]): string => span(run[0]?.id ?? "", run.at(-1)?.id ?? "");

/** A link in one or two words: "up", "no carrier", "admin down". */
export function linkOf(link: LinkState | null): string | null {
  if (!link) return null;
  if (!link.adminUp) return "admin down";
  return link.carrier === false ? "no carrier" : link.operstate;
}

/** Values, indexes in a row as one: "ens1f0#0", "ens1f0#1", "ens1f0#2" as "ens1f0#0-2". */
export function compact(values: readonly string[]): string[] {
  const parts = values.map((value) => /^(.*#)(\d+)$/.exec(value) ?? [value, value, ""]);
  const runs = runsOf(
    parts,
    ([, name, index], [, next, other]) => name === next && index !== "" && Number(other) === Number(index) + 1,
  );
  return runs.map((run) => {
    const [, name = "", index = ""] = run[0] ?? [];
    return run.length === 1 ? name + index : `${name}${index}-${run.at(-1)?.[2]}`;
  });
}

/** The first few of many values: "a, b, c and 12 more". */
export function firstFew(values: readonly string[], most = 4): string {
  const more = values.length - most;
  return more > 1 ? `${values.slice(0, most).join(", ")} and ${more} more` : values.join(", ");
}

/** What the first and the last of neighbors have, as one text; "" where the first has nothing. */
export function spanOf<T>(run: readonly T[], fact: (each: T) => string | null | undefined): string {
  const [first] = run;
  const last = run.at(-1);
  return first !== undefined && last !== undefined ? span(fact(first) ?? "", fact(last) ?? "") : "";
}
