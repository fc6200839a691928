// What did the last scan know that this one can't see? Facts are hidden while a pod holds a device: its interface, or its RDMA device, is
// in the pod's network namespace. And what is too young to be believed: the name of an interface, the lack of a first carrier.

import type { Device, ParentFunction, Port, SharedPorts } from "../host/device.ts";
import { isDownForPf, isDownForVfs } from "./health.ts";

/** How long a carrier that was never there is waited for, in milliseconds. */
export const carrierGrace = 30_000;

/** How long a name that the kernel chose must last before it replaces another one of the PF, in milliseconds. */
export const kernelNameDelay = 10_000;

/** When a scan was, and what it was of. Times are milliseconds of one clock that never goes back. */
export interface RecallContext {
  readonly now: number;
  /** The time of the plugin's start when the node had booted shortly before; null otherwise. */
  readonly startedAfterBoot: number | null;
  /** Whether only links were scanned: then names are those of before, since they are read before they have settled. */
  readonly linksOnly: boolean;
  /** The PFs that were seen, by address; kept up to date. They outlast their VFs, which can be recreated at the same time as an interface. */
  readonly pfs?: RememberedPfs;
}

/** By what a function at an address is recognized: null where it can't be read, or has no driver. */
interface FunctionIdentity {
  readonly instance: string | null;
  readonly driver: string | null;
}

/** A PF as it was recalled last. */
export type RememberedPfs = Map<string, FunctionIdentity & { readonly pf: ParentFunction }>;

/** No memory of times: for a single scan. */
const once: RecallContext = { now: 0, startedAfterBoot: null, linksOnly: false };

/**
 * Carries over what was seen before and can't be seen now, as long as the function is there with the same driver: a
 * device bound to another driver is another device.
 *
 * Not so RDMA devices: those in another namespace leave an empty folder (see host/rdma-devices.ts), and those that
 * were removed are gone.
 *
 * A function that left and came back is another one, whatever its id. What excludes a device is remembered by exclusions.ts.
 */
export function recall(now: Device, before: Device | undefined, context: RecallContext = once): Device {
  return recallDevice(now, before, new Parents([now], context), context);
}

/** Recalls every device of a scan from the one before, null for the first one; devices that left are forgotten. */
export function recallAll(
  now: readonly Device[],
  before: readonly Device[] | null,
  context: RecallContext = once,
): Device[] {
  const known = new Map((before ?? []).map((device) => [device.id, device]));
  const isFirst = before === null;
  const above = new Graces(
    (before ?? []).flatMap(({ pf }) => portListsOf(pf)),
    isDownForVfs,
    isFirst,
    context,
  );
  const own = new Graces(
    (before ?? []).map(({ ports }) => ports),
    isDownForPf,
    isFirst,
    context,
  );
  const parents = new Parents(now, context);
  return now.map((device) => {
    const pf = device.pf && above.parent(device.pf);
    const ports = own.ports(device.ports);
    const graced = pf === device.pf && ports === device.ports ? device : { ...device, pf, ports };
    return recallDevice(graced, known.get(device.id), parents, context);
  });
}

const portListsOf = (pf: ParentFunction | null): (readonly Port[])[] =>
  pf === null ? [] : [pf.ports, ...(pf.sharedPorts ? [pf.sharedPorts.ports] : [])];

function recallDevice(now: Device, before: Device | undefined, parents: Parents, { linksOnly }: RecallContext): Device {
  // The name of a PF does not depend on its VFs.
  const pf = parents.recalled(now.pf, before?.pf ?? null);
  if (!before || before.driver !== now.driver || before.instance !== now.instance) return { ...now, pf };
  return {
    ...now,
    ...(linksOnly ? { interfaces: before.interfaces } : {}),
    linkType: linksOnly ? before.linkType : (now.linkType ?? before.linkType),
    pKey: now.pKey ?? before.pKey,
    ddpProfile: now.ddpProfile ?? before.ddpProfile,
    pfPorts: now.pfPorts.length > 0 ? now.pfPorts : before.pfPorts,
    pf,
  };
}

const namesKey = ({ interfaceName, laterNames }: ParentFunction): string => [interfaceName, ...laterNames].join("/");

/** PFs with the names that they go by. VFs share their PF's record, and go on sharing it. */
class Parents {
  readonly #context: RecallContext;
  readonly #identities: ReadonlyMap<string, FunctionIdentity>;
  readonly #done = new Map<ParentFunction, ParentFunction>();

  constructor(devices: readonly Device[], context: RecallContext) {
    this.#context = context;
    this.#identities = new Map(devices.map(({ id, instance, driver }) => [id, { instance, driver }]));
  }

  /** The PF above a device, that had `before` above it; null where the device was not there, or has none. */
  recalled(now: ParentFunction | null, before: ParentFunction | null): ParentFunction | null {
    if (!now) return null;
    const known = this.#done.get(now);
    if (known) return known;
    const former = this.#former(now, before);
    const found = former ? this.#recall(now, former) : now;
    this.#done.set(now, found);
    const { instance, driver } = this.#identity(now.address);
    const { pfs } = this.#context;
    pfs?.set(now.address, { instance, driver: driver ?? pfs.get(now.address)?.driver ?? null, pf: found });
    return found;
  }

  /** The same PF as it was known before; null for another one at its address. */
  #former({ address }: ParentFunction, before: ParentFunction | null): ParentFunction | null {
    const { pfs } = this.#context;
    if (!pfs) return before?.address === address ? before : null;
    const remembered = pfs.get(address);
    const { instance, driver } = this.#identity(address);
    // Without a driver for a while it is the same PF: some drivers leave VFs that are in use.
    const isSame = remembered?.instance === instance && (driver === null || driver === remembered.driver);
    return isSame ? remembered.pf : null;
  }

  #identity(address: string): FunctionIdentity {
    return this.#identities.get(address) ?? { instance: null, driver: null };
  }

  #recall(now: ParentFunction, before: ParentFunction): ParentFunction {
    const { interfaceName, laterNames, isKernelNamed, pendingNames } = before;
    if (this.#context.linksOnly) return { ...now, interfaceName, laterNames, isKernelNamed, pendingNames };
    const key = namesKey(now);
    if (now.interfaceName === null || key === namesKey(before)) {
      return now.interfaceName === null ? { ...now, interfaceName, laterNames, isKernelNamed } : now;
    }
    // A recreated interface has the kernel's name until udev gives it its own.
    if (interfaceName === null || !now.isKernelNamed) return now;
    const at = pendingNames?.key === key ? pendingNames.at : this.#context.now + kernelNameDelay;
    return at <= this.#context.now
      ? now
      : { ...now, interfaceName, laterNames, isKernelNamed, pendingNames: { key, at } };
  }
}

/** What is the same port in two scans: an interface by its index, which a new one never shares, an InfiniBand port by its name. */
const portKey = ({ link, owner, name }: Port): string => (link ? String(link.index) : `${owner} ${name}`);

/** Ports with the time until which the lack of a carrier does not count. */
class Graces {
  readonly #isDown: (port: Port) => boolean;
  readonly #isFirst: boolean;
  readonly #context: RecallContext;
  readonly #before = new Map<string, Port>();
  readonly #byOwner = new Map<string, Port[]>();
  readonly #lists = new Map<readonly Port[], readonly Port[]>();
  readonly #parents = new Map<ParentFunction, ParentFunction>();

  /** `before` are the lists of ports of the scan before; `isDown` is true for those that made devices Unhealthy. */
  constructor(
    before: readonly (readonly Port[])[],
    isDown: (port: Port) => boolean,
    isFirst: boolean,
    context: RecallContext,
  ) {
    this.#isDown = isDown;
    this.#isFirst = isFirst;
    this.#context = context;
    // VFs of one PF share its list.
    for (const list of new Set(before)) {
      for (const port of list) {
        this.#before.set(portKey(port), port);
        const siblings = this.#byOwner.get(port.owner);
        if (siblings) siblings.push(port);
        else this.#byOwner.set(port.owner, [port]);
      }
    }
  }

  parent(pf: ParentFunction): ParentFunction {
    const known = this.#parents.get(pf);
    if (known) return known;
    const ports = this.ports(pf.ports);
    const sharedPorts = pf.sharedPorts && this.#shared(pf.sharedPorts);
    const found = ports === pf.ports && sharedPorts === pf.sharedPorts ? pf : { ...pf, ports, sharedPorts };
    this.#parents.set(pf, found);
    return found;
  }

  #shared(shared: SharedPorts): SharedPorts {
    const ports = this.ports(shared.ports);
    return ports === shared.ports ? shared : { ...shared, ports };
  }

  ports(ports: readonly Port[]): readonly Port[] {
    const known = this.#lists.get(ports);
    if (known) return known;
    const graced = ports.map((port) => {
      const graceEnds = this.#graceOf(port);
      return graceEnds === null ? port : { ...port, graceEnds };
    });
    const found = graced.every((port, place) => port === ports[place]) ? ports : graced;
    this.#lists.set(ports, found);
    return found;
  }

  #graceOf(port: Port): number | null {
    const { now, startedAfterBoot } = this.#context;
    const before = this.#before.get(portKey(port));
    if (hadCarrier(port, before)) return null;
    // What was down stays down when it is recreated, or enabled.
    const former = before ? [before] : (this.#byOwner.get(port.owner) ?? []);
    if (former.length > 0 && former.every(this.#isDown)) return null;
    const appeared = !before && !this.#isFirst;
    const isSetUp = before?.link?.adminUp === false && port.link?.adminUp === true;
    const since = appeared || isSetUp ? now : this.#isFirst ? startedAfterBoot : null;
    const ends = since === null ? (before?.graceEnds ?? null) : since + carrierGrace;
    return ends !== null && ends > now ? ends : null;
  }
}

/**
 * Whether a port has had a carrier: its loss counts at once then, and so it does where the kernel does not count. Of an InfiniBand port,
 * which has no counter, only what was seen before is known.
 */
const hadCarrier = ({ link, isInfiniband, infinibandState }: Port, before: Port | undefined): boolean =>
  isInfiniband
    ? infinibandState !== "DOWN" ||
      (before !== undefined && before.infinibandState !== null && before.infinibandState !== "DOWN")
    : link?.carrierUps !== 0;

/**
 * In how many milliseconds the functions have to be scanned again though no event comes, since a name will have been there for long
 * enough to count; null when none is pending.
 */
export function nextNameScan(devices: readonly Device[], now: number): number | null {
  const times = devices.flatMap(({ pf }) => (pf?.pendingNames ? [pf.pendingNames.at - now] : []));
  return times.length === 0
    ? null
    : Math.max(
        0,
        times.reduce((least, time) => Math.min(least, time)),
      );
}
