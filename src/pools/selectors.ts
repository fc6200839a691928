// By what are devices selected? One row per selector: the form of its value, the fact that it tests, its help.
// A row is all that a new selector needs: the config schema, the checks and the documentation follow.

import * as v from "valibot";
import type { Device } from "../host/device.ts";
import { pciAddressPattern } from "./names.ts";

/** One selector: how its value is written, and whether a device fits a value. */
export interface Selector<T> {
  readonly schema: v.GenericSchema<unknown, T>;
  readonly help: string;
  readonly example: string;
  /** A value as an operator would write it, one text for each alternative. */
  readonly shows: (expected: T) => readonly string[];
  /** What the device has of the tested fact, for explanations: "iavf", "none". */
  readonly has: (device: Device) => string;
  readonly matches: (device: Device, expected: T) => boolean;
  /** Whether whatever device matches the narrow value (undefined: any device) matches the wide one too. */
  readonly covers: (wide: T, narrow: T | undefined) => boolean;
  /** Requests something for containers and selects nothing. */
  readonly isNoCondition?: true;
  /** Whether a list that is not empty narrows what an object selects enough for keys beside it to be ignored. */
  readonly isRestricting?: boolean;
  /** Why a well-formed value is doubtful; one sentence for each warning. */
  readonly warnings?: (expected: T) => readonly string[];
  /** The form of every value of a list that can match anything. */
  readonly pattern?: RegExp;
}

/** A PF, by interface name or address, and the functions below it: all, or those in the inclusive ranges. */
export interface FunctionRange {
  readonly pf: string;
  readonly ranges: readonly (readonly [from: number, to: number])[] | null;
  /** What in the entry is not used, and why; without any range left the entry selects nothing. */
  readonly wrong?: string;
}

type Fact = (device: Device) => string | null | undefined;

const notText = "expected a list of strings";
const names = v.array(v.string("expected a string"), notText);
const quoted = (values: readonly string[]) => values.map((value) => JSON.stringify(value)).join(", ");

/** Warnings about values that no fact can equal: with blanks at their ends, which are invisible, or with wildcards, which do not exist. */
function textWarnings(values: readonly string[]): string[] {
  const blank = values.filter((value) => value.trim() !== value);
  const wild = values.filter((value) => value.includes("*"));
  return [
    ...(blank.length === 0 ? [] : [`${quoted(blank)} can never match: remove the space at its start or end`]),
    ...(wild.length === 0 ? [] : [`${quoted(wild)} can never match: "*" is no wildcard, write each value`]),
  ];
}

const oneOf = (
  fact: Fact,
  help: string,
  example: string,
  more: Pick<Selector<string[]>, "warnings" | "pattern"> = {},
): Selector<string[]> => ({
  schema: names,
  help,
  example,
  shows: (expected) => expected,
  has: (device) => fact(device) ?? "none",
  matches: (device, expected) => expected.length === 0 || expected.includes(fact(device) ?? "\0"),
  covers: (wide, narrow = []) =>
    wide.length === 0 || (narrow.length > 0 && narrow.every((value) => wide.includes(value))),
  isRestricting: true,
  ...more,
  warnings: (expected) => [...(more.pattern ? [] : textWarnings(expected)), ...(more.warnings?.(expected) ?? [])],
});

/** Warnings about values that can't equal any fact, since facts are always spelled in one way. */
const spelling = (pattern: RegExp, right: string) => ({
  pattern,
  warnings: (expected: readonly string[]) => {
    const odd = expected.filter((value) => !pattern.test(value));
    return odd.length === 0 ? [] : [`${quoted(odd)} can never match: ${right}`];
  },
});
const hexId = spelling(/^[0-9a-f]{4}$/, 'ids are four lower-case hexadecimal digits, as in "8086"');
const address = spelling(pciAddressPattern, 'addresses are written as in "0000:3b:02.1"');
// drivers/pci/pci-label.c writes "%llu", drivers/infiniband/core/sysfs.c "0x%04x".
const acpiIndex = spelling(/^(0|[1-9]\d*)$/, 'indexes are decimal numbers, as in "101"');
const pKey = spelling(/^0x[0-9a-f]{4}$/, 'P_Keys are written as in "0x7fff"');
const linkType = spelling(
  /^(ether|infiniband|loopback|none|ppp|ipip)$/,
  'link types are "ether" and "infiniband"; RoCE and iWARP have "ether"',
);

/**
 * Names that are mistaken for those of PCI drivers, with the driver that is meant: RDMA drivers bind to
 * auxiliary devices of the function (drivers/infiniband/hw), and modules need not be called as their driver
 * (drivers/vfio/pci/vfio_pci.c: "vfio-pci"; drivers/vfio/pci/mlx5/main.c: KBUILD_MODNAME).
 */
const noPciDrivers: Readonly<Record<string, string>> = {
  mlx5_ib: "mlx5_core",
  mlx5_en: "mlx5_core",
  mlx5: "mlx5_core",
  mlx4_ib: "mlx4_core",
  mlx4_en: "mlx4_core",
  mlx4: "mlx4_core",
  irdma: "ice, i40e or iavf",
  i40iw: "i40e",
  bnxt_re: "bnxt_en",
  qedr: "qede",
  iw_cxgb4: "cxgb4",
  vfio: "vfio-pci",
  vfio_pci: "vfio-pci",
  "mlx5-vfio-pci": "mlx5_vfio_pci",
  uio: "igb_uio or uio_pci_generic",
  "uio-pci-generic": "uio_pci_generic",
  "igb-uio": "igb_uio",
  dpdk: "vfio-pci",
};

const misnamedDrivers = (names: readonly string[]): readonly string[] =>
  names.flatMap((name) => {
    const meant = Object.hasOwn(noPciDrivers, name) ? noPciDrivers[name] : undefined;
    return meant === undefined ? [] : [`${JSON.stringify(name)} is no driver of PCI functions; expected ${meant}`];
  });

/** What parseFunctionRange can read, behind a pattern of the PF; an index is what Go's strconv.Atoi reads. */
const functionRangePattern = (pf: string) => new RegExp(`^${pf}(#\\+?\\d+(-\\+?\\d+)?(,\\+?\\d+(-\\+?\\d+)?)*)?$`);

/** An index as Go's strconv.Atoi reads it: decimal digits, maybe behind a "+", in 64 bits; null for anything else. */
function parseIndex(text: string): number | null {
  const [, digits] = /^\+?0*(\d{1,19})$/.exec(text) ?? [];
  return digits === undefined || BigInt(digits) > 0x7f_ff_ff_ff_ff_ff_ff_ffn ? null : Number(digits);
}

/**
 * Reads "PF" or "PF#INDEX[-INDEX][,…]". As the upstream plugin (pkg/resources/deviceSelectors.go, isSelected), the parts
 * count up to the first that can't be read, and an entry with a second "#" selects nothing.
 */
function parseFunctionRange(text: string): FunctionRange {
  const entry = JSON.stringify(text);
  const [pf = "", ranges, more] = text.split("#");
  if (more !== undefined) return { pf, ranges: [], wrong: `${entry} has more than one "#", so it selects nothing` };
  if (pf === "") return { pf: text, ranges: [], wrong: `${entry} names no PF, so it selects nothing` };
  if (ranges === undefined) return { pf, ranges: null };
  const parsed: [number, number][] = [];
  const wrong: string[] = [];
  for (const part of ranges.split(",")) {
    const bounds = part.split("-").map(parseIndex);
    const [from = null, to = from] = bounds;
    if (bounds.length > 2 || from === null || to === null) {
      const effect = parsed.length > 0 ? "it and all that follows is ignored" : "so the entry selects nothing";
      wrong.push(`${JSON.stringify(part)} in ${entry} is not an index or range, ${effect}`);
      break;
    }
    if (to < from) wrong.push(`${JSON.stringify(part)} in ${entry} runs backwards, so it selects nothing`);
    else parsed.push([from, to]);
  }
  return { pf, ranges: parsed, ...(wrong.length > 0 ? { wrong: wrong.join("; ") } : {}) };
}

const showRange = ({ pf, ranges }: FunctionRange): string =>
  ranges === null || ranges.length === 0
    ? pf
    : `${pf}#${ranges.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",")}`;

/** Whether entries together select every function that one entry selects. */
function coversRange(wide: readonly FunctionRange[], { pf, ranges }: FunctionRange): boolean {
  const same = wide.filter((entry) => entry.pf.toLowerCase() === pf.toLowerCase());
  if (same.some((entry) => entry.ranges === null)) return true;
  const covered = same.flatMap((entry) => entry.ranges ?? []).sort(([a], [b]) => a - b);
  return (
    ranges !== null &&
    ranges.every(([from, to]) => {
      let next = from;
      for (const [first, last] of covered) if (first <= next) next = Math.max(next, last + 1);
      return next > to;
    })
  );
}

const functionRange = v.pipe(v.string("expected a string"), v.transform(parseFunctionRange));

// As the upstream plugin, names are compared without regard to case; unlike it, several entries for one PF add up.
const functionsOf = (
  fact: Fact,
  help: string,
  example: string,
  pf: { readonly pattern: string; readonly isOdd: RegExp; readonly meant: string },
): Selector<FunctionRange[]> => ({
  schema: v.array(functionRange, notText),
  pattern: functionRangePattern(pf.pattern),
  help,
  example,
  isRestricting: true,
  shows: (expected) => expected.map(showRange),
  has: (device) => (fact(device) ?? "none") + (device.functionIndex === null ? "" : `#${device.functionIndex}`),
  matches: (device, expected) => {
    if (expected.length === 0) return true;
    const pf = fact(device)?.toLowerCase();
    const index = device.functionIndex;
    return expected.some(
      (entry) =>
        entry.pf.toLowerCase() === pf &&
        (entry.ranges === null || (index !== null && entry.ranges.some(([from, to]) => from <= index && index <= to))),
    );
  },
  covers: (wide, narrow = []) =>
    wide.length === 0 || (narrow.length > 0 && narrow.every((entry) => coversRange(wide, entry))),
  warnings: (expected) => [
    ...expected.flatMap(({ wrong }) =>
      wrong === undefined ? [] : [`${wrong}; expected "PF" or "PF#INDEX[-INDEX][,…]", as in "ens1f0#0,2-7"`],
    ),
    ...textWarnings(expected.map((entry) => entry.pf)),
    ...expected.flatMap((entry) =>
      pf.isOdd.test(entry.pf.trim()) && entry.wrong === undefined
        ? [`${JSON.stringify(entry.pf)} can never match: ${pf.meant}`]
        : [],
    ),
  ],
});

const yesOrNo = (fact: (device: Device) => boolean, help: string): Selector<boolean> => ({
  schema: v.boolean("expected true or false"),
  help,
  example: "true",
  shows: (expected) => [String(expected)],
  has: (device) => (fact(device) ? "true" : "false"),
  matches: (device, expected) => !expected || fact(device),
  covers: (wide, narrow) => !wide || narrow === true,
});

const vdpaType: Selector<"virtio" | "vhost" | ""> = {
  // As the upstream plugin: the empty string is the same as no vdpaType.
  schema: v.picklist(["virtio", "vhost", ""], 'expected "virtio" or "vhost"'),
  help: "Type of the vDPA device that the function manages; cannot be combined with isRdma",
  example: '"vhost"',
  shows: (expected) => [expected],
  has: (device) => device.vdpa?.type ?? "none",
  matches: (device, expected) => expected === "" || device.vdpa?.type === expected,
  covers: (wide, narrow) => wide === "" || wide === narrow,
};

/** Every selector, in the order in which an explanation tries them. */
export const selectors = {
  vendors: oneOf((d) => d.vendor, "PCI vendor ids; for an SF, those of its PF", '["8086", "15b3"]', hexId),
  devices: oneOf((d) => d.product, "PCI device ids; for an SF, those of its PF", '["154c", "1889"]', hexId),
  drivers: oneOf((d) => d.driver, "Names of the bound driver; for an SF, the driver of its PF", '["vfio-pci"]', {
    warnings: misnamedDrivers,
  }),
  pciAddresses: oneOf((d) => d.pci, "PCI addresses", '["0000:03:02.0"]', address),
  acpiIndexes: oneOf((d) => d.acpiIndex, "ACPI indexes (_DSM instance numbers)", '["101"]', acpiIndex),
  auxTypes: {
    ...oneOf((d) => d.auxType, "Types of auxiliary device: the middle part of DRIVER.TYPE.ID", '["sf"]'),
    schema: v.array(v.literal("sf", 'only "sf" is supported'), notText),
    isRestricting: false,
  } as Selector<string[]>,
  pfNames: functionsOf(
    (d) => d.pf?.interfaceName,
    "Interface names of the PF, each with the indexes of its functions",
    '["ens1f0#0,2-7"]',
    {
      pattern: "[^#]+",
      isOdd: /^([0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i,
      meant: "PFs are selected by their PCI addresses with rootDevices",
    },
  ),
  rootDevices: functionsOf(
    (d) => d.pf?.address,
    "PCI addresses of the PF, each with the indexes of its functions",
    '["0000:86:00.0#0-3"]',
    {
      pattern: "[0-9a-fA-F]{4,}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]",
      isOdd: /^(?![0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$)/i,
      meant: 'PFs are written as in "0000:3b:00.0"; by their interface names they are selected with pfNames',
    },
  ),
  linkTypes: oneOf((d) => d.linkType, "Link types of the network interface", '["ether"]', {
    pattern: linkType.pattern,
    warnings: (expected) => [
      ...linkType.warnings(expected),
      ...(expected.length > 1 ? ["more than one link type in one selector is seldom what is meant"] : []),
    ],
  }),
  ddpProfiles: oneOf(
    (d) => d.ddpProfile,
    "Names of the DDP package loaded on the NIC",
    '["GTPv1-C/U IPv4/IPv6 payload"]',
  ),
  pKeys: oneOf((d) => d.pKey, "InfiniBand P_Keys, compared with the one at index 0", '["0x7fff"]', pKey),
  isRdma: yesOrNo((d) => d.rdma !== null, "Only RDMA-capable devices, allocated with their RDMA character devices"),
  vdpaType,
  needVhostNet: {
    ...yesOrNo(() => true, "Also allocate /dev/vhost-net and /dev/net/tun"),
    isNoCondition: true,
    covers: () => true,
  },
} as const;

export type SelectorName = keyof typeof selectors;
export const selectorNames = Object.keys(selectors) as readonly SelectorName[];

/** A selector object of the config file: what a device must fulfill, all at once. */
export type SelectorObject = {
  readonly [K in SelectorName]?: (typeof selectors)[K] extends Selector<infer T> ? T : never;
};

/** Whether the device fulfills all selectors of a selector object. */
export function matches(device: Device, selectorObject: SelectorObject): boolean {
  for (const name in selectorObject) {
    const selector = selectors[name as SelectorName] as Selector<unknown>;
    if (!selector.matches(device, selectorObject[name as SelectorName])) return false;
  }
  return true;
}

/** Whether one selector object selects every device that the other selects, on any node. */
export const covers = (wide: SelectorObject, narrow: SelectorObject): boolean =>
  selectorNames.every((name) => {
    const value = wide[name];
    return value === undefined || (selectors[name] as Selector<unknown>).covers(value, narrow[name]);
  });

/** Whether no device can fulfill a selector object, on any node. */
export const isImpossible = (selectorObject: SelectorObject): boolean =>
  selectorNames.some((name) => {
    const value: unknown = selectorObject[name];
    const { pattern } = selectors[name] as Selector<unknown>;
    if (!Array.isArray(value) || value.length === 0) return false;
    return value.every((each: string | FunctionRange) =>
      typeof each === "string" ? pattern?.test(each) === false : each.ranges?.length === 0,
    );
  });

/** Whether a selector object, as it was written, is narrowed by any of these selectors with a value. */
export const isRestricted = (values: Readonly<Record<string, unknown>>, names: readonly SelectorName[]): boolean =>
  names.some((name) => {
    const value = values[name];
    return (selectors[name] as Selector<unknown>).isRestricting === true && Array.isArray(value) && value.length > 0;
  });
