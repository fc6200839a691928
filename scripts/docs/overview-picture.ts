// What does the program do? The example node on the left, its pools in the middle, what the kubelet and a pod get on the right;
// all from what `discover -o json` says, for pages that are light or dark.

import type { Discovered } from "../../src/cli/commands/discover.ts";
import { element, picture, xml } from "./svg.ts";

/** A pool as the config file has it. */
interface Entry {
  readonly resourceName: string;
  readonly resourcePrefix?: string;
  readonly selectors: Readonly<Record<string, unknown>>;
}

const style = `
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1f2937}
.m{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12px}
.h{font-weight:700;font-size:15px}.s{fill:#5b6675;font-size:12px}
.c{fill:#f6f8fa;stroke:#d0d7de}.n{fill:#c3cad3}.e{fill:none;stroke:#9aa4b1;stroke-width:1.6}
.p0{fill:#2f81f7}.p1{fill:#a371f7}.p2{fill:#1a9e56}.p3{fill:#d98008}.p4{fill:#d6508f}
.l0{stroke:#2f81f7}.l1{stroke:#a371f7}.l2{stroke:#1a9e56}.l3{stroke:#d98008}.l4{stroke:#d6508f}
.l{fill:none;stroke-width:2;stroke-opacity:.75}.x{stroke:#cf3b33;stroke-width:2}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.s{fill:#9aa7b5}.c{fill:#161c24;stroke:#363f4a}.n{fill:#48525e}.e{stroke:#6b7684}}`;

const size = { width: 980, card: 62, gap: 12, top: 62, square: 13 };
const left = { x: 10, width: 312 };
const middle = { x: 398, width: 272 };
const right = { x: 742, width: 228 };

const text = (x: number, y: number, content: string, name?: string): string =>
  element("text", { x, y, class: name }, xml(content));

const card = (x: number, y: number, width: number, height: number): string =>
  element("rect", { class: "c", x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, rx: 8 });

/** A curve from one side to the other. */
const curve = (x1: number, y1: number, x2: number, y2: number, name: string): string => {
  const bend = (x1 + x2) / 2;
  return element("path", { class: name, d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` });
};

const resourceOf = ({ resourcePrefix = "intel.com", resourceName }: Entry): string =>
  `${resourcePrefix}/${resourceName}`;

/** A selector object in a line: "drivers: iavf, pfNames: ens1f0, ens3f0". */
const selectorsIn = ({ selectors }: Entry): string[] =>
  Object.entries(selectors)
    .filter(([name]) => name !== "needVhostNet")
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") : String(value)}`);

/** The picture of a node whose devices `found` are shared out to the pools of `entries`. */
export function overviewPicture(found: readonly Discovered[], entries: readonly Entry[]): string {
  const resources = entries.map(resourceOf);
  const belowOf = (top: Discovered) => found.filter(({ pf, kind }) => pf?.address === top.id && kind !== "auxiliary");
  // In the order of their first pools, so that few lines cross.
  const placeOf = (top: Discovered) => {
    const places = [top, ...belowOf(top)].map(({ pool }) => (pool === null ? Infinity : resources.indexOf(pool)));
    return top.host.defaultRoute === null ? Math.min(...places) : -1;
  };
  const tops = found
    .filter(({ kind }) => kind === "PF" || kind === "accelerator")
    .sort((a, b) => placeOf(a) - placeOf(b));
  const rowY = (index: number) => size.top + index * (size.card + size.gap);
  const poolStep = ((size.card + size.gap) * tops.length - size.gap + size.gap) / entries.length;
  const poolY = (index: number) => size.top + index * poolStep;
  const poolMiddle = (index: number) => poolY(index) + size.card / 2;

  const parts: string[] = [
    text(left.x, 26, "The node", "h"),
    text(left.x, 45, "PFs, VFs, SFs and accelerators, followed as they change", "s"),
    text(middle.x, 26, "Pools", "h"),
    text(middle.x, 45, "made by your selectors", "s"),
    text(right.x, 26, "The kubelet", "h"),
    text(right.x, 45, "hands devices to pods", "s"),
  ];

  for (const [index, top] of tops.entries()) {
    const y = rowY(index);
    const name = top.interfaces[0] ?? top.kind;
    const state = top.link && top.link.carrier === false ? ", no link" : "";
    const isKept = top.host.defaultRoute !== null;
    const below = belowOf(top);
    const shown = below.length > 0 ? below : [top];
    parts.push(
      card(left.x, y, left.width, size.card),
      text(left.x + 14, y + 24, name, "m"),
      element(
        "text",
        { x: left.x + left.width - 14, y: y + 24, class: "s", "text-anchor": "end" },
        `${top.driver}${state}`,
      ),
    );
    const squareX = (place: number) => left.x + 14 + place * (size.square + 6);
    for (const [place, device] of shown.entries()) {
      const pool = resources.indexOf(device.pool ?? "");
      const at = { x: squareX(place), y: y + 36 };
      parts.push(
        element("rect", { ...at, width: size.square, height: size.square, rx: 3, class: pool < 0 ? "n" : `p${pool}` }),
      );
      if (device.health === "Unhealthy") {
        const end = { x: at.x + size.square, y: at.y + size.square };
        parts.push(
          element("path", { class: "x", d: `M${at.x} ${at.y}L${end.x} ${end.y}M${end.x} ${at.y}L${at.x} ${end.y}` }),
        );
      }
    }
    const kinds =
      below.length > 0 ? `${below.length} ${below[0]?.kind}s` : isKept ? "default route: never offered" : "";
    parts.push(text(squareX(shown.length) + 4, y + 47, kinds, "s"));
    for (const [pool, resource] of resources.entries()) {
      if (shown.some((device) => device.pool === resource))
        parts.push(curve(left.x + left.width, y + size.card / 2, middle.x - 1, poolMiddle(pool), `l l${pool}`));
    }
  }

  const kubelet = { y: size.top, height: poolY(entries.length - 1) + size.card - size.top };
  for (const [index, entry] of entries.entries()) {
    const y = poolY(index);
    const resource = resourceOf(entry);
    const own = found.filter(({ pool }) => pool === resource);
    const healthy = own.filter(({ health }) => health === "Healthy").length;
    parts.push(
      card(middle.x, y, middle.width, size.card),
      element("rect", { x: middle.x, y: y + 0.5, width: 6, height: size.card - 1, rx: 3, class: `p${index}` }),
      text(middle.x + 18, y + 24, resource, "m"),
      text(middle.x + 18, y + 46, selectorsIn(entry).join(" · "), "s"),
      element("line", {
        class: `l l${index}`,
        x1: middle.x + middle.width,
        y1: poolMiddle(index),
        x2: right.x - 1,
        y2: poolMiddle(index),
      }),
      card(right.x, y, right.width, size.card),
      text(right.x + 14, y + 24, `allocatable: ${healthy}`, "m"),
      text(
        right.x + 14,
        y + 46,
        healthy < own.length ? `${own.length - healthy} Unhealthy: their PF has no link` : "all Healthy",
        "s",
      ),
    );
  }

  const taken = found.filter(({ pool }) => pool === resources[1]).slice(0, 2);
  const podY = Math.max(kubelet.y + kubelet.height, rowY(tops.length) - size.gap) + 30;
  const given = [
    `PCIDEVICE_${resources[1]?.toUpperCase().replaceAll(/[./]/g, "_")}=${taken.map(({ id }) => id).join(",")}`,
    ...taken.flatMap(({ vfio }) => (vfio?.node ? [vfio.node.path] : [])),
  ];
  parts.push(
    card(left.x, podY, size.width - 2 * left.x, 66),
    element("rect", { x: left.x, y: podY + 0.5, width: 6, height: 65, rx: 3, class: "p1" }),
    text(left.x + 18, podY + 26, `A pod that requests ${resources[1]}: "2" gets`),
    text(left.x + 18, podY + 49, given.join(" · "), "m"),
  );
  return picture(
    size.width,
    podY + 66 + 10,
    "sriovdp groups a node's functions into pools and offers these to the kubelet",
    style,
    ...parts,
  );
}
