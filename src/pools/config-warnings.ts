// Which entries of a config file are doubtful, though every one is well-formed? Selector objects that can't win anything
// because of those before them, and, on a given node, those that select nothing and PFs that are missing.

import { counted } from "../text.ts";
import type { Device } from "../host/device.ts";
import { contradictionsIn } from "./contradictions.ts";
import { exclusionsOf, deviceTypes, isExcluded } from "./device-types.ts";
import type { Pool, PoolSpec } from "./pool.ts";
import { covers, type FunctionRange, isImpossible, matches, type SelectorObject } from "./selectors.ts";

/** A warning, and what it is about: a pool, one of its selector objects, or one value in that. */
export interface ConfigWarning {
  /** Indexes of the spec and of the selector object. */
  readonly spec: number;
  readonly selectorObject?: number;
  readonly value?: { readonly selector: "pfNames" | "rootDevices"; readonly index: number };
  readonly message: string;
}

/** The place of an earlier selector object that selects all that a later one selects. */
interface Cover {
  readonly spec: PoolSpec;
  readonly selectorObject: number;
}

/** The earlier selector object, of the same or an earlier entry of the type, that leaves nothing to this one. */
function coverOf(specs: readonly PoolSpec[], index: number, place: number): Cover | null {
  const narrow = specs[index]?.selectors[place];
  if (narrow !== undefined && isImpossible(narrow)) return null;
  for (const [earlier, spec] of specs.slice(0, index + 1).entries()) {
    if (narrow === undefined || spec.deviceType !== specs[index]?.deviceType) continue;
    const before = earlier === index ? spec.selectors.slice(0, place) : spec.selectors;
    const selectorObject = before.findIndex((wide) => covers(wide, narrow));
    if (selectorObject >= 0) return { spec, selectorObject };
  }
  return null;
}

const shadowed = (spec: PoolSpec, { spec: by, selectorObject }: Cover): string =>
  by === spec
    ? `gets nothing: selectors[${selectorObject}], listed earlier, selects all that it selects`
    : `gets nothing: selectors[${selectorObject}] of ${by.resource}, listed earlier, selects all that it selects`;

/** Warnings that hold on every node: selector objects that nothing can match, and those that are shadowed by others before them. */
export function warningsOnEveryNode(specs: readonly PoolSpec[]): ConfigWarning[] {
  return specs.flatMap((spec, index): ConfigWarning[] =>
    spec.selectors.flatMap((selectorObject, place): ConfigWarning[] => {
      const cover = coverOf(specs, index, place);
      const shadow = cover ? [shadowed(spec, cover)] : [];
      return [...contradictionsIn(selectorObject), ...shadow].map((message) => ({
        spec: index,
        selectorObject: place,
        message,
      }));
    }),
  );
}

/**
 * Warnings on the node that has these devices. Shadowing is reported for objects that would select a device here: for the
 * others it is enough that they select nothing.
 */
export function warningsOnNode(pools: readonly Pool[], devices: readonly Device[]): ConfigWarning[] {
  const node = new NodeIndex(pools, devices);
  const specs = pools.map(({ spec }) => spec);
  const byPool = pools.flatMap((pool, index): ConfigWarning[] => {
    const { spec } = pool;
    const selected = spec.selectors.map((selectorObject) => node.selectedBy(spec, selectorObject));
    const shadows = spec.selectors.flatMap((_, place): ConfigWarning[] => {
      const cover = (selected[place]?.length ?? 0) > 0 ? coverOf(specs, index, place) : null;
      return cover ? [{ spec: index, selectorObject: place, message: shadowed(spec, cover) }] : [];
    });
    const contradictory = spec.selectors.flatMap((selectorObject, place): ConfigWarning[] =>
      contradictionsIn(selectorObject).map((message) => ({ spec: index, selectorObject: place, message })),
    );
    // Of these it is enough that nothing on any node can match.
    const explained = [...shadows, ...contradictory];
    const open = spec.selectors.flatMap((selectorObject, place) =>
      explained.some((warning) => warning.selectorObject === place)
        ? []
        : [{ selectorObject, place, selects: selected[place] ?? [] }],
    );
    const unknown = open.flatMap(({ selectorObject, place }) =>
      pfWarnings(selectorObject, spec, node).map((warning) => ({ spec: index, selectorObject: place, ...warning })),
    );
    const ignored = spec.selectors.flatMap((_, place): ConfigWarning[] => {
      const keys = spec.ignoredKeys?.[place] ?? [];
      const message = `selects ${counted(selected[place]?.length ?? 0, "device")} on this node; ignored: ${keys.join(", ")}`;
      return keys.length === 0 ? [] : [{ spec: index, selectorObject: place, message }];
    });
    if (pool.claims.size === 0) {
      const empty = open.length === 0 ? [] : [{ spec: index, message: nothingFor(pool, node) }];
      return [...empty, ...explained, ...unknown, ...ignored];
    }
    const idle = open
      .filter(
        ({ selectorObject }) => ![...pool.claims.values()].some((claim) => claim.selectorObject === selectorObject),
      )
      .filter(({ place }) => !unknown.some(({ selectorObject }) => selectorObject === place))
      .map(({ place, selects }) => ({ spec: index, selectorObject: place, message: nothingBy(selects) }));
    return [...explained, ...unknown, ...idle, ...ignored];
  });
  return [...byPool, ...groupWarnings(pools)];
}

/** The node's devices by what warnings depend on, each found once however many entries there are. */
class NodeIndex {
  readonly devices: readonly Device[];
  readonly owners: ReadonlyMap<string, string>;
  readonly #types = new Map<string, readonly Device[]>();
  readonly #below = new Map<string, ReadonlyMap<string, readonly Device[]>>();
  readonly #named = new Map<string, ReadonlyMap<string, Device>>();
  readonly #pfs = new Map<string, string>();

  constructor(pools: readonly Pool[], devices: readonly Device[]) {
    this.devices = devices;
    this.owners = new Map(
      pools.flatMap(({ spec, claims }) => [...claims.keys()].map((id) => [id, spec.resource] as const)),
    );
  }

  /** All devices of a type. */
  ofType(deviceType: PoolSpec["deviceType"]): readonly Device[] {
    return cached(this.#types, deviceType, () =>
      this.devices.filter((device) => deviceTypes[deviceType].isOfType(device)),
    );
  }

  /** The functions of a type below each PF, by the PF's lower-case name. */
  below(deviceType: PoolSpec["deviceType"], selector: keyof typeof pfFacts): ReadonlyMap<string, readonly Device[]> {
    return cached(this.#below, `${deviceType} ${selector}`, () => {
      const found = new Map<string, Device[]>();
      for (const device of this.ofType(deviceType)) {
        for (const name of pfFacts[selector].ofFunction(device).map((each) => each.toLowerCase())) {
          const functions = found.get(name) ?? [];
          functions.push(device);
          found.set(name, functions);
        }
      }
      return found;
    });
  }

  /** The device that an operator may take for a PF of this name; null when there is none. */
  named(name: string, selector: keyof typeof pfFacts): Device | null {
    const byName = cached(
      this.#named,
      selector,
      () =>
        new Map(
          this.devices.flatMap((device) =>
            pfFacts[selector].ofPf(device).map((each) => [each.toLowerCase(), device] as const),
          ),
        ),
    );
    return byName.get(name.toLowerCase()) ?? null;
  }

  /** Which PFs have functions of a type, as the end of a sentence. */
  pfs(deviceType: PoolSpec["deviceType"], selector: keyof typeof pfFacts): string {
    return cached(this.#pfs, `${deviceType} ${selector}`, () => pfsWith(selector, deviceType, this));
  }

  /** What a selector object would select if it were the first. */
  selectedBy({ deviceType }: PoolSpec, selectorObject: SelectorObject): readonly Device[] {
    return this.ofType(deviceType).filter(
      (device) => matches(device, selectorObject) && !isExcluded(device, deviceTypes[deviceType]),
    );
  }
}

function cached<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function nothingFor({ spec }: Pool, node: NodeIndex): string {
  const candidates = node.ofType(spec.deviceType);
  if (candidates.length === 0) return `selects nothing on this node: it has no ${spec.deviceType}`;
  const selected = candidates.filter((device) =>
    spec.selectors.some((selectorObject) => matches(device, selectorObject)),
  );
  const takers = new Set(selected.flatMap(({ id }) => node.owners.get(id) ?? []));
  if (takers.size > 0) {
    const { length } = selected.filter(({ id }) => node.owners.has(id));
    return `gets nothing on this node: ${counted(length, "device")} that it selects ${length === 1 ? "is" : "are"} already claimed by ${[...takers].join(", ")}, listed earlier`;
  }
  const excluded = new Set(selected.flatMap((device) => exclusionsOf(device).map(({ brief }) => brief)));
  if (excluded.size > 0)
    return `gets nothing on this node: ${counted(selected.length, "device")} that it selects ${selected.length === 1 ? "is" : "are"} excluded: ${[...excluded].join(", ")}`;
  return `selects nothing on this node; "sriovdp explain ${spec.resource}" says why`;
}

const nothingBy = (selects: readonly Device[]): string =>
  selects.length > 0
    ? "gets nothing on this node: all that it selects is already claimed"
    : "selects nothing on this node";

/**
 * Warnings about IOMMU groups whose VFIO devices are in several pools: a group is opened by one process at a time
 * (drivers/vfio/group.c, vfio_group_fops_open gives EBUSY), so that only one of the pods can use its device.
 */
function groupWarnings(pools: readonly Pool[]): ConfigWarning[] {
  const members = pools.flatMap(({ claims }, spec) =>
    [...claims.values()].flatMap(({ device: { id, vfio } }) =>
      vfio?.group == null || vfio.noIommu ? [] : [{ group: vfio.group, id, spec }],
    ),
  );
  const byPools = new Map<string, { readonly spec: number; readonly first: string; readonly groups: string[] }>();
  for (const [group, sharing] of Map.groupBy(members, (member) => member.group)) {
    const specs = [...new Set(sharing.map(({ spec }) => spec))];
    const spec = specs.at(-1);
    if (specs.length < 2 || spec === undefined) continue;
    const first = sharing.map(({ id }) => id).join(" and ");
    cached(byPools, specs.join(), () => ({ spec, first, groups: [] })).groups.push(group);
  }
  return [...byPools].map(([specs, { spec, first, groups }]) => {
    const names = specs.split(",").map((index) => pools[Number(index)]?.spec.resource ?? "");
    const which = groups.length === 1 ? `IOMMU group ${groups[0]}` : `IOMMU groups ${groups.join(", ")}`;
    const message = `${which} (${first}${groups.length > 1 ? ", …" : ""}) ${groups.length === 1 ? "is" : "are"} split between ${names.join(" and ")}: VFIO opens a group for one pod at a time`;
    return { spec, message };
  });
}

/** The fact by which a selector names a PF. */
const pfFacts = {
  pfNames: {
    ofFunction: ({ pf }: Device) => (pf?.interfaceName == null ? [] : [pf.interfaceName, ...pf.laterNames]),
    ofPf: ({ interfaces }: Device) => interfaces,
  },
  rootDevices: {
    ofFunction: ({ pf }: Device) => (pf === null ? [] : [pf.address]),
    ofPf: ({ id }: Device) => [id],
  },
} satisfies Record<string, Record<string, (device: Device) => readonly string[]>>;

type PfWarning = Required<Pick<ConfigWarning, "value">> & Pick<ConfigWarning, "message">;

/** Warnings about the PFs that a selector object names, and the indexes below them. */
function pfWarnings(selectorObject: SelectorObject, { deviceType }: PoolSpec, node: NodeIndex): PfWarning[] {
  return (["pfNames", "rootDevices"] as const).flatMap((selector) =>
    (selectorObject[selector] ?? []).flatMap((entry: FunctionRange, index): PfWarning[] => {
      // An entry that selects nothing on any node is reported by the loader.
      if (entry.ranges?.length === 0) return [];
      const known = node.below(deviceType, selector);
      const below = known.get(entry.pf.toLowerCase());
      const message = below
        ? beyond(entry, below, functionsOf[deviceType])
        : absent(entry.pf, selector, deviceType, node);
      return message === null ? [] : [{ value: { selector, index }, message }];
    }),
  );
}

const functionsOf = { netDevice: "VFs", accelerator: "VFs", auxNetDevice: "SFs" } as const;

/** Why no function is below what an operator takes for a PF. */
function absent(
  name: string,
  selector: keyof typeof pfFacts,
  deviceType: PoolSpec["deviceType"],
  node: NodeIndex,
): string {
  const functions = functionsOf[deviceType];
  const found = node.named(name, selector);
  if (!found) return `this node has no PF ${JSON.stringify(name)}; ${node.pfs(deviceType, selector)}`;
  if (found.pf === null) {
    const itself = deviceType === "netDevice" ? `; to select the PF itself: "pciAddresses": ["${found.id}"]` : "";
    return `${name} has no ${functions} on this node${itself}`;
  }
  const above = found.pf.interfaceName ?? found.pf.address;
  return `${name} belongs to a function of ${above}, not to a PF`;
}

/** Which PFs there are that have functions: by name those that have an interface, and how the others are selected. */
function pfsWith(selector: keyof typeof pfFacts, deviceType: PoolSpec["deviceType"], node: NodeIndex): string {
  const functions = functionsOf[deviceType];
  const pfs = node.ofType(deviceType).flatMap(({ pf }) => pf ?? []);
  const names = new Set(
    pfs.flatMap(({ address, interfaceName }) => (selector === "pfNames" ? (interfaceName ?? []) : address)),
  );
  const nameless = selector === "rootDevices" ? [] : pfs.filter(({ interfaceName }) => interfaceName === null);
  const addresses = [...new Set(nameless.map(({ address }) => address))];
  const hints = [
    ...(names.size > 0 ? [`those with ${functions} are ${[...names].join(", ")}`] : []),
    ...(addresses.length > 0
      ? [
          `${addresses.join(", ")} ${addresses.length === 1 ? "has" : "have"} ${functions} but no interface: select ${addresses.length === 1 ? "it" : "them"} with rootDevices`,
        ]
      : []),
  ];
  return hints.length === 0 ? `none has ${functions}` : hints.join("; ");
}

/** The parts of the ranges in which the PF has no function; SFs have arbitrary numbers, so for them only whole ranges count. */
function beyond({ pf, ranges }: FunctionRange, below: readonly Device[], functions: string): string | null {
  const indexes = below.flatMap(({ functionIndex }) => (functionIndex === null ? [] : [functionIndex]));
  const last = Math.max(...indexes);
  const empty = (ranges ?? []).flatMap(([from, to]) => {
    if (functions === "VFs") return to <= last ? [] : [[Math.max(from, last + 1), to] as const];
    return indexes.some((index) => from <= index && index <= to) ? [] : [[from, to] as const];
  });
  if (empty.length === 0 || indexes.length === 0) return null;
  const missing = empty.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(",");
  return functions === "VFs"
    ? `${pf} has the VFs 0-${last} on this node; #${missing} selects nothing`
    : `${pf} has no SF ${missing} on this node`;
}
