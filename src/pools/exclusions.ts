// Which devices are excluded since the host needs them, since when, and until when? Exclusions outlast their reason: routes disappear for minutes when a switch
// reboots, VFs are recreated. Pure: the memory goes in and comes out.

import type { Device } from "../host/device.ts";
import { counted } from "../text.ts";

/** Why a device is excluded. */
export const exclusionRules = ["default-route", "pf-with-vfs", "no-default-route-yet"] as const;
export type ExclusionRule = (typeof exclusionRules)[number];

/** One exclusion of one device, as status and log show it. */
export interface Exclusion {
  readonly device: string;
  readonly rule: ExclusionRule;
  readonly reason: string;
  /** When it ends. */
  readonly until: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** What is remembered of one exclusion. */
interface Latched {
  readonly rule: ExclusionRule;
  readonly since: number;
  /** By which interface the route leaves; null for the other rules. */
  readonly interfaceName: string | null;
  readonly isAdvertised: boolean;
  readonly vfs: number;
  /** Since when a default route exists and none leaves through the function, in milliseconds of `now`; null while one does. */
  readonly clearSince: number | null;
}

/** What is remembered from one scan to the next. */
export interface ExclusionMemory {
  /** Whether a default route was seen since the start. */
  readonly sawDefaultRoute: boolean;
  readonly devices: ReadonlyMap<string, readonly Latched[]>;
}

export const noExclusions: ExclusionMemory = { sawDefaultRoute: false, devices: new Map() };

/** The moment of a scan. */
export interface ScanMoment {
  /** Milliseconds of a clock that never jumps. */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly hasDefaultRoute: boolean;
  /** Milliseconds since the node booted; null where that is unknown. */
  readonly uptime: number | null;
  /** Whether exclusions end whose reason is gone, as after a reload. */
  readonly isForgetting: boolean;
}

/** What follows from a scan. */
export interface ExclusionResult {
  /** The devices, with what is remembered in `host`. */
  readonly devices: readonly Device[];
  readonly memory: ExclusionMemory;
  readonly exclusions: readonly Exclusion[];
  /** In how many milliseconds an exclusion may end without an event; null when none may. */
  readonly recheckIn: number | null;
}

/** The PCI base class of network controllers: no other device carries routes, and accelerators are offered beside their VFs. */
const networkClass = 0x02;

/** How long an advertised route must have been elsewhere, in milliseconds: routers repeat themselves within 30 s (RFC 4861, MaxRtrAdvInterval). */
export const advertisedRouteGrace = 60_000;

/** How long after boot a node without a default route counts as one whose network is not up yet, in milliseconds. */
export const bootGrace = 300_000;

/**
 * Applies the exclusions of a scan, and those that outlast it.
 *
 * - A route from a router advertisement: until 60 s have passed in which a default route existed and none left through the function.
 * - Any other route, and VFs below a PF: until a reload or restart, or until the function leaves.
 * - A PCI function with an interface and without a PF, in the first five minutes after boot: until a default route is seen.
 */
export function applyExclusions(
  devices: readonly Device[],
  memory: ExclusionMemory,
  moment: ScanMoment,
): ExclusionResult {
  const sawDefaultRoute = memory.sawDefaultRoute || moment.hasDefaultRoute;
  const bootRemaining = moment.uptime === null || sawDefaultRoute ? 0 : Math.max(0, bootGrace - moment.uptime);
  const latched = new Map<string, readonly Latched[]>();
  const exclusions: Exclusion[] = [];
  const waits: number[] = [];
  const marked = devices.map((device) => {
    if (device.pciClass !== networkClass) return device;
    const key = memoryKey(device);
    const before = memory.devices.get(key) ?? [];
    const known = (rule: ExclusionRule) => before.find((each) => each.rule === rule);
    const now = [
      routeExclusion(device, known("default-route"), moment),
      vfExclusion(device, known("pf-with-vfs"), moment),
      bootRemaining > 0 && mayBecomeUplink(device) ? bootExclusion(known("no-default-route-yet"), moment) : null,
    ].filter((each) => each !== null);
    if (now.length === 0) return device;
    latched.set(key, now);
    for (const each of now) {
      exclusions.push(describeExclusion(device.id, each));
      if (each.clearSince !== null) waits.push(Math.max(0, each.clearSince + advertisedRouteGrace - moment.now));
      if (each.rule === "no-default-route-yet") waits.push(bootRemaining);
    }
    return { ...device, host: hostOf(now) };
  });
  return {
    devices: marked,
    memory: { sawDefaultRoute, devices: latched },
    exclusions,
    recheckIn: waits.length === 0 ? null : Math.min(...waits),
  };
}

/** What is remembered only of a default route, or only of VFs. */
const nothingElse = { interfaceName: null, isAdvertised: false, vfs: 0, clearSince: null } as const;

/** A function without a PF stays what it is when it is bound again or rescanned; below a PF, the same name may be another function. */
const memoryKey = ({ id, pf, instance }: Device): string => (pf === null ? id : `${id} ${instance}`);

function routeExclusion({ host }: Device, before: Latched | undefined, moment: ScanMoment): Latched | null {
  if (host.defaultRoute !== null) {
    // Once it was configured it stays so: while its address is renewed, the advertised route may be the only one.
    const isAdvertised = host.isRouteAdvertised === true && before?.isAdvertised !== false;
    const since = before?.since ?? moment.time;
    return { ...nothingElse, rule: "default-route", since, interfaceName: host.defaultRoute, isAdvertised };
  }
  if (!before || moment.isForgetting) return null;
  if (!before.isAdvertised) return before;
  if (!moment.hasDefaultRoute) return { ...before, clearSince: null };
  const clearSince = before.clearSince ?? moment.now;
  return moment.now - clearSince >= advertisedRouteGrace ? null : { ...before, clearSince };
}

function vfExclusion({ host: { vfs } }: Device, before: Latched | undefined, moment: ScanMoment): Latched | null {
  if (vfs === 0) return moment.isForgetting ? null : (before ?? null);
  return { ...nothingElse, rule: "pf-with-vfs", since: before?.since ?? moment.time, vfs };
}

const bootExclusion = (before: Latched | undefined, { time }: ScanMoment): Latched =>
  before ?? { ...nothingElse, rule: "no-default-route-yet", since: time };

/** A network function that the host may use itself: it has an interface, and is below no PF. */
const mayBecomeUplink = ({ bus, pf, interfaces }: Device): boolean =>
  bus === "pci" && pf === null && interfaces.length > 0;

function hostOf(latched: readonly Latched[]): Device["host"] {
  const route = latched.find(({ rule }) => rule === "default-route");
  return {
    defaultRoute: route?.interfaceName ?? null,
    ...(route?.isAdvertised === true ? { isRouteAdvertised: true as const } : {}),
    ...(latched.some(({ rule }) => rule === "no-default-route-yet") ? { awaitsRoute: true as const } : {}),
    vfs: latched.find(({ rule }) => rule === "pf-with-vfs")?.vfs ?? 0,
  };
}

function describeExclusion(device: string, { rule, since, interfaceName, isAdvertised, vfs }: Latched): Exclusion {
  const lasting = "reload (SIGHUP), restart, or removal of the device";
  switch (rule) {
    case "default-route":
      return {
        device,
        rule,
        reason: `carries ${isAdvertised ? "an advertised" : "the"} default route (${interfaceName})`,
        until: isAdvertised ? "60 s after the last such route has moved elsewhere" : lasting,
        since,
      };
    case "pf-with-vfs":
      return { device, rule, reason: `PF with ${counted(vfs, "VF")}`, until: lasting, since };
    case "no-default-route-yet":
      return {
        device,
        rule,
        reason: "no default route yet",
        until: "a default route exists, or 5 min after boot",
        since,
      };
  }
}

/** Which exclusions began and which ended between two scans; one whose reason merely changed is neither. */
export function exclusionChanges(
  before: readonly Exclusion[],
  now: readonly Exclusion[],
): { readonly began: readonly Exclusion[]; readonly ended: readonly Exclusion[] } {
  const keyOf = ({ device, rule }: Exclusion) => `${device} ${rule}`;
  const [was, is] = [before, now].map((list) => new Set(list.map(keyOf))) as [Set<string>, Set<string>];
  return { began: now.filter((each) => !was.has(keyOf(each))), ended: before.filter((each) => !is.has(keyOf(each))) };
}
